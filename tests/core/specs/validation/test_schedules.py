"""Schedules and the budget: which lengths follow from it, and what does not fit into it."""

import json
from itertools import product
from typing import Any

import pytest

from core.errors import FieldError, InvalidInputError
from core.specs.examples import choice, minimal_example
from core.specs.formulas.schedules import rates
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.unions import members
from core.specs.validation.limits import Limits
from core.specs.validation.warnings.job import warnings_of_job

Json = dict[str, Any]
LENGTHS = ("T_max", "total_iters", "total_steps")


def body(schedule: Json, budget: Json, **parts: Any) -> Json:
    job = minimal_example("schedules", "constant")
    return {**job, "schedule": schedule, "budget": budget, **parts}


def parsed(job: Json, **limits: Any) -> JobSpec:
    return parse_job(json.dumps(job).encode(), Limits(**limits))


def mistakes(job: Json) -> list[FieldError]:
    with pytest.raises(InvalidInputError) as caught:
        parsed(job)
    return caught.value.errors


def from_the_budget(kind: str) -> str | None:
    """The field of a kind whose length follows from the budget."""
    fields = members("schedule")[kind].model_fields
    return next((name for name in LENGTHS if name in fields and fields[name].default is None), None)


FOLLOWING = {kind: name for kind in members("schedule") if (name := from_the_budget(kind))}
NESTED: dict[str, tuple[str, Any]] = {
    "alone": ("schedule", lambda inner: inner),
    "after a warm-up": (
        "schedule.then", lambda inner: {"kind": "warmup", "steps": 3, "then": inner},
    ),
    "last of a sequence": (
        "schedule.schedules.1",
        lambda inner: {"kind": "sequential", "milestones": [4],
                       "schedules": [{"kind": "linear"}, inner]},
    ),
}  # fmt: skip


def test_the_kinds_whose_length_follows_are_all_found() -> None:
    assert sorted(FOLLOWING) == [
        "cosine", "cosine_with_min_lr", "one_cycle", "polynomial", "power_cooldown",
        "warmup_stable_decay",
    ]  # fmt: skip


@pytest.mark.parametrize("place", sorted(NESTED))
@pytest.mark.parametrize("kind", sorted(FOLLOWING))
def test_an_open_budget_is_refused_with_the_field_that_closes_it(kind: str, place: str) -> None:
    path, around = NESTED[place]
    name = FOLLOWING[kind]
    found = mistakes(body(around(choice("schedules", kind)), {"max_seconds": 5.0}))
    assert [(each.param, each.code) for each in found] == [(f"{path}.{name}", "missing")]
    for way_out in (f"{path}.{name}", "budget.max_steps", "budget.max_epochs"):
        assert way_out in found[0].message
    for budget in ({"max_steps": 50}, {"max_epochs": 3}, {}):
        parsed(body(around(choice("schedules", kind)), {"max_seconds": 5.0, **budget})
               if budget else body(around(choice("schedules", kind)), {}))  # fmt: skip
    parsed(body(around({**choice("schedules", kind), name: 40}), {"max_seconds": 5.0}))


def test_a_schedule_that_a_milestone_ends_needs_no_closed_budget() -> None:
    parts = [choice("schedules", kind) for kind in sorted(FOLLOWING)]
    starts = [10 * place for place in range(1, len(parts) + 1)]
    whole = {
        "kind": "sequential",
        "milestones": starts,
        "schedules": [*parts, {"kind": "constant"}],
    }
    resolved = parsed(body(whole, {"max_seconds": 5.0})).schedule.model_dump(mode="json")
    lengths = [part[FOLLOWING[part["kind"]]] for part in resolved["schedules"][:-1]]
    assert lengths == [10] * len(FOLLOWING)


def test_what_was_accepted_before_is_read_as_it_was() -> None:
    job = body({"kind": "warmup", "steps": 99, "then": {"kind": "cosine"}}, {"max_steps": 50})
    assert parsed(job, stored=True).schedule.model_dump()["then"]["T_max"] == 1


