"""A study's configurations, read part by part: the same as each of them posted whole."""

import json
from typing import Any

import pytest

from core.errors import InvalidInputError
from core.specs.parsing.job import parse_job
from core.specs.studies.configurations import Jobs
from core.specs.studies.sweep import PathError, applied
from core.specs.validation.limits import Limits
from tests.core.specs.studies.specs_of_studies import IRIS, SPHERE, job

Json = dict[str, Any]
INLINE: Json = {"kind": "inline", "features": [[0.0], [1.0], [2.0], [3.0]], "targets": [0, 1, 1, 0]}
ROWS: Json = {**IRIS, "data": INLINE}

GOOD: dict[str, tuple[Json, list[Json]]] = {
    "a number of the optimizer": (job(), [{"optimizer.lr": lr} for lr in (0.1, 0.01, 1)]),
    "parts that depend on each other": (
        job(schedule={"kind": "cosine"}),
        [{"budget.max_steps": steps, "optimizer.lr": 0.1} for steps in (10, 20)],
    ),
    "whole parts": (
        job(SPHERE),
        [
            {"optimizer": {"kind": "lbfgs"}, "problem": IRIS},
            {"optimizer": {"kind": "sgd"}, "problem": SPHERE},
        ],
    ),
    "parts that the base has not": (
        {"problem": IRIS},
        [{"optimizer.kind": "adam", "seed": 3, "record.every": 5}, {"optimizer.kind": "muon"}],
    ),
    "kinds of optimizers, which the size of a batch follows from": (
        {"problem": IRIS},
        [{"optimizer.kind": kind} for kind in ("lbfgs", "adam", "rprop", "lbfgs", "sgd", "adam")],
    ),
    "schedules whose length follows from the budget": (
        job(budget={"max_steps": 30}),
        [{"schedule.kind": kind} for kind in ("cosine", "one_cycle", "constant", "polynomial")],
    ),
    "a model on inline rows": (job(ROWS), [{"problem.model.hidden": [n]} for n in (2, 3)]),
    "inline rows": (job(ROWS), [{"problem.data.features.0.0": x} for x in (5.0, 6.0)]),
    "nothing": (job(), [{}]),
}
WRONG: dict[str, tuple[Json, Json]] = {
    "a value": (job(), {"optimizer.lr": "fast"}),
    "a value beside another mistake": (job(precision="half", batch_size=0), {"optimizer.lr": -1}),
    "a mistake of the base alone": (job(precision="half"), {"optimizer.lr": 0.1}),
    "a rule between parts": (job(batch_size=10_000), {"optimizer.lr": 0.1}),
    "an unknown field": (job(), {"optimiser.lr": 0.1}),
    "an unknown field of a part": (job(), {"optimizer.rate": 0.1}),
    "a missing part": ({"problem": IRIS}, {"seed": 1}),
    "a part missing beside its sweep": ({"problem": IRIS}, {"optimizer.lr": 1.0}),
    "inline rows": (job({**ROWS, "data": {**INLINE, "targets": [0]}}), {"optimizer.lr": 0.1}),
    "too many objects": (job(), {"labels": {str(n): {} for n in range(3_000)}}),
    "a little more than too many objects": (
        job(labels={f"a{n}": {} for n in range(1_000)}),
        {"stop": {f"b{n}": {} for n in range(999)}},
    ),
}


def whole(base: Json, params: Json, limits: Limits) -> Any:
    return parse_job(json.dumps(applied(base, params)).encode(), limits)


@pytest.mark.parametrize("name", GOOD)
def test_a_configuration_read_in_parts_is_what_it_is_as_a_whole(name: str) -> None:
    base, several = GOOD[name]
    jobs = Jobs(base, list(several[0]), Limits())
    for params in several:
        assert jobs.resolved(params) == whole(base, params, Limits())


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_configuration_has_the_mistakes_that_it_has_as_a_whole(name: str) -> None:
    base, params = WRONG[name]
    with pytest.raises(InvalidInputError) as expected:
        whole(base, params, Limits())
    with pytest.raises(InvalidInputError) as caught:
        Jobs(base, list(params), Limits()).resolved(params)
    assert caught.value.errors == expected.value.errors


AFTER_A_GOOD_ONE: dict[str, tuple[Json, Json, Json]] = {
    "an optimizer that cannot have bounds": (
        {"problem": {**SPHERE, "bounds": [-5.0, 5.0]}},
        {"optimizer.kind": "adam"},
        {"optimizer.kind": "schedule_free_sgd"},
    ),
    "an optimizer that cannot accumulate": (
        {"problem": IRIS, "accumulate": 2},
        {"optimizer.kind": "adam"},
        {"optimizer.kind": "lbfgs"},
    ),
    "an optimizer that cannot take bfloat16": (
        {"problem": IRIS, "precision": "bfloat16"},
        {"optimizer.kind": "adam"},
        {"optimizer.kind": "lbfgs"},
    ),
    "a rate beyond float32": (job(), {"optimizer.lr": 0.1}, {"optimizer.lr": 1e300}),
    "epochs of a function": (
        {"problem": SPHERE, "optimizer": {"kind": "adam"}},
        {"budget.max_steps": 5},
        {"budget.max_steps": 5, "budget.max_epochs": 2},
    ),
}


@pytest.mark.parametrize("name", AFTER_A_GOOD_ONE)
def test_what_an_earlier_configuration_came_to_hides_no_mistake(name: str) -> None:
    base, good, wrong = AFTER_A_GOOD_ONE[name]
    with pytest.raises(InvalidInputError) as expected:
        whole(base, wrong, Limits())
    jobs = Jobs(base, list(wrong), Limits())
    jobs.resolved(good)
    with pytest.raises(InvalidInputError) as caught:
        jobs.resolved(wrong)
    assert caught.value.errors == expected.value.errors


def test_a_path_that_leads_nowhere_is_named() -> None:
    with pytest.raises(PathError, match="optimizer"):
        Jobs(job(optimizer={"kind": "sgd", "lr": 0.1}), ["optimizer.lr.x"], Limits()).resolved(
            {"optimizer.lr.x": 1}
        )


def test_what_no_path_touches_is_the_same_object_in_all_specs() -> None:
    jobs = Jobs(job(schedule={"kind": "cosine", "T_max": 9}), ["optimizer.lr"], Limits())
    one, other = (jobs.resolved({"optimizer.lr": lr}) for lr in (0.1, 0.2))
    assert one.record is other.record
    assert one.optimizer != other.optimizer
