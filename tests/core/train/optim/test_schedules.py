"""Every schedule's curve is that of torch's scheduler, built by hand, and of its closed form."""

import json
import math
import warnings
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn
from torch.optim import lr_scheduler as torch_schedules

from core.specs.formulas.schedules import rates as curve_of
from core.specs.schedules import Schedule
from core.train.optim.schedules import build_scheduler

LR = 0.1
STEPS = 30
Make = Callable[[torch.optim.Optimizer], Any]


def parsed(spec: dict[str, Any]) -> Schedule:
    adapter: TypeAdapter[Schedule] = TypeAdapter(Schedule)
    return adapter.validate_json(json.dumps(spec))


def sgd() -> torch.optim.SGD:
    return torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=LR, momentum=0.9)


def adam() -> torch.optim.Adam:
    return torch.optim.Adam([nn.Parameter(torch.zeros(()))], lr=LR)


def by_hand(make: Make, optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    scheduler = make(optimizer)
    seen: list[dict[str, Any]] = []
    for _ in range(STEPS):
        seen.append(snapshot(optimizer))
        optimizer.step()
        scheduler.step()
    return seen


def snapshot(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    group = optimizer.param_groups[0]
    return {name: group[name] for name in ("lr", "momentum", "betas") if name in group}


def ours(
    spec: dict[str, Any], optimizer: torch.optim.Optimizer, num_steps: int = STEPS
) -> list[dict[str, Any]]:
    scheduler = build_scheduler(parsed(spec), optimizer)
    seen: list[dict[str, Any]] = []
    for step in range(num_steps):
        seen.append(snapshot(optimizer))
        if scheduler is not None:
            scheduler.step(-float(step))
    return seen


t = torch_schedules

CASES: list[tuple[dict[str, Any], Make]] = [
    (
        {"kind": "constant_factor", "factor": 0.5, "total_iters": 4},
        lambda o: t.ConstantLR(o, 0.5, 4),
    ),
    ({"kind": "linear", "total_iters": 7}, lambda o: t.LinearLR(o, total_iters=7)),
    (
        {"kind": "linear", "start_factor": 0.9, "end_factor": 0.2, "total_iters": 9},
        lambda o: t.LinearLR(o, 0.9, 0.2, 9),
    ),
    ({"kind": "step", "step_size": 4, "gamma": 0.3}, lambda o: t.StepLR(o, 4, 0.3)),
    (
        {"kind": "multistep", "milestones": [3, 3, 11], "gamma": 0.5},
        lambda o: t.MultiStepLR(o, [3, 3, 11], 0.5),
    ),
    ({"kind": "exponential", "gamma": 0.9}, lambda o: t.ExponentialLR(o, 0.9)),
    (
        {"kind": "polynomial", "total_iters": 20, "power": 2.0},
        lambda o: t.PolynomialLR(o, 20, 2.0),
    ),
    (
        {"kind": "cosine", "T_max": 12, "eta_min": 0.01},
        lambda o: t.CosineAnnealingLR(o, 12, 0.01),
    ),
    (
        {"kind": "cosine_warm_restarts", "T_0": 4, "T_mult": 2, "eta_min": 0.001},
        lambda o: t.CosineAnnealingWarmRestarts(o, 4, 2, 0.001),
    ),
    (
        {"kind": "one_cycle", "max_lr": 0.5, "total_steps": STEPS},
        lambda o: t.OneCycleLR(o, 0.5, STEPS),
    ),
    (
        {
            "kind": "one_cycle", "max_lr": 0.5, "total_steps": STEPS, "three_phase": True,
            "anneal_strategy": "linear", "pct_start": 0.4, "div_factor": 5.0,
            "final_div_factor": 10.0, "base_momentum": 0.6, "max_momentum": 0.7,
        },
        lambda o: t.OneCycleLR(
            o, 0.5, STEPS, three_phase=True, anneal_strategy="linear", pct_start=0.4,
            div_factor=5.0, final_div_factor=10.0, base_momentum=0.6, max_momentum=0.7,
        ),
    ),
    (
        {"kind": "one_cycle", "max_lr": 0.5, "total_steps": STEPS, "cycle_momentum": False},
        lambda o: t.OneCycleLR(o, 0.5, STEPS, cycle_momentum=False),
    ),
    (
        {"kind": "cyclic", "base_lr": 0.01, "max_lr": 0.2, "step_size_up": 5},
        lambda o: t.CyclicLR(o, 0.01, 0.2, 5),
    ),
    (
        {
            "kind": "cyclic", "base_lr": 0.01, "max_lr": 0.2, "step_size_up": 3,
            "step_size_down": 4, "mode": "exp_range", "gamma": 0.9, "cycle_momentum": False,
        },
        lambda o: t.CyclicLR(
            o, 0.01, 0.2, 3, 4, mode="exp_range", gamma=0.9, cycle_momentum=False
        ),
    ),
    (
        {
            "kind": "cyclic", "base_lr": 0.01, "max_lr": 0.2, "step_size_up": 3,
            "mode": "triangular2",
        },
        lambda o: t.CyclicLR(o, 0.01, 0.2, 3, mode="triangular2"),
    ),
    (
        {
            "kind": "warmup", "steps": 5, "start_factor": 0.2,
            "then": {"kind": "cosine", "T_max": 20},
        },
        lambda o: t.SequentialLR(
            o, [t.LinearLR(o, 0.2, 1.0, 5), t.CosineAnnealingLR(o, 20)], [5]
        ),
    ),
    (
        {
            "kind": "sequential", "milestones": [4, 12],
            "schedules": [
                {"kind": "constant_factor", "factor": 0.1, "total_iters": 20},
                {"kind": "exponential", "gamma": 0.8}, {"kind": "step", "step_size": 3},
            ],
        },
        lambda o: t.SequentialLR(
            o, [t.ConstantLR(o, 0.1, 20), t.ExponentialLR(o, 0.8), t.StepLR(o, 3)], [4, 12]
        ),
    ),
    (
        {
            "kind": "chained",
            "schedules": [
                {"kind": "linear", "total_iters": 6}, {"kind": "exponential", "gamma": 0.9},
            ],
        },
        lambda o: t.ChainedScheduler([t.LinearLR(o, total_iters=6), t.ExponentialLR(o, 0.9)]),
    ),
]  # fmt: skip


@pytest.mark.parametrize("make_optimizer", [sgd, adam])
@pytest.mark.parametrize(("spec", "make"), CASES, ids=[str(spec)[:60] for spec, _ in CASES])
def test_a_schedule_equals_torchs_bit_for_bit_in_rate_and_momentum(
    spec: dict[str, Any], make: Make, make_optimizer: Callable[[], torch.optim.Optimizer]
) -> None:
    assert ours(spec, make_optimizer()) == by_hand(make, make_optimizer())


def rates(spec: dict[str, Any], num_steps: int = STEPS) -> list[float]:
    return [float(each["lr"]) for each in ours(spec, sgd(), num_steps)]


def test_constant_needs_no_scheduler() -> None:
    assert build_scheduler(parsed({"kind": "constant"}), sgd()) is None
    assert rates({"kind": "constant"}, 3) == [LR, LR, LR]


@pytest.mark.parametrize(
    ("spec", "closed_form"),
    [
        ({"kind": "exponential", "gamma": 0.9}, lambda k: LR * 0.9**k),
        ({"kind": "step", "step_size": 4}, lambda k: LR * 0.1 ** (k // 4)),
        (
            {"kind": "cosine", "T_max": 12},
            lambda k: LR * (1 + math.cos(math.pi * k / 12)) / 2,
        ),
        ({"kind": "polynomial", "total_iters": 10}, lambda k: LR * max(0.0, 1 - k / 10)),
        (
            {"kind": "warmup", "steps": 4, "start_factor": 0.2},
            lambda k: LR * min(1.0, 0.2 + 0.8 * k / 4),
        ),
        (
            {
                "kind": "chained",
                "schedules": [
                    {"kind": "exponential", "gamma": 0.9},
                    {"kind": "step", "step_size": 5, "gamma": 0.5},
                ],
            },
            lambda k: LR * 0.9**k * 0.5 ** (k // 5),
        ),
    ],
)
def test_a_curve_follows_its_closed_form(
    spec: dict[str, Any], closed_form: Callable[[int], float]
) -> None:
    assert rates(spec) == pytest.approx([closed_form(k) for k in range(STEPS)], rel=1e-12)


def test_after_warmup_the_inner_schedule_starts_at_its_own_beginning() -> None:
    inner = {"kind": "exponential", "gamma": 0.5}
    curve = rates({"kind": "warmup", "steps": 5, "then": inner})

    assert curve[5:] == rates(inner, STEPS - 5)
    assert curve[:6] == sorted(set(curve[:6]))


def test_sequences_may_be_nested() -> None:
    inner = {
        "kind": "sequential", "milestones": [4],
        "schedules": [
            {"kind": "warmup", "steps": 2, "then": {"kind": "exponential", "gamma": 0.5}},
            {"kind": "exponential", "gamma": 0.9},
        ],
    }  # fmt: skip
    curve = rates({"kind": "warmup", "steps": 3, "then": inner})

    third = 1 / 3
    expected = [third, 5 / 9, 7 / 9, third, 2 / 3, 1.0, 0.5, 1.0, 0.9, 0.81]
    assert curve[:10] == pytest.approx([LR * factor for factor in expected], rel=1e-12)


@pytest.mark.parametrize("place", [0, 1])
def test_a_chain_may_stand_anywhere_in_a_sequence(place: int) -> None:
    chain = {
        "kind": "chained",
        "schedules": [
            {"kind": "exponential", "gamma": 0.9},
            {"kind": "linear", "start_factor": 0.5, "total_iters": 4},
        ],
    }
    parts: list[dict[str, Any]] = [{"kind": "step", "step_size": 2}]
    parts.insert(place, chain)
    curve = rates({"kind": "sequential", "schedules": parts, "milestones": [6]}, 12)

    assert curve[6 * place : 6 * place + 6] == pytest.approx(rates(chain, 6), rel=1e-12)
    assert curve[6 - 6 * place : 12 - 6 * place] == rates({"kind": "step", "step_size": 2}, 6)


EXPONENTIAL = {"kind": "exponential", "gamma": 0.9}
COOLDOWN = {"kind": "power_cooldown", "total_steps": STEPS, "cooldown_steps": 10}
RISE = {"kind": "linear", "total_iters": 7}
INVERSE = {"kind": "inverse_sqrt", "timescale": 9}


def chained(*schedules: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "chained", "schedules": list(schedules)}


@pytest.mark.parametrize("parts", list(permutations([EXPONENTIAL, COOLDOWN, RISE, INVERSE])))
def test_a_chain_within_a_chain_multiplies_as_one_chain_does(
    parts: tuple[dict[str, Any], ...],
) -> None:
    one, two, three, four = parts
    flat = rates(chained(*parts))
    for nested in (
        chained(chained(one, two), three, four),
        chained(one, chained(two, three), four),
        chained(one, chained(two, chained(three, four))),
        chained(chained(chained(one), two), chained(three, four)),
    ):
        assert rates(nested) == flat
        assert curve_of(parsed(nested), LR, STEPS) == pytest.approx(flat, rel=1e-12)


def test_a_state_that_holds_a_chain_within_a_chain_is_gone_on_with() -> None:
    whole, resumed = sgd(), sgd()
    spec = parsed(chained(EXPONENTIAL, chained(RISE, chained(EXPONENTIAL))))
    through, second = (build_scheduler(spec, o) for o in (whole, resumed))
    assert through is not None
    assert second is not None
    for _ in range(4):
        through.step(1.0)
    state = through.state_dict()
    first, rise, last = state["scheduler"]["parts"]
    state["scheduler"]["parts"] = [first, {"parts": [rise, {"parts": [last]}]}]

    second.load_state_dict(state)

    for _ in range(9):
        assert snapshot(resumed) == snapshot(whole)
        through.step(1.0)
        second.step(1.0)


def test_schedules_that_set_the_rate_themselves_leave_a_sequence_as_it_was() -> None:
    one_cycle = {"kind": "one_cycle", "max_lr": 0.5, "total_steps": 10}
    parts = [{"kind": "linear", "total_iters": 5}, one_cycle, one_cycle | {"max_lr": 0.9}]
    curve = rates({"kind": "sequential", "schedules": parts, "milestones": [5, 15]}, 25)

    assert curve[:5] == rates(parts[0], 5)
    assert curve[5:15] == rates(one_cycle, 10)
    assert curve[15:] == rates(one_cycle | {"max_lr": 0.9}, 10)


def test_one_cycle_holds_its_last_rate_beyond_its_end() -> None:
    curve = rates({"kind": "one_cycle", "max_lr": 0.5, "total_steps": 10}, 15)

    assert curve[9:] == [curve[9]] * 6


def test_one_cycle_may_rise_in_a_single_step() -> None:
    # pct_start·total_steps = 1, where torch's own scheduler divides by zero.
    spec = {"kind": "one_cycle", "max_lr": 0.5, "total_steps": 10, "pct_start": 0.1}

    assert rates(spec, 1) == [0.5]


PLATEAU = {"kind": "reduce_on_plateau", "patience": 2, "factor": 0.5, "cooldown": 1}
LOSSES = [1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8]


def test_reduce_on_plateau_follows_torch_on_the_same_losses() -> None:
    mine, theirs = sgd(), sgd()
    scheduler = build_scheduler(parsed(PLATEAU), mine)
    reference = t.ReduceLROnPlateau(theirs, patience=2, factor=0.5, cooldown=1)
    assert scheduler is not None

    for loss in LOSSES:
        scheduler.step(loss)
        reference.step(loss)
        assert snapshot(mine) == snapshot(theirs)
    assert mine.param_groups[0]["lr"] < LR


def test_reduce_on_plateau_may_follow_a_warmup() -> None:
    mine, theirs = sgd(), sgd()
    scheduler = build_scheduler(parsed({"kind": "warmup", "steps": 3, "then": PLATEAU}), mine)
    reference = t.ReduceLROnPlateau(theirs, patience=2, factor=0.5, cooldown=1)
    assert scheduler is not None

    for _ in range(3):
        assert mine.param_groups[0]["lr"] < LR
        scheduler.step(9.0)
    for loss in LOSSES:
        assert snapshot(mine) == snapshot(theirs)
        scheduler.step(loss)
        reference.step(loss)


def test_reduce_on_plateau_is_refused_where_it_cannot_be() -> None:
    step = {"kind": "step", "step_size": 3}
    middle = {"kind": "sequential", "schedules": [PLATEAU, step], "milestones": [3]}

    with pytest.raises(ValueError, match="last schedule"):
        build_scheduler(parsed(middle), sgd())
    with pytest.raises(ValueError, match="part of chained"):
        build_scheduler(parsed({"kind": "chained", "schedules": [PLATEAU]}), sgd())


RESUMED = [
    *(spec for spec, _ in CASES),
    PLATEAU,
    {"kind": "warmup", "steps": 8, "then": PLATEAU},
    {"kind": "warmup", "steps": 3, "then": PLATEAU},
]


@pytest.mark.parametrize("spec", RESUMED, ids=lambda spec: str(spec)[:60])
def test_a_state_taken_through_json_goes_on_as_if_never_interrupted(spec: dict[str, Any]) -> None:
    whole, cut, resumed = sgd(), sgd(), sgd()
    through, first, second = (build_scheduler(parsed(spec), o) for o in (whole, cut, resumed))
    assert through is not None
    assert first is not None
    assert second is not None
    losses = [*LOSSES, *LOSSES]
    for loss in losses[:6]:
        through.step(loss)
        first.step(loss)

    second.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))

    for loss in losses[6:]:
        assert snapshot(resumed) == snapshot(whole)
        through.step(loss)
        second.step(loss)


def test_no_schedule_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for spec in RESUMED:
            rates(spec)
