"""`"lr": "auto"` in a spec: where it is accepted, and what takes its place."""

import json
from typing import Any

import pytest

from core.errors import InvalidInputError
from core.settings import Settings
from core.specs.job import JobSpec
from core.specs.optimizers.kinds import settled_lr
from core.specs.parsing.job import parse_job
from core.specs.sizes.cost import estimate
from core.specs.unions import members
from core.specs.validation.auto_lr import is_settled, settled
from core.specs.validation.limits import Limits

Json = dict[str, Any]
LIMITS = Limits.of(Settings())
FUNCTION: Json = {"kind": "function", "function": {"kind": "rosenbrock", "dim": 2}}
DIGITS: Json = {
    "kind": "supervised",
    "data": {"kind": "builtin", "name": "digits"},
    "model": {"kind": "mlp", "hidden": [8]},
}
NUMBERS_ONLY = ("lbfgs", "rprop", "prodigy")


def parse(optimizer: Json, problem: Json = FUNCTION, **rest: Any) -> JobSpec:
    body = {"problem": problem, "optimizer": optimizer, **rest}
    return parse_job(json.dumps(body).encode(), LIMITS)


def refusal(optimizer: Json, **rest: Any) -> tuple[str, str, str]:
    with pytest.raises(InvalidInputError) as caught:
        parse(optimizer, **rest)
    (error,) = caught.value.errors
    return error.param, error.code, error.message


@pytest.mark.parametrize("problem", [FUNCTION, DIGITS], ids=["function", "supervised"])
@pytest.mark.parametrize("kind", [k for k in members("optimizer") if k not in NUMBERS_ONLY])
def test_an_automatic_rate_is_accepted_and_stays(kind: str, problem: Json) -> None:
    spec = parse({"kind": kind, "lr": "auto"}, problem)
    assert spec.optimizer.lr == "auto"
    assert not is_settled(spec)
    assert parse_job(spec.model_dump_json().encode(), LIMITS) == spec
    assert estimate(spec) == estimate(parse({"kind": kind}, problem))


@pytest.mark.parametrize("kind", NUMBERS_ONLY)
def test_where_a_range_test_says_nothing_a_number_is_asked_for(kind: str) -> None:
    param, code, message = refusal({"kind": kind, "lr": "auto"})
    assert (param, code) == ("optimizer.lr", "not_available")
    assert message.startswith(f'optimizer.lr: "auto" is not available for {kind}')
    assert message.endswith("give a number above 0")


@pytest.mark.parametrize(
    ("value", "shown", "code"),
    [
        ("Auto", '"Auto"', "float_type"),
        ("0.1", '"0.1"', "float_type"),
        (0, "0", "greater_than"),
        (-1.5, "-1.5", "greater_than"),
        (None, "null", "float_type"),
        (True, "true", "float_type"),
        ([0.1], "[0.1]", "float_type"),
    ],
)
def test_a_wrong_rate_is_told_both_ways_out(value: object, shown: str, code: str) -> None:
    message = f'optimizer.lr must be a number above 0, or "auto"; {shown} was given'
    assert refusal({"kind": "sgd", "lr": value}) == ("optimizer.lr", code, message)


CYCLIC: Json = {"kind": "cyclic", "base_lr": 0.1, "max_lr": 1.0}


@pytest.mark.parametrize(
    "schedule",
    [
        CYCLIC,
        {"kind": "one_cycle", "max_lr": 0.5},
        {
            "kind": "sequential",
            "schedules": [CYCLIC, {"kind": "one_cycle", "max_lr": 1.0}],
            "milestones": [5],
        },
    ],
    ids=["cyclic", "one_cycle", "sequential"],
)
def test_a_rate_that_the_schedule_would_never_use_is_refused(schedule: Json) -> None:
    param, code, message = refusal({"kind": "sgd", "lr": "auto"}, schedule=schedule)
    assert (param, code) == ("optimizer.lr", "conflict")
    assert "never use" in message
    assert parse({"kind": "sgd", "lr": 0.1}, schedule=schedule).optimizer.lr == 0.1


@pytest.mark.parametrize(
    "schedule",
    [
        {"kind": "constant"},
        {"kind": "cosine"},
        {"kind": "one_cycle"},
        {"kind": "warmup", "steps": 5, "then": {"kind": "one_cycle"}},
        {"kind": "warmup", "steps": 5, "then": CYCLIC},
        {
            "kind": "sequential",
            "schedules": [CYCLIC, {"kind": "one_cycle"}, {"kind": "reduce_on_plateau"}],
            "milestones": [5, 50],
        },
        {
            "kind": "chained",
            "schedules": [{"kind": "linear"}, {"kind": "exponential", "gamma": 0.9}],
        },
    ],
    ids=lambda schedule: schedule["kind"],
)
def test_a_settled_spec_is_what_the_body_with_that_number_resolves_to(schedule: Json) -> None:
    open_spec = parse({"kind": "sgd", "momentum": 0.9, "lr": "auto"}, schedule=schedule)
    posted = parse({"kind": "sgd", "momentum": 0.9, "lr": 0.02}, schedule=schedule)
    assert settled(open_spec, 0.02) == posted
    assert is_settled(posted)
    assert settled_lr(posted.optimizer) == 0.02


def test_nothing_can_train_before_the_rate_is_settled() -> None:
    spec = parse({"kind": "adam", "lr": "auto"})
    with pytest.raises(ValueError, match="must be settled first"):
        settled_lr(spec.optimizer)
