"""Warnings of schedules: of what they hold for steps that are never reached, since the budget, or
the next schedule of a sequence, ends them before, and of chains whose factors do not multiply."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from core.errors import FieldError
from core.specs.formulas.schedules import chain_parts
from core.specs.job import JobSpec
from core.specs.schedules import (
    ByFactor,
    Chained,
    Constant,
    CosineWarmRestarts,
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
    parts_of,
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
        case (
            WarmupStableDecay(total_steps=int(total), decay_steps=int(length))
            | PowerCooldown(total_steps=int(total), cooldown_steps=int(length))
        ):
            begin = total - length
            what = f"the decay begins after {begin:,} updates"
            yield from _never_acts("total_steps", begin, what, "let it end earlier", span)
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
        case ReduceOnPlateau(patience=patience):
            # The first loss is the best so far; behind the one that is too many, the rate falls.
            earliest = patience + 2
            what = f"{patience:,} lets the rate fall after {earliest:,} updates at the earliest"
            yield from _never_acts("patience", earliest, what, "lower it", span)
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


def _never_acts(
    field: str, first: int, what: str, way_out: str, span: _Span
) -> Iterator[FieldError]:
    """Yield a warning of what acts after the `first` updates, where these fill the span."""
    if first >= span.steps:
        param = f"{span.path}.{field}"
        yield FieldError(
            param, "no_effect",
            f"{param}: {what}, which is never reached, since {span.words}: {way_out}, or give a"
            f" larger {span.end}",
        )  # fmt: skip


def warnings_of_chains(schedule: Schedule, path: str = "schedule") -> Iterator[FieldError]:
    """Yield what is chained with a schedule that sets the rate anew at each step, as torch's does,
    so that the factors do not multiply."""
    if isinstance(schedule, Chained):
        parts = chain_parts(schedule)
        places = [n for n, part in enumerate(parts) if isinstance(part, CosineWarmRestarts)]
        lost = [
            part.kind
            for place, part in enumerate(parts)
            if place not in places[-1:] and not isinstance(part, Constant | ByFactor)
        ]
        if places and lost:
            yield FieldError(
                path, "no_effect",
                f"{path}: cosine_warm_restarts sets the rate anew at each step, as in torch:"
                f" {', '.join(lost)} changes nothing before it in the chain, and single steps after"
                " it. For a product give a schedule that is a factor of the step (inverse_sqrt,"
                " piecewise, power_cooldown, …), or put them into a sequential",
            )  # fmt: skip
        return
    for number, part in enumerate(parts_of(schedule)):
        name = "then" if isinstance(schedule, Warmup) else f"schedules.{number}"
        yield from warnings_of_chains(part, f"{path}.{name}")
