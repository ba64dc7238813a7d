"""Data sets that a job uses: rows to learn from, and weights to begin with."""

import json
from typing import Any

from api.jobs.submission import _datasets
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from tests.core.specs.example_uploads import EXAMPLE_ID, column, table

WEIGHTS_ID = "data_01k2m3n4p5q6r7s8t9v0w1x2y4"
ROWS = table(column("size"), column("price"))
WEIGHTS = table(
    column("output.weight", "float32", shape=(1, 1)),
    column("output.bias", "float32", shape=(1,)),
    kind="weights",
    rows=0,
)


def used(data: dict[str, Any], **model: Any) -> tuple[str, ...]:
    problem = {"kind": "supervised", "data": data, "model": {"kind": "linear", **model}}
    body = {"problem": problem, "optimizer": {"kind": "adam"}}
    uploads = {EXAMPLE_ID: ROWS, WEIGHTS_ID: WEIGHTS}
    return _datasets(parse_job(json.dumps(body).encode(), Limits(), uploads))


def test_a_job_holds_the_data_sets_that_its_spec_names() -> None:
    upload = {"kind": "dataset", "id": EXAMPLE_ID, "target": "price"}
    inline = {"kind": "inline", "features": [[0.5], [1.5], [2.5]], "targets": [1.5, 2.0, 0.5]}
    assert used(inline) == ()
    assert used(upload) == (EXAMPLE_ID,)
    assert used(inline, initial_weights=WEIGHTS_ID) == (WEIGHTS_ID,)
    assert used(upload, initial_weights=WEIGHTS_ID) == (EXAMPLE_ID, WEIGHTS_ID)
