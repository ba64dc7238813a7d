"""Sweeps with `when`: a path is varied only where others have certain values."""

import math
from collections import Counter
from typing import Any

import pytest

from core.specs.studies.runs import configurations, resolved_configurations, sweep_of
from core.specs.studies.sweep import grid
from tests.core.specs.studies.specs_of_studies import (
    Json,
    assert_stands_in,
    found,
    job,
    parsed,
    said,
    study,
)

KINDS: Json = {"values": ["sgd", "adam", "rmsprop"]}
MOMENTUM: Json = {"values": [0.0, 0.9], "when": {"optimizer.kind": ["sgd", "rmsprop"]}}
NESTEROV: Json = {"values": [False, True], "when": {"optimizer.momentum": [0.9],
                                                    "optimizer.kind": ["sgd"]}}  # fmt: skip
SWEEP: Json = {
    "optimizer.nesterov": NESTEROV,
    "optimizer.momentum": MOMENTUM,
    "optimizer.kind": KINDS,
    "optimizer.lr": {"log": [0.01, 0.1], "count": 2},
}
BASE = job(optimizer={"kind": "adam"})


def expected() -> list[Json]:
    """The same by hand, in any order."""
    listed = []
    for kind in KINDS["values"]:
        for lr in (0.01, 0.1):
            own = {"optimizer.kind": kind, "optimizer.lr": lr}
            if kind == "adam":
                listed.append(own)
                continue
            listed.append({**own, "optimizer.momentum": 0.0})
            fast = {**own, "optimizer.momentum": 0.9}
            both = [{**fast, "optimizer.nesterov": each} for each in (False, True)]
            listed += both if kind == "sgd" else [fast]
    return listed


def test_a_grid_has_each_combination_that_there_is_once() -> None:
    resolved = parsed(study(BASE, SWEEP))
    listed = configurations(resolved.spec)
    assert_stands_in(listed, expected())
    assert resolved.num_configurations == len(listed) == len(expected()) == 12


def test_a_path_comes_after_those_that_it_depends_on_and_the_last_runs_fastest() -> None:
    spec = parsed(study(BASE, SWEEP)).spec
    assert [axis.path for axis in sweep_of(spec)] == [
        "optimizer.kind", "optimizer.momentum", "optimizer.nesterov", "optimizer.lr",
    ]  # fmt: skip
    listed = list(grid(sweep_of(spec)))
    assert [each["optimizer.lr"] for each in listed] == [0.01, 0.1] * 6
    assert [each["optimizer.kind"] for each in listed] == ["sgd"] * 6 + ["adam"] * 2 + [
        "rmsprop"
    ] * 4


def test_elsewhere_the_base_keeps_its_value() -> None:
    base = job(optimizer={"kind": "adam", "weight_decay": 0.5})
    sweep = {
        "schedule.kind": {"values": ["constant", "exponential"]},
        "schedule.gamma": {"values": [0.9, 0.99], "when": {"schedule.kind": ["exponential"]}},
        "optimizer.weight_decay": {"values": [0.1], "when": {"schedule.gamma": [0.99]}},
    }
    resolved = resolved_configurations(parsed(study(base, sweep)).spec)
    assert [(params, spec.optimizer.model_dump()["weight_decay"]) for params, spec in resolved] == [
        ({"schedule.kind": "constant"}, 0.5),
        ({"schedule.kind": "exponential", "schedule.gamma": 0.9}, 0.5),
        ({"schedule.kind": "exponential", "schedule.gamma": 0.99, "optimizer.weight_decay": 0.1},
         0.1),
    ]  # fmt: skip


def test_a_condition_looks_into_objects_and_lists() -> None:
    sweep = {
        "optimizer": {"values": [{"kind": "sgd", "momentum": 0.9}, {"kind": "adam"}]},
        "problem.model.hidden": {"values": [[4], [8, 4]]},
        "optimizer.nesterov": {"values": [False, True], "when": {"optimizer.momentum": [0.9]}},
        "problem.model.dropout": {
            "values": [0.0, 0.5], "when": {"problem.model.hidden.1": [4]},
        },
    }  # fmt: skip
    listed = configurations(parsed(study(BASE, sweep)).spec)
    assert len(listed) == (2 + 1) * (1 + 2)
    for each in listed:
        assert ("optimizer.nesterov" in each) == (each["optimizer"]["kind"] == "sgd")
        assert ("problem.model.dropout" in each) == (each["problem.model.hidden"] == [8, 4])


