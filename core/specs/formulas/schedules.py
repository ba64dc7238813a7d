"""Schedules as curves: the rate of each update, without torch.

The formulas are those of torch.optim.lr_scheduler, step by step where torch goes from step to step,
so that chains multiply as they do there; `tests/core/specs/formulas/test_schedules.py` holds every
kind against torch. Those of `factors.py` are factors on the base rate.
"""

import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from core.specs.formulas.factors import factor
from core.specs.schedules import (
    ByFactor,
    Chained,
    Constant,
    ConstantFactor,
    Cosine,
    CosineWarmRestarts,
    CosineWithMinLr,
    Cyclic,
    Exponential,
    InverseSqrt,
    Linear,
    MultiStep,
    OneCycle,
    Piecewise,
    Polynomial,
    PowerCooldown,
    ReduceOnPlateau,
    Schedule,
    Sequential,
    Step,
    Warmup,
    WarmupStableDecay,
)

Leaf = (
    Constant | ConstantFactor | Linear | Step | MultiStep | Exponential | Polynomial | Cosine
    | CosineWarmRestarts | OneCycle | Cyclic | ReduceOnPlateau | ByFactor | Chained
)  # fmt: skip
Rate = float | NDArray[np.float64]
"""A rate, or those of several runs: each number of an array is what it would be alone."""
Rule = Callable[[int, Rate], Rate]
"""The rate of step k, from k and the rate of the step before (at k = 0: the base rate)."""
Phase = tuple[float, float, float, float, float]
"""Last step of the phase, rate at its start and end, momentum at its start and end."""


def rates(schedule: Schedule, lr: float, num_steps: int) -> list[float]:
    """Return the rate of each of `num_steps` updates, for a base rate `lr`; one that overflows is
    infinite. `reduce_on_plateau` is shown for a loss that always falls.

    `schedule`: resolved, with every length written out.
    """
    return [float(rate) for rate in islice(curve(schedule, lr), num_steps)]


def largest_rate(schedule: Schedule, lr: float) -> float:
    """Return the largest rate that a resolved schedule comes to, or is on the way to, from a base
    rate `lr`: what grows by a `gamma` above 1 is not followed."""
    match schedule:
        case Warmup():
            return largest_rate(schedule.then, lr)
        case Sequential():
            return max(largest_rate(each, lr) for each in schedule.schedules)
        case Chained():
            for each in schedule.schedules:
                lr = largest_rate(each, lr)
            return lr
        case OneCycle():
            return lr if schedule.max_lr is None else schedule.max_lr
        case Cyclic():
            return schedule.max_lr
        case Piecewise():
            return lr * max(schedule.factors)
        case Linear():
            return lr * max(schedule.start_factor, schedule.end_factor)
        case Cosine() | CosineWarmRestarts():
            return max(lr, schedule.eta_min)
        case _:
            return lr


def curve(schedule: Schedule, lr: Rate) -> Iterator[Rate]:
    """Yield the rate of each update without an end, for a base rate or for those of several runs,
    as `rates` does. A rate may overflow to infinity in NumPy: who takes it keeps that quiet."""
    parts = segments(schedule, 0)
    ends = [*(start for start, _ in parts[1:]), math.inf]
    for (start, leaf), end in zip(parts, ends, strict=True):
        rule, rate, step = _rule(leaf, lr), lr, 0
        while start + step < end:
            try:
                rate = rule(step, rate)
            except OverflowError:
                rate = math.inf
            yield rate
            step += 1


def segments(spec: Schedule, start: int) -> list[tuple[int, Leaf]]:
    """Return `spec` as (first step, schedule) pairs without nesting, each running to the next one's
    start.

    torch's SequentialLR cannot hold another one beyond its first place; flat it can.
    """
    match spec:
        case Warmup():
            rise = Linear(
                kind="linear", start_factor=spec.start_factor, end_factor=1.0,
                total_iters=spec.steps,
            )  # fmt: skip
            return [(start, rise), *segments(spec.then, start + spec.steps)]
        case Sequential():
            flat: list[tuple[int, Leaf]] = []
            for inner, begin in zip(spec.schedules, (0, *spec.milestones), strict=True):
                # What an inner sequence still had to come is cut off by the next milestone.
                flat = [piece for piece in flat if piece[0] < start + begin]
                flat.extend(segments(inner, start + begin))
            return flat
        case _:
            return [(start, spec)]


def chain_parts(spec: Chained) -> list[Schedule]:
    """Return the schedules whose factors multiply, in order; those of a chain within the chain are
    among them, for a product of products is one product."""
    parts: list[Schedule] = []
    for part in spec.schedules:
        parts.extend(chain_parts(part) if isinstance(part, Chained) else [part])
    return parts


def phases(spec: OneCycle, max_lr: float, total_steps: int) -> list[Phase]:
    """Return the phases of the 1cycle policy, in torch's arithmetic."""
    initial = max_lr / spec.div_factor
    least = initial / spec.final_div_factor
    low, high = spec.base_momentum, spec.max_momentum
    peak = float(spec.pct_start * total_steps) - 1
    end = total_steps - 1
    if not spec.three_phase:
        return [(peak, initial, max_lr, high, low), (end, max_lr, least, low, high)]
    return [
        (peak, initial, max_lr, high, low),
        (float(2 * spec.pct_start * total_steps) - 2, max_lr, initial, low, high),
        (end, initial, least, high, high),
    ]


