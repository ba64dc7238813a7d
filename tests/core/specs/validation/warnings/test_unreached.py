"""What a schedule holds for steps that it does not come to is warned of: where it is changed, no
rate of the job is another one."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from core.errors import FieldError
from core.specs.examples import choice, minimal_example
from core.specs.formulas.schedules import rates
from core.specs.parsing.job import parse_job
from core.specs.unions import members
from core.specs.validation.limits import Limits
from core.specs.validation.warnings.job import warnings_of_job

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
        ({"kind": "one_cycle", "pct_start": 0.4, "total_steps": 20}, "total_steps"),
        ({"kind": "cyclic", "base_lr": 0.01, "max_lr": 0.1, "step_size_up": 8}, "step_size_up"),
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
            assert f"schedule.milestones.0 ends it after {milestone} update" in each.message


@pytest.mark.parametrize(
    "flat",
    [
        {"kind": "warmup", "steps": 8, "start_factor": 1.0},
        {
            "kind": "warmup_stable_decay", "warmup_steps": 8, "total_steps": 20,
            "min_lr_ratio": 1.0,
        },
        {"kind": "linear", "start_factor": 1.0, "end_factor": 1.0, "total_iters": 8},
        {"kind": "one_cycle", "total_steps": 20, "pct_start": 0.4, "div_factor": 1.0},
        {"kind": "cyclic", "base_lr": 0.1, "max_lr": 0.1, "step_size_up": 8},
    ],
)  # fmt: skip
def test_what_begins_at_its_height_is_no_rise_that_is_cut_short(flat: Json) -> None:
    for milestone in range(1, LONGEST - 1):
        schedule = {
            "kind": "sequential", "milestones": [milestone],
            "schedules": [flat, {"kind": "constant"}],
        }  # fmt: skip
        assert max(of(schedule, LONGEST)[0][:milestone]) == of(flat, LONGEST)[0][0]
        assert not warned(schedule, LONGEST, "cut_short"), milestone


@pytest.mark.parametrize("start_factor", [0.5, 1.0])
@pytest.mark.parametrize(
    "kind", [each for each in members("schedule") if each != "reduce_on_plateau"]
)
def test_what_follows_a_warm_up_that_takes_all_steps_is_warned_of(
    kind: str, start_factor: float
) -> None:
    then = choice("schedules", kind)
    risen = {"kind": "warmup", "steps": 8, "start_factor": start_factor, "then": then}
    other = {**risen, "then": {"kind": "constant_factor", "factor": 0.77, "total_iters": 99}}
    for milestone in range(1, LONGEST - 1):
        whole, changed = (
            {
                "kind": "sequential", "milestones": [milestone],
                "schedules": [each, {"kind": "constant"}],
            }
            for each in (risen, other)
        )  # fmt: skip
        found = "schedule.schedules.0.then" in warned(whole, LONGEST, "no_effect")
        assert found == (milestone <= 8 and kind != "constant"), milestone
        assert not found or of(whole, LONGEST)[0] == of(changed, LONGEST)[0]
    said = [each.message for each in of(risen, 8)[1] if each.param == "schedule.then"]
    assert bool(said) == (kind != "constant")
    assert all("budget.max_steps ends it after 8 updates" in message for message in said)


@pytest.mark.parametrize("nesting", NESTED)
@pytest.mark.parametrize(
    "decay",
    [
        {"kind": "power_cooldown", "total_steps": 14, "cooldown_steps": 5},
        {"kind": "warmup_stable_decay", "total_steps": 14, "decay_steps": 5},
    ],
)
def test_a_decay_that_never_begins_is_warned_of(nesting: str, decay: Json) -> None:
    path, nest = NESTED[nesting]
    before = {"after a warm-up": 3, "second": 4}.get(nesting, 0)
    for steps in range(max(before, 1), LONGEST):
        found = f"{path}.total_steps" in warned(nest(decay), steps, "no_effect")
        ruled = min(steps - before, 12 if nesting == "first" else LONGEST)
        # At its first step the decay is at the base rate yet.
        assert found == (0 < ruled <= 9), steps
        same = of(nest(decay), steps)[0] == of(nest({**decay, "min_lr_ratio": 0.5}), steps)[0]
        assert same or not found, steps


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
