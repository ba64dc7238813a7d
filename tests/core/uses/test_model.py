"""The facts of a model, or why there is none to predict with."""

import json
from typing import Any

import pytest

from core.errors import ConflictError
from core.settings import Settings
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.uses.model import ModelFacts

SERIES: Any = {
    "kind": "forecast",
    "data": {
        "kind": "inline",
        "features": [[float(row)] for row in range(40)],
        "targets": [float(row) for row in range(40)],
    },
    "window": 4,
    "horizon": 2,
    "model": {"kind": "linear"},
}
FUNCTION: Any = {"kind": "function", "function": {"kind": "sphere", "dim": 2}}


def parsed(problem: Any) -> JobSpec:
    body = {"problem": problem, "optimizer": {"kind": "adam"}}
    return parse_job(json.dumps(body).encode(), Limits.of(Settings()))


@pytest.mark.parametrize(("problem", "code"), [(SERIES, "not_predictable"), (FUNCTION, "no_model")])
def test_problems_without_rows_to_predict_are_refused(problem: Any, code: str) -> None:
    with pytest.raises(ConflictError) as refused:
        ModelFacts.of(parsed(problem))
    assert refused.value.conflict_code == code
    assert problem["kind"] in str(refused.value)


def test_facts_come_back_from_json() -> None:
    problem = {"kind": "supervised", "data": {"kind": "builtin", "name": "digits"},
               "model": {"kind": "cnn"}}  # fmt: skip
    facts = ModelFacts.of(parsed(problem))
    assert (facts.num_inputs, facts.num_outputs, facts.targets) == (64, 10, "classes")
    assert facts.inputs.sample_shape is not None
    assert ModelFacts.model_validate_json(json.dumps(facts.to_json())) == facts
