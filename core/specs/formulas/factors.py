"""The schedules whose rate at a step is the base rate times a factor of that step, in closed form.

Sources and meaning: `core.specs.schedules`. Each holds its last value beyond its end.
"""

import math
from bisect import bisect_right
from typing import assert_never

from core.specs.schedules import (
    ByFactor,
    CosineWithMinLr,
    InverseSqrt,
    Piecewise,
    PowerCooldown,
    Shape,
    WarmupStableDecay,
)


def factor(schedule: ByFactor, step: int) -> float:
    """Return the factor on the base rate at update `step`, counted from 0.

    `schedule`: resolved, with every length written out.
    """
    match schedule:
        case WarmupStableDecay():
            return _warmup_stable_decay(schedule, step)
        case InverseSqrt():
            assert schedule.timescale is not None
            if step < schedule.warmup_steps:
                return step / schedule.warmup_steps
            since = step - schedule.warmup_steps + schedule.timescale
            return 1.0 / math.sqrt(since / schedule.timescale)
        case PowerCooldown():
            assert schedule.total_steps is not None
            assert schedule.cooldown_steps is not None
            begin = schedule.total_steps - schedule.cooldown_steps
            part = _part(step, begin, schedule.cooldown_steps)
            height = (1.0 - part) ** schedule.power if part < 1.0 else 0.0
            return _above(schedule.min_lr_ratio, height)
        case CosineWithMinLr():
            assert schedule.total_steps is not None
            rise = schedule.warmup_steps
            if step < rise:
                return step / rise
            part = _part(step, rise, schedule.total_steps - rise)
            return _above(schedule.min_lr_ratio, _height("cosine", part))
        case Piecewise():
            return _piecewise(schedule, step)
        case _:
            assert_never(schedule)


def _warmup_stable_decay(schedule: WarmupStableDecay, step: int) -> float:
    assert schedule.total_steps is not None
    assert schedule.decay_steps is not None
    if step < schedule.warmup_steps:
        left = 1.0 - step / schedule.warmup_steps
        return _above(schedule.min_lr_ratio, _height(schedule.warmup_type, left))
    begin = schedule.total_steps - schedule.decay_steps
    part = _part(step, begin, schedule.decay_steps)
    return _above(schedule.min_lr_ratio, _height(schedule.decay_type, part))


def _piecewise(schedule: Piecewise, step: int) -> float:
    place = bisect_right(schedule.boundaries, step)
    factors = schedule.factors
    if schedule.interpolation == "constant" or place == len(schedule.boundaries):
        return factors[place]
    begin = schedule.boundaries[place - 1] if place else 0
    part = (step - begin) / (schedule.boundaries[place] - begin)
    here, there = factors[place], factors[place + 1]
    return there + (here - there) * _height(schedule.interpolation, part)


def _part(step: int, begin: int, length: int) -> float:
    """Return the part of the way from `begin` that is over at a step, from 0 to 1."""
    return min(max(step - begin, 0) / length, 1.0) if length > 0 else float(step >= begin)


def _height(shape: Shape, part: float) -> float:
    """Return what a fall from 1 to 0 has left over a part of its way."""
    match shape:
        case "linear":
            return 1.0 - part
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * part))
        case "1-sqrt":
            return 1.0 - math.sqrt(part)
        case _:
            assert_never(shape)


def _above(floor: float, height: float) -> float:
    return floor + (1.0 - floor) * height