RISING = {kind: model for kind, model in members("schedule").items()
          if {"warmup_steps", "steps"} & set(model.model_fields)}  # fmt: skip


@pytest.mark.parametrize("budget", [{"max_steps": 20}, {"max_epochs": 10}], ids=str)
@pytest.mark.parametrize("kind", sorted(RISING))
def test_a_warm_up_longer_than_the_budget_is_refused(kind: str, budget: Json) -> None:
    name = "steps" if kind == "warmup" else "warmup_steps"
    found = mistakes(body({"kind": kind, name: 21}, budget))
    assert [(each.param, each.code) for each in found] == [(f"schedule.{name}", "less_than_equal")]
    assert "at most 20" in found[0].message
    assert "21 was given" in found[0].message
    assert f"raise budget.{next(iter(budget))}" in found[0].message
    parsed(body({"kind": kind, name: 19}, budget))
    whole = {"kind": "sequential", "milestones": [5],
             "schedules": [{"kind": "constant"}, {"kind": kind, name: 16}]}  # fmt: skip
    assert [each.param for each in mistakes(body(whole, budget))] == [
        f"schedule.schedules.1.{name}"
    ]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("schedule_free_adamw", "warmup_steps"),
        ("schedule_free_sgd", "warmup_steps"),
        ("ademamix", "alpha_warmup"),
        ("ademamix", "beta3_warmup"),
    ],
)
def test_so_is_that_of_an_optimizer(kind: str, name: str) -> None:
    job = body({"kind": "constant"}, {"max_steps": 20}, optimizer={"kind": kind, name: 21})
    found = mistakes(job)
    assert [each.param for each in found] == [f"optimizer.{name}"]
    assert "raise budget.max_steps" in found[0].message
    job["optimizer"][name] = 20
    parsed(job)


def test_nothing_is_said_of_a_warm_up_where_the_budget_is_not_known() -> None:
    job = body({"kind": "warmup", "steps": 9_000}, {"max_steps": "many"})
    assert [each.param for each in mistakes(job)] == ["budget.max_steps"]
    job = body({"kind": "warmup", "steps": 9_000}, {"max_steps": 10_000}, problem={"kind": "none"})
    assert [each.param for each in mistakes(job)] == ["problem.kind"]


