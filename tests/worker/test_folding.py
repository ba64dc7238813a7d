"""Specs that were folded come out as they went in, and what they share goes once."""

import copy
import json
from typing import Any

import pytest

from worker.folding import fold, unfold

SPEC: dict[str, Any] = {
    "problem": {"kind": "supervised", "data": {"features": [[1.0] * 100] * 50, "targets": [1, 0]}},
    "optimizer": {"kind": "sgd", "lr": 0.1},
    "schedule": {"kind": "constant"},
    "seed": 0,
    "batch_size": None,
}


def changed(**parts: Any) -> dict[str, Any]:
    spec = copy.deepcopy(SPEC)
    for path, value in parts.items():
        *folders, last = path.split("__")
        at = spec
        for name in folders:
            at = at[name]
        at[last] = value
    return spec


@pytest.mark.parametrize(
    "other",
    [
        SPEC,
        changed(optimizer__lr=0.2, seed=1),
        changed(optimizer={"kind": "adam", "lr": 0.1, "eps": 1e-8}, batch_size=32),
        changed(problem__data__targets=[1.0, 0.0]),
        changed(problem__data__targets=[True, False], problem__kind="x"),
        changed(schedule={}, problem={"kind": "function"}),
    ],
)
def test_specs_come_out_as_they_went_in(other: dict[str, Any]) -> None:
    specs = [copy.deepcopy(SPEC), copy.deepcopy(other), changed(seed=3)]
    texts = [json.dumps(spec) for spec in specs]
    folded = json.loads(json.dumps(fold(specs)))
    assert [json.dumps(spec) for spec in unfold(folded)] == texts


def test_what_specs_share_goes_once_and_is_one_object() -> None:
    specs = [changed(optimizer__lr=0.1 * number) for number in range(100)]
    text = json.dumps(fold(specs))
    assert len(text) < 1.3 * len(json.dumps(SPEC))
    found = unfold(json.loads(text))
    assert found == specs
    assert all(spec["problem"] is found[0]["problem"] for spec in found)


def test_one_spec_is_folded_too() -> None:
    assert unfold(json.loads(json.dumps(fold([SPEC])))) == [SPEC]