def phase_at(found: list[Phase], step: int) -> tuple[Phase, float]:
    """Return the phase of a step, and the part of it that is over there; beyond the last one's end,
    its end."""
    start = 0.0
    step = min(step, int(found[-1][0]))
    for phase in found:
        end = phase[0]
        if step <= end or phase is found[-1]:
            return phase, (step - start) / (end - start) if end != start else 1.0
        start = end
    raise AssertionError("a schedule has phases")


def _rule(leaf: Schedule, base: Rate) -> Rule:  # noqa: C901, PLR0912 (one case a kind)
    match leaf:
        case Constant() | ReduceOnPlateau() | ConstantFactor(total_iters=0):
            return lambda k, rate: rate
        case ConstantFactor(factor=0.0):
            return lambda k, rate: 0.0 if k < leaf.total_iters else base
        case ConstantFactor():
            ends = {0: leaf.factor, leaf.total_iters: 1.0 / leaf.factor}
            return lambda k, rate: rate * ends.get(k, 1.0)
        case Linear():
            return lambda k, rate: _linear(leaf, k, rate)
        case Step():
            return lambda k, rate: rate * leaf.gamma if k and k % leaf.step_size == 0 else rate
        case MultiStep():
            return lambda k, rate: rate * leaf.gamma ** leaf.milestones.count(k)
        case Exponential():
            return lambda k, rate: rate * leaf.gamma if k else rate
        case Polynomial():
            return lambda k, rate: _polynomial(leaf, k, rate)
        case Cosine():
            return lambda k, rate: _cosine(leaf, k, rate, base)
        case CosineWarmRestarts():
            return lambda k, rate: _warm_restarts(leaf, k, base)
        case OneCycle():
            return _one_cycle(leaf, base)
        case Cyclic():
            return lambda k, rate: _cyclic(leaf, k)
        case Chained():
            return _chained(leaf, base)
        case (
            WarmupStableDecay() | InverseSqrt() | PowerCooldown() | CosineWithMinLr() | Piecewise()
        ):  # fmt: skip
            return lambda k, rate: base * factor(leaf, k)
        case Warmup() | Sequential():
            raise ValueError(f"{leaf.kind} has no rule of its own: take its segments")
        case _:
            assert_never(leaf)


def _chained(spec: Chained, base: Rate) -> Rule:
    """Return the rule of all parts at once: those that go from step to step do so without the
    factors of the others."""
    parts = chain_parts(spec)
    rules = [_rule(part, base) for part in parts if not isinstance(part, ByFactor)]
    factors = [part for part in parts if isinstance(part, ByFactor)]
    bare = base

    def all_at_once(k: int, rate: Rate) -> Rate:
        nonlocal bare
        for rule in rules:
            bare = rule(k, bare)
        return bare * math.prod(factor(part, k) for part in factors) if factors else bare

    return all_at_once


def _linear(leaf: Linear, k: int, rate: Rate) -> Rate:
    if k == 0:
        return rate * leaf.start_factor
    if k > leaf.total_iters:
        return rate
    rise = leaf.end_factor - leaf.start_factor
    return rate * (1.0 + rise / (leaf.total_iters * leaf.start_factor + (k - 1) * rise))


def _polynomial(leaf: Polynomial, k: int, rate: Rate) -> Rate:
    total = leaf.total_iters
    assert total is not None
    if k == 0 or k > total:
        return rate
    return rate * float(((1.0 - k / total) / (1.0 - (k - 1) / total)) ** leaf.power)


def _cosine(leaf: Cosine, k: int, rate: Rate, base: Rate) -> Rate:
    half = leaf.T_max
    assert half is not None
    if k == 0:
        return rate
    if (k - 1 - half) % (2 * half) == 0:
        return rate + (base - leaf.eta_min) * (1 - math.cos(math.pi / half)) / 2
    ratio = (1 + math.cos(math.pi * k / half)) / (1 + math.cos(math.pi * (k - 1) / half))
    return ratio * (rate - leaf.eta_min) + leaf.eta_min


def _warm_restarts(leaf: CosineWarmRestarts, k: int, base: Rate) -> Rate:
    length = leaf.T_0
    if leaf.T_mult == 1:
        k %= length
    while k >= length:
        k, length = k - length, length * leaf.T_mult
    return leaf.eta_min + (base - leaf.eta_min) * (1 + math.cos(math.pi * k / length)) / 2


def _one_cycle(leaf: OneCycle, base: Rate) -> Rule:
    assert leaf.total_steps is not None
    found = phases(leaf, float(base) if leaf.max_lr is None else leaf.max_lr, leaf.total_steps)

    def rate_at(k: int, rate: Rate) -> Rate:
        (_, low, high, _, _), part = phase_at(found, k)
        if leaf.anneal_strategy == "linear":
            return (high - low) * part + low
        return high + (low - high) / 2.0 * (math.cos(math.pi * part) + 1)

    return rate_at


def _cyclic(leaf: Cyclic, k: int) -> float:
    down = leaf.step_size_up if leaf.step_size_down is None else leaf.step_size_down
    total = float(leaf.step_size_up + down)
    rising = leaf.step_size_up / total
    cycle = math.floor(1 + k / total)
    x = 1.0 + k / total - cycle
    height = x / rising if x <= rising else (x - 1) / (rising - 1)
    match leaf.mode:
        case "triangular":
            scale = 1.0
        case "triangular2":
            scale = 1 / 2.0 ** (cycle - 1)
        case "exp_range":
            scale = float(leaf.gamma**k)  # torch counts steps here, whatever scale_mode says
        case _:
            assert_never(leaf.mode)
    return leaf.base_lr + (leaf.max_lr - leaf.base_lr) * height * scale