@pytest.mark.parametrize(
    ("schedule", "param"),
    [
        ({"kind": "warmup_stable_decay", "warmup_steps": 15, "decay_steps": 6}, "decay_steps"),
        ({"kind": "warmup_stable_decay", "warmup_steps": 20}, "warmup_steps"),
        ({"kind": "warmup_stable_decay", "decay_steps": 21}, "decay_steps"),
        ({"kind": "warmup_stable_decay", "decay_steps": 9, "total_steps": 8}, "decay_steps"),
        ({"kind": "power_cooldown", "cooldown_steps": 21}, "cooldown_steps"),
        ({"kind": "cosine_with_min_lr", "warmup_steps": 20}, "warmup_steps"),
        ({"kind": "cosine_with_min_lr", "warmup_steps": 9, "total_steps": 9}, "warmup_steps"),
    ],
    ids=str,
)
def test_a_decay_that_does_not_fit_is_refused(schedule: Json, param: str) -> None:
    (found,) = mistakes(body(schedule, {"max_steps": 20}))
    assert (found.param, found.code) == (f"schedule.{param}", "less_than_equal")
    assert found.message.startswith(f"schedule.{param}")
    assert "schedule.total_steps" in found.message


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 9, 10, 11, 100])
@pytest.mark.parametrize("kind", ["power_cooldown", "warmup_stable_decay"])
def test_what_is_left_out_fits_into_any_budget(kind: str, steps: int) -> None:
    found = parsed(body({"kind": kind}, {"max_steps": steps})).schedule.model_dump()
    share = 10 if kind == "warmup_stable_decay" else 5
    name = "decay_steps" if share == 10 else "cooldown_steps"
    assert (found["total_steps"], found[name]) == (steps, max(1, steps // share))


@pytest.mark.parametrize(
    ("boundaries", "factors", "param", "code"),
    [
        ([5], [1.0], "factors", "too_short"),
        ([5, 9], [1.0, 0.5], "factors", "length_mismatch"),
        ([5], [1.0, 0.5, 0.1], "factors", "length_mismatch"),
        ([5, 5], [1.0, 0.5, 0.1], "boundaries", "not_ordered"),
        ([9, 5], [1.0, 0.5, 0.1], "boundaries", "not_ordered"),
        ([0], [1.0, 0.5], "boundaries.0", "greater_than"),
        ([5], [1.0, -0.5], "factors.1", "greater_than_equal"),
    ],
)
def test_pieces_go_together(
    boundaries: list[int], factors: list[float], param: str, code: str
) -> None:
    schedule = {"kind": "piecewise", "boundaries": boundaries, "factors": factors}
    (found,) = mistakes(body(schedule, {"max_steps": 20}))
    assert (found.param, found.code) == (f"schedule.{param}", code)


CHAINABLE = sorted(
    members("schedule").keys()
    - {"warmup", "sequential", "chained", "one_cycle", "cyclic", "reduce_on_plateau"}
)


@pytest.mark.parametrize("place", NESTED)
def test_a_chain_that_is_no_product_is_warned_of(place: str) -> None:
    path, nest = NESTED[place]
    for kinds in product(CHAINABLE, repeat=2):
        parts = [choice("schedules", kind) for kind in kinds]
        chain = {"kind": "chained", "schedules": parts}
        spec = parsed(body(nest(chain), {"max_steps": 40}))
        inner = parsed(body(chain, {"max_steps": 40})).schedule
        assert inner.kind == "chained"
        factors = [rates(part, 1.0, 40) for part in inner.schedules]
        multiplies = rates(inner, 1.0, 40) == pytest.approx(
            [one * other for one, other in zip(*factors, strict=True)], rel=1e-9
        )
        found = [each.code for each in warnings_of_job(spec) if each.param == path]
        assert found == ([] if multiplies else ["no_effect"]), kinds


@pytest.mark.parametrize(
    ("momentum", "schedule", "warned"),
    [
        (0.0, {"kind": "constant"}, True),
        (0.5, {"kind": "constant"}, False),
        (0.0, {"kind": "warmup", "steps": 2, "then": {"kind": "one_cycle"}}, False),
        (0.0, {"kind": "one_cycle", "cycle_momentum": False}, True),
    ],
)
def test_a_dampening_without_momentum_is_warned_of(
    momentum: float, schedule: Json, warned: bool
) -> None:
    optimizer = {"kind": "sgd", "momentum": momentum, "dampening": 0.3}
    spec = parsed(body(schedule, {"max_steps": 40}, optimizer=optimizer))
    found = [each.param for each in warnings_of_job(spec)]
    assert found == (["optimizer.dampening"] if warned else [])


@pytest.mark.parametrize(
    ("inner", "field"),
    [
        ({"kind": "power_cooldown", "cooldown_steps": 50}, "cooldown_steps"),
        ({"kind": "warmup_stable_decay", "decay_steps": 50}, "decay_steps"),
    ],
)
@pytest.mark.parametrize("depth", [0, 1])
def test_a_fall_that_does_not_fit_is_told_what_ends_it(inner: Json, field: str, depth: int) -> None:
    """In a sequence the next milestone does, and not the budget."""
    last = {"kind": "constant"}
    early: Json = {"kind": "sequential", "milestones": [9], "schedules": [inner, last]}
    late: Json = {"kind": "sequential", "milestones": [9], "schedules": [last, inner]}
    before, prefix = {"kind": "warmup", "steps": 2}, "schedule" + ".then" * depth
    for schedule, place, end in (
        (early, 0, f"{prefix}.milestones.0"),
        (late, 1, "budget.max_steps"),
    ):
        whole = {**before, "then": schedule} if depth else schedule
        found = mistakes(body(whole, {"max_steps": 40}))
        assert [each.param for each in found] == [f"{prefix}.schedules.{place}.{field}"]
        assert f"follows from {end} unless" in found[0].message
