"""Warnings of what a schedule holds for steps that are never reached: the budget, or the next
schedule of a sequence, ends it before."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from core.errors import FieldError
from core.specs.job import JobSpec
from core.specs.schedules import (
    Chained,
    Constant,
    CosineWithMinLr,
    Cyclic,
    InverseSqrt,
    Linear,
    MultiStep,
    OneCycle,
    Piecewise,
    PowerCooldown,
    ReduceOnPlateau,
    Schedule,
    Sequential,
    Step,
    Warmup,
    WarmupStableDecay,
)
from core.specs.sizes.extent import Extent, extent_of, steps_of


class _Span(NamedTuple):
    """The steps that a schedule rules.

    Attributes:
        path: of the schedule in the spec.
        steps: how many they are.
        end: field of the spec that ends them.
    """

    path: str
    steps: int
    end: str

    @property
    def words(self) -> str:
        """Say what ends them."""
        updates = "update" if self.steps == 1 else "updates"
        return f"{self.end} ends it after {self.steps:,} {updates}"


def warnings_of_unreached(spec: JobSpec, size: Extent | None = None) -> Iterator[FieldError]:
    """Yield each part of a resolved spec's schedule that is never reached, and each rise that is
    cut short within a sequence. `size`: the spec's extent, where that is known."""
    if isinstance(spec.schedule, Constant):
        return
    steps = steps_of(spec.budget, size or extent_of(spec))
    field = "max_steps" if spec.budget.max_steps == steps else "max_epochs"
    yield from _unreached(spec.schedule, _Span("schedule", steps, f"budget.{field}"))


def _unreached(schedule: Schedule, span: _Span) -> Iterator[FieldError]:
    path, steps, end = span
    yield from _rises_cut_short(schedule, span)
    match schedule:
        case Sequential():
            yield from _of_sequence(schedule, span)
        case Chained():
            for number, part in enumerate(schedule.schedules):
                yield from _unreached(part, _Span(f"{path}.schedules.{number}", steps, end))
        case Warmup():
            yield from _after_warmup(schedule, span)
        case WarmupStableDecay(total_steps=total, decay_steps=length) if total and length:
            yield from _never_begun(total - length, span)
        case PowerCooldown(total_steps=total, cooldown_steps=length) if total and length:
            yield from _never_begun(total - length, span)
        case Step():
            yield from _never_reached(f"{path}.step_size", [schedule.step_size], span)
        case MultiStep():
            yield from _never_reached(f"{path}.milestones", sorted(schedule.milestones), span)
        case Piecewise():
            begins = schedule.boundaries
            if schedule.interpolation != "constant":  # the way to a boundary begins at the last one
                begins = (0, *begins[:-1])
            late = [b for b, a in zip(schedule.boundaries, begins, strict=True) if a >= steps]
            yield from _never_reached(f"{path}.boundaries", late, span)
        case ReduceOnPlateau():
            yield from _patient_beyond(schedule, span)
        case _:
            pass


def _rises_cut_short(schedule: Schedule, span: _Span) -> Iterator[FieldError]:
    """Yield a warning of a rise that ends below its height; one from the height itself is none."""
    match schedule:
        case Warmup(steps=rise) if schedule.start_factor < 1.0:
            field = "steps"
        case WarmupStableDecay(warmup_steps=rise) if schedule.min_lr_ratio < 1.0:
            field = "warmup_steps"
        case InverseSqrt(warmup_steps=rise) | CosineWithMinLr(warmup_steps=rise):
            field = "warmup_steps"
        case Linear(total_iters=rise) if schedule.start_factor < schedule.end_factor:
            field = "total_iters"
        case OneCycle(total_steps=int(total)) if schedule.div_factor > 1.0:
            field, rise = "total_steps", math.ceil(schedule.pct_start * total)
        case Cyclic(step_size_up=rise) if schedule.base_lr < schedule.max_lr:
            field = "step_size_up"
        case _:
            return
    if rise > span.steps:
        param = f"{span.path}.{field}"
        yield FieldError(
            param, "cut_short",
            f"{param}: the rise is cut short: it takes {rise:,} updates, and"
            f" {span.words}: shorten it, or give a larger {span.end}",
        )  # fmt: skip


def _after_warmup(schedule: Warmup, span: _Span) -> Iterator[FieldError]:
    path, steps, end = span
    then = f"{path}.then"
    if schedule.steps < steps:
        yield from _unreached(schedule.then, _Span(then, steps - schedule.steps, end))
    elif not isinstance(schedule.then, Constant):
        yield FieldError(
            then, "no_effect",
            f"{then}: {schedule.then.kind} is never reached, since the warm-up takes"
            f" {schedule.steps:,} updates, and {span.words}: shorten the warm-up, or give a larger"
            f" {end}",
        )  # fmt: skip


def _of_sequence(schedule: Sequential, span: _Span) -> Iterator[FieldError]:
    path, steps, end = span
    yield from _never_reached(f"{path}.milestones", schedule.milestones, span)
    starts = (0, *schedule.milestones)
    for number, (part, start) in enumerate(zip(schedule.schedules, starts, strict=True)):
        following = starts[number + 1] if number + 1 < len(starts) else steps
        if start >= steps:
            break
        here, last = f"{path}.schedules.{number}", min(following, steps)
        ended_by = f"{path}.milestones.{number}" if following < steps else end
        yield from _unreached(part, _Span(here, last - start, ended_by))


def _never_reached(field: str, places: Sequence[int], span: _Span) -> Iterator[FieldError]:
    """Yield a warning of the places, in order, that lie beyond the span."""
    late = [place for place in places if place >= span.steps]
    if late:
        which = f"{late[0]:,}" if len(late) == 1 else f"{late[0]:,} and what follows it"
        yield FieldError(
            field, "no_effect",
            f"{field}: {which} is never reached, since {span.words}: give an earlier step, or a"
            f" larger {span.end}",
        )  # fmt: skip


def _patient_beyond(schedule: ReduceOnPlateau, span: _Span) -> Iterator[FieldError]:
    """Yield a warning of a patience that no loss can try: the first loss is the best so far, and
    the rate is lower behind the one that is the first too many."""
    earliest = schedule.patience + 2
    if earliest >= span.steps:
        field = f"{span.path}.patience"
        yield FieldError(
            field, "no_effect",
            f"{field}: {schedule.patience:,} lets the rate fall after {earliest:,} updates at the"
            f" earliest, which is never reached, since {span.words}: lower it, or give a larger"
            f" {span.end}",
        )  # fmt: skip


def _never_begun(begin: int, span: _Span) -> Iterator[FieldError]:
    """Yield a warning of a decay whose first step lies beyond the span."""
    if begin >= span.steps:
        field = f"{span.path}.total_steps"
        yield FieldError(
            field, "no_effect",
            f"{field}: the decay begins after {begin:,} updates, which is never reached, since"
            f" {span.words}: let it end earlier, or give a larger {span.end}",
        )  # fmt: skip
