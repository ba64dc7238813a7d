"""What is put around an optimizer and does nothing is warned of."""

import json
from typing import Any

import pytest

from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.specs.validation.warnings.job import warnings_of_job

IRIS = {
    "kind": "supervised",
    "data": {"kind": "builtin", "name": "iris"},
    "model": {"kind": "linear"},
}
BOOTH = {"kind": "function", "function": {"kind": "booth"}, "start": [1, 1]}


@pytest.mark.parametrize(
    ("body", "k", "steps"),
    [
        ({"problem": IRIS, "budget": {"max_steps": 20}}, 21, 20),
        ({"problem": IRIS, "budget": {"max_steps": 20}}, 20, None),
        # Two steps an epoch:
        ({"problem": IRIS, "budget": {"max_epochs": 3}, "batch_size": 60}, 7, 6),
        ({"problem": IRIS, "budget": {"max_epochs": 3}, "batch_size": 60}, 6, None),
        ({"problem": IRIS}, 2_001, 2_000),  # the default
        ({"problem": BOOTH}, 1_001, 1_000),
        ({"problem": BOOTH}, 1_000, None),
    ],
)
def test_a_lookahead_that_the_budget_ends_before_is_warned_of(
    body: dict[str, Any], k: int, steps: int | None
) -> None:
    wrap = [{"kind": "ema"}, {"kind": "lookahead", "k": k}]
    spec = {**body, "optimizer": {"kind": "sgd", "lr": 0.01, "wrap": wrap}}
    warned = warnings_of_job(parse_job(json.dumps(spec).encode(), Limits()))
    assert [(each.param, each.code) for each in warned] == (
        [] if steps is None else [("optimizer.wrap.1.k", "no_effect")]
    )
    for each in warned:
        assert f"{k:,} updates, and the budget ends after {steps:,}" in each.message
