"""Warnings of what a schedule holds for steps that are never reached: the budget, or the next
schedule of a sequence, ends it before."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from core.errors import FieldError
from core.specs.job import JobSpec
from core.specs.schedules import (
    Chained,
    Constant,
    CosineWithMinLr,
    InverseSqrt,
    Linear,
    MultiStep,
    Piecewise,
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
        return f"{self.end} ends it after {self.steps:,} updates"


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
    match schedule:
        case Sequential():
            yield from _of_sequence(schedule, span)
        case Chained():
            for number, part in enumerate(schedule.schedules):
                yield from _unreached(part, _Span(f"{path}.schedules.{number}", steps, end))
        case Warmup():
            yield from _cut_short(f"{path}.steps", schedule.steps, span)
            if schedule.steps < steps:
                then = _Span(f"{path}.then", steps - schedule.steps, end)
                yield from _unreached(schedule.then, then)
        case InverseSqrt() | WarmupStableDecay() | CosineWithMinLr():
            yield from _cut_short(f"{path}.warmup_steps", schedule.warmup_steps, span)
        case Linear() if schedule.start_factor < schedule.end_factor:
            yield from _cut_short(f"{path}.total_iters", schedule.total_iters, span)
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
        case _:
            pass


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


def _cut_short(field: str, rise: int, span: _Span) -> Iterator[FieldError]:
    if rise > span.steps:
        yield FieldError(
            field, "cut_short",
            f"{field}: the rise is cut short: it takes {rise:,} updates, and"
            f" {span.words}: shorten it, or give a larger {span.end}",
        )  # fmt: skip
