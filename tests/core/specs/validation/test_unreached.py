"""What a schedule holds for steps that it does not come to is warned of: where it is changed, no
rate of the job is another one."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from core.errors import FieldError
from core.specs.examples import minimal_example
from core.specs.formulas.schedules import rates
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.specs.validation.run import warnings_of_job

Json = dict[str, Any]
LONGEST = 25
BUDGETS = range(1, LONGEST)
NESTED: dict[str, tuple[str, Callable[[Json], Json]]] = {
    "alone": ("schedule", lambda inner: inner),
    "after a warm-up": ("schedule.then", lambda i: {"kind": "warmup", "steps": 3, "then": i}),
    "second": (
        "schedule.schedules.1",
        lambda inner: {
            "kind": "sequential", "milestones": [4], "schedules": [{"kind": "constant"}, inner],
        },
    ),
    "first": (
        "schedule.schedules.0",
        lambda inner: {
            "kind": "sequential", "milestones": [12], "schedules": [inner, {"kind": "constant"}],
        },
    ),
    "chained": ("schedule.schedules.0", lambda inner: {"kind": "chained", "schedules": [inner]}),
}  # fmt: skip


def of(schedule: Json, steps: int) -> tuple[list[float], list[FieldError]]:
    """The rates of a job of so many updates, and the warnings in its reply."""
    body = {
        **minimal_example("schedules", "constant"),
        "schedule": schedule,
        "budget": {"max_steps": steps},
    }
    spec = parse_job(json.dumps(body).encode(), Limits())
    return rates(spec.schedule, 0.1, steps), warnings_of_job(spec)


def warned(schedule: Json, steps: int, code: str) -> set[str]:
    return {each.param or "" for each in of(schedule, steps)[1] if each.code == code}


@pytest.mark.parametrize("nesting", NESTED)
@pytest.mark.parametrize(
    ("schedule", "field", "changed"),
    [
        (
            {"kind": "multistep", "milestones": [5, 9], "gamma": 0.5},
            "milestones",
            {"milestones": [5]},
        ),
        ({"kind": "step", "step_size": 7, "gamma": 0.5}, "step_size", {"gamma": 0.25}),
        (
            {"kind": "piecewise", "boundaries": [4, 11], "factors": [1.0, 0.5, 0.25]},
            "boundaries",
            {"factors": [1.0, 0.5, 0.125]},
        ),
    ],
)
def test_what_no_step_comes_to_changes_no_rate(
    nesting: str, schedule: Json, field: str, changed: Json
) -> None:
    path, nest = NESTED[nesting]
    for steps in BUDGETS:
        if nesting == "after a warm-up" and steps < 3:
            continue  # refused
        found = f"{path}.{field}" in warned(nest(schedule), steps, "no_effect")
        same = of(nest(schedule), steps)[0] == of(nest({**schedule, **changed}), steps)[0]
        ruled = steps > {"after a warm-up": 3, "second": 4}.get(nesting, 0)
        assert found == (same and ruled), steps


@pytest.mark.parametrize("interpolation", ["linear", "cosine"])
def test_the_way_to_a_boundary_counts_as_coming_to_it(interpolation: str) -> None:
    first = {
        "kind": "piecewise", "boundaries": [4, 11], "factors": [1.0, 0.5, 0.25],
        "interpolation": interpolation,
    }  # fmt: skip
    other = {**first, "factors": [1.0, 0.5, 0.125]}
    for steps in BUDGETS:
        found = "schedule.boundaries" in warned(first, steps, "no_effect")
        # At the boundary itself the rate is that of the pieces before and after.
        assert found == (steps <= 4), steps
        assert not found or of(first, steps)[0] == of(other, steps)[0]


def test_schedules_of_a_sequence_that_never_rule_are_warned_of() -> None:
    for steps in BUDGETS:
        parts: list[Json] = [{"kind": "constant"} for _ in range(3)]
        schedule = {"kind": "sequential", "milestones": [6, 15], "schedules": parts}
        found = warned(schedule, steps, "no_effect")
        other = {**schedule, "schedules": [*parts[:2], {"kind": "constant_factor", "factor": 0.5}]}
        same = of(schedule, steps)[0] == of(other, steps)[0]
        assert found == ({"schedule.milestones"} if same else set()), steps


@pytest.mark.parametrize(
    ("rise", "field"),
    [
        ({"kind": "warmup", "steps": 8}, "steps"),
        ({"kind": "inverse_sqrt", "warmup_steps": 8}, "warmup_steps"),
        ({"kind": "warmup_stable_decay", "warmup_steps": 8, "total_steps": 20}, "warmup_steps"),
        ({"kind": "cosine_with_min_lr", "warmup_steps": 8, "total_steps": 20}, "warmup_steps"),
        ({"kind": "linear", "start_factor": 0.1, "total_iters": 8}, "total_iters"),
    ],
)
def test_a_rise_that_the_next_schedule_ends_before_its_height_is_warned_of(
    rise: Json, field: str
) -> None:
    for milestone in range(1, LONGEST - 1):
        schedule = {
            "kind": "sequential", "milestones": [milestone],
            "schedules": [rise, {"kind": "constant"}],
        }  # fmt: skip
        rated, found = of(schedule, LONGEST)
        cut = [each for each in found if each.code == "cut_short"]
        # The rate of a rise of 8 stands at its height at update 8, which follows 8 of them.
        assert bool(cut) == (milestone < 8), milestone
        assert not cut or max(rated[:milestone]) < 0.1
        for each in cut:
            assert each.param == f"schedule.schedules.0.{field}"
            assert f"schedule.milestones.0 ends it after {milestone} updates" in each.message


def test_the_field_that_ends_the_budget_is_named() -> None:
    schedule = {"kind": "step", "step_size": 1_000}
    iris = {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "iris"},
        "model": {"kind": "linear"},
    }
    for budget, field in (
        ({"max_epochs": 2}, "max_epochs"),
        ({"max_steps": 9}, "max_steps"),
        ({"max_steps": 9, "max_epochs": 200}, "max_steps"),
        ({"max_steps": 900, "max_epochs": 2}, "max_epochs"),
    ):
        job = {
            "problem": iris, "optimizer": {"kind": "adam"}, "schedule": schedule, "budget": budget,
        }  # fmt: skip
        (found,) = warnings_of_job(parse_job(json.dumps(job).encode(), Limits()))
        assert f"budget.{field} ends it" in found.message
