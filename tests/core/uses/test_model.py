"""The facts of a model, or why there is none to predict with."""

import json
from typing import Any

import pytest

from core.errors import ConflictError
from core.settings import Settings
from core.specs.job import DataProblem, JobSpec
from core.specs.parsing.job import parse_job
from core.specs.sizes.shapes import inputs_of
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


def test_functions_have_no_rows_to_predict() -> None:
    with pytest.raises(ConflictError) as refused:
        ModelFacts.of(parsed(FUNCTION))
    assert refused.value.conflict_code == "no_model"
    assert "function" in str(refused.value)


DIGITS: Any = {
    "kind": "supervised",
    "data": {"kind": "builtin", "name": "digits"},
    "model": {"kind": "cnn"},
}
TEXT: Any = {
    "kind": "language_model",
    "data": {"kind": "text", "text": "abc" * 30},
    "context": 5,
    "model": {"kind": "gru"},
}


@pytest.mark.parametrize("problem", [DIGITS, SERIES, TEXT], ids=lambda each: each["kind"])
def test_facts_come_back_from_json(problem: Any) -> None:
    spec = parsed(problem)
    facts = ModelFacts.of(spec)
    assert isinstance(spec.problem, DataProblem)
    assert facts.inputs == inputs_of(spec.problem)
    assert ModelFacts.model_validate_json(json.dumps(facts.to_json())) == facts


def test_facts_say_what_a_row_is() -> None:
    digits, series, text = (ModelFacts.of(parsed(each)) for each in (DIGITS, SERIES, TEXT))
    assert (digits.num_inputs, digits.num_outputs, digits.targets) == (64, 10, "classes")
    assert (series.num_inputs, series.num_outputs, series.targets) == (8, 2, "values")
    assert (series.window, series.horizon, series.context) == (4, 2, None)
    assert (text.num_inputs, text.num_outputs, text.targets) == (5, 4, "classes")
    assert (text.window, text.context) == (None, 5)