@pytest.mark.parametrize("value", [1, 1.0])
def test_a_whole_number_is_its_float_and_not_true(value: Any) -> None:
    sweep = {
        "optimizer.amsgrad": {"values": [True, False]},
        "optimizer.weight_decay": {"values": [0.1, 0.2], "when": {"optimizer.amsgrad": [value]}},
    }
    assert found(study(BASE, sweep)) == [("sweep.optimizer.weight_decay.when", "never_holds")]
    sweep = {
        "accumulate": {"values": [1, 2]},
        "optimizer.weight_decay": {"values": [0.1, 0.2], "when": {"accumulate": [value]}},
    }
    assert len(configurations(parsed(study(BASE, sweep)).spec)) == 3


def test_random_draws_have_the_same_values_with_and_without_a_condition() -> None:
    strategy = {"kind": "random", "num_runs": 30, "seed": 3}
    free = {path: {k: v for k, v in each.items() if k != "when"} for path, each in SWEEP.items()}
    free["optimizer.lr"] = {"log": [0.01, 0.1]}
    conditional = {**SWEEP, "optimizer.lr": free["optimizer.lr"]}
    del free["optimizer.nesterov"], free["optimizer.momentum"]
    some = configurations(parsed(study(BASE, conditional, strategy=strategy)).spec)
    others = configurations(parsed(study(BASE, free, strategy=strategy)).spec)
    for one, other in zip(some, others, strict=True):
        assert {path: one[path] for path in free} == other
        assert ("optimizer.momentum" in one) == (one["optimizer.kind"] != "adam")
    assert Counter("optimizer.nesterov" in one for one in some).keys() == {True, False}


def test_a_grid_of_many_conditions_is_counted_as_it_is() -> None:
    """The product of the counts is far beyond the limit; the combinations are 1 + 40."""
    sweep: Json = {"optimizer.kind": {"values": ["adam", "sgd"]}}
    for place, path in enumerate(("momentum", "dampening", "weight_decay", "lr")):
        before = ("kind", "momentum", "dampening", "weight_decay")[place]
        holds = "sgd" if place == 0 else 0.5
        sweep[f"optimizer.{path}"] = {
            "linear": [0.5, 0.9], "count": 41 if place == 3 else 11,
            "when": {f"optimizer.{before}": [holds]},
        }  # fmt: skip
    resolved = parsed(study(BASE, sweep), max_study_runs=100)
    assert resolved.num_configurations == 1 + 10 + 10 + 10 + 41
    assert math.prod([2, 11, 11, 11, 41]) > 100_000
    assert found(study(BASE, sweep), max_study_runs=71) == [("sweep", "too_many_runs")]


@pytest.mark.parametrize(
    ("sweep", "param", "code", "words"),
    [
        (
            {"optimizer.lr": {"values": [0.1], "when": {"optimizer.kind": ["adam"]}}},
            "sweep.optimizer.lr.when.optimizer.kind", "unknown_path", "no sweep sets",
        ),
        (
            {"optimizer.kind": KINDS,
             "optimizer.lr": {"values": [0.1], "when": {"optimizer.kind": ["adma"]}}},
            "sweep.optimizer.lr.when", "never_holds", "adma",
        ),
        (
            {"optimizer": {"values": [{"kind": "sgd"}], "when": {"optimizer.kind": ["sgd"]}}},
            "sweep.optimizer.when.optimizer.kind", "conflict", "circle",
        ),
        (
            {"optimizer.kind": KINDS,
             "optimizer.lr": {"values": [0.1], "when": {"optimizer.kind": []}}},
            "sweep.optimizer.lr.when.optimizer.kind", "too_short", "",
        ),
        (
            {"optimizer.lr": {"values": [0.1], "when": {}}},
            "sweep.optimizer.lr.when", "too_short", "",
        ),
        (
            {"optimizer.lr": {"values": [0.1], "when": "optimizer.kind"}},
            "sweep.optimizer.lr.when", "object_type", "",
        ),
    ],
    ids=["not swept", "misspelt", "itself", "no values", "nothing", "no object"],
)  # fmt: skip
def test_conditions_that_cannot_be_meant_are_refused(
    sweep: Json, param: str, code: str, words: str
) -> None:
    assert found(study(BASE, sweep)) == [(param, code)]
    assert words in said(study(BASE, sweep))


def test_a_circle_of_two_is_refused() -> None:
    sweep = {
        "optimizer.lr": {"values": [0.1, 0.2], "when": {"seed": [1]}},
        "seed": {"values": [1, 2], "when": {"optimizer.lr": [0.1]}},
    }
    listed = found(study(BASE, sweep))
    assert {code for _, code in listed} == {"conflict"}
    assert ("sweep.optimizer.lr.when.seed", "conflict") in listed


def test_a_resolved_study_says_a_condition_where_there_is_one() -> None:
    resolved = parsed(study(BASE, SWEEP))
    again = parsed(resolved.spec)
    assert again == resolved
    assert resolved.spec["sweep"]["optimizer.nesterov"] == NESTEROV
    assert "when" not in resolved.spec["sweep"]["optimizer.lr"]
