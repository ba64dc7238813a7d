"""The factors of schedules are those of the formulas that their sources print, and of torch's
schedulers where these can be put together to the same curve."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as t

from core.specs.formulas.factors import factor
from core.specs.formulas.schedules import rates
from core.specs.schedules import ByFactor, PowerCooldown
from tests.core.specs.formulas.test_schedules import LR, STEPS, resolved

Make = Callable[[torch.optim.Optimizer], Any]


def linear(start: float, end: float, length: int) -> Make:
    return lambda o: t.LinearLR(o, start, end, length)


def held(o: torch.optim.Optimizer) -> Any:
    return t.ConstantLR(o, 1.0, 0)


def in_turn(*parts: Make, milestones: list[int]) -> Make:
    return lambda o: t.SequentialLR(o, [part(o) for part in parts], milestones)


BY_TORCH: dict[str, tuple[dict[str, Any], Make]] = {
    "warm-up, stable, linear decay": (
        {"kind": "warmup_stable_decay", "warmup_steps": 10, "decay_steps": 20, "min_lr_ratio": 0.25,
         "decay_type": "linear"},
        in_turn(linear(0.25, 1.0, 10), held, linear(1.0, 0.25, 20), milestones=[10, 40]),
    ),
    "stable, cosine decay": (
        {"kind": "warmup_stable_decay", "decay_steps": 16},
        in_turn(held, lambda o: t.CosineAnnealingLR(o, 16), milestones=[44]),
    ),
    "power cool-down": (
        {"kind": "power_cooldown", "cooldown_steps": 25, "power": 3.0},
        in_turn(held, lambda o: t.PolynomialLR(o, 25, 3.0), milestones=[35]),
    ),
    "cosine with a floor": (
        {"kind": "cosine_with_min_lr", "min_lr_ratio": 0.2},
        lambda o: t.CosineAnnealingLR(o, STEPS, 0.2 * LR),
    ),
    "piecewise constant": (
        {"kind": "piecewise", "boundaries": [10, 30], "factors": [1.0, 0.5, 0.05]},
        lambda o: t.LambdaLR(o, lambda k: 1.0 if k < 10 else 0.5 if k < 30 else 0.05),
    ),
    "piecewise linear": (
        {"kind": "piecewise", "boundaries": [20, 60], "factors": [0.5, 1.0, 0.2],
         "interpolation": "linear"},
        in_turn(linear(0.5, 1.0, 20), linear(1.0, 0.2, 40), milestones=[20]),
    ),
    "piecewise cosine": (
        {"kind": "piecewise", "boundaries": [60], "factors": [1.0, 0.2], "interpolation": "cosine"},
        lambda o: t.CosineAnnealingLR(o, STEPS, 0.2 * LR),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "make"), BY_TORCH.values(), ids=BY_TORCH.keys())
def test_it_is_the_curve_of_torchs_schedulers(spec: dict[str, Any], make: Make) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=LR)
    scheduler = make(optimizer)
    expected = []
    for _ in range(STEPS):
        expected.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    assert rates(resolved(spec), LR, STEPS) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def of_transformers_wsd(k: int, warmup: int, stable: int, decay: int, least: float) -> float:
    """`get_wsd_schedule` with 1-sqrt both ways."""
    if k < warmup:
        return (1 - math.sqrt(1 - k / warmup)) * (1 - least) + least
    if k < warmup + stable:
        return 1.0
    if k < warmup + stable + decay:
        return (1 - math.sqrt((k - warmup - stable) / decay)) * (1 - least) + least
    return least


BY_FORMULA: dict[str, tuple[dict[str, Any], Callable[[int], float]]] = {
    "1-sqrt, both ways": (
        {"kind": "warmup_stable_decay", "warmup_steps": 8, "decay_steps": 12, "total_steps": 50,
         "warmup_type": "1-sqrt", "decay_type": "1-sqrt", "min_lr_ratio": 0.1},
        lambda k: of_transformers_wsd(k, 8, 30, 12, 0.1),
    ),
    "a rise by a cosine, and a tenth of decay": (
        {"kind": "warmup_stable_decay", "warmup_steps": 30, "warmup_type": "cosine"},
        lambda k: (1 - math.cos(math.pi * k / 30)) / 2 if k < 30
        else 1.0 if k < 54 else (1 + math.cos(math.pi * (k - 54) / 6)) / 2,
    ),
    "inverse square root": (  # get_inverse_sqrt_schedule
        {"kind": "inverse_sqrt", "warmup_steps": 7, "timescale": 20},
        lambda k: k / 7 if k < 7 else 1 / math.sqrt((k + (20 - 7)) / 20),
    ),
    "inverse square root of Vaswani et al.": (
        {"kind": "inverse_sqrt", "warmup_steps": 16},
        lambda k: 4.0 * min(max(k, 1) ** -0.5, k * 16**-1.5),
    ),
    "inverse square root without a rise": (
        {"kind": "inverse_sqrt"}, lambda k: 1 / math.sqrt((k + 10_000) / 10_000),
    ),
    "cosine with a floor, and then the floor": (  # get_cosine_with_min_lr_schedule_with_warmup
        {"kind": "cosine_with_min_lr", "warmup_steps": 5, "total_steps": 45},
        lambda k: k / 5 if k < 5
        else (1 + math.cos(math.pi * min((k - 5) / 40, 1.0))) / 2 * 0.9 + 0.1,
    ),
    "a fifth of power cool-down to a floor": (
        {"kind": "power_cooldown", "power": 0.5, "min_lr_ratio": 0.3},
        lambda k: 1.0 if k < 48 else 0.3 + 0.7 * (1 - (k - 48) / 12) ** 0.5,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "formula"), BY_FORMULA.values(), ids=BY_FORMULA.keys())
def test_it_is_the_curve_of_the_formula(
    spec: dict[str, Any], formula: Callable[[int], float]
) -> None:
    expected = [LR * formula(k) for k in range(STEPS)]
    assert rates(resolved(spec), LR, STEPS) == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(
    "spec", [spec for spec, _ in [*BY_TORCH.values(), *BY_FORMULA.values()]],
    ids=[*BY_TORCH.keys(), *BY_FORMULA.keys()],
)  # fmt: skip
def test_every_factor_lies_between_0_and_1_and_the_end_is_held(spec: dict[str, Any]) -> None:
    schedule = resolved(spec)
    assert isinstance(schedule, ByFactor)
    assert all(0.0 <= factor(schedule, k) <= 1.0 for k in range(2 * STEPS))
    if spec["kind"] != "inverse_sqrt":  # which has no end
        assert factor(schedule, STEPS) == factor(schedule, 10**8)


def test_a_power_of_0_holds_the_rate_to_the_end() -> None:
    schedule = resolved({"kind": "power_cooldown", "power": 0.0, "cooldown_steps": 4})
    assert isinstance(schedule, PowerCooldown)
    assert [factor(schedule, k) for k in (0, 59, 60, 61)] == [1.0, 1.0, 0.0, 0.0]


def test_chained_factors_multiply_what_goes_from_step_to_step() -> None:
    parts: list[dict[str, Any]] = [
        {"kind": "warmup_stable_decay", "warmup_steps": 5},
        {"kind": "step", "step_size": 9, "gamma": 0.5},
        {"kind": "piecewise", "boundaries": [20, 21], "factors": [1.0, 0.0, 2.0]},
    ]
    whole = rates(resolved({"kind": "chained", "schedules": parts}), LR, STEPS)
    single = [rates(resolved(part), 1.0, STEPS) for part in parts]
    expected = [LR * math.prod(each) for each in zip(*single, strict=True)]
    assert whole == pytest.approx(expected, rel=1e-12, abs=1e-15)
