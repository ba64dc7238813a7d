"""Places of the findings of a diagnosis in a history: their `steps`, and what pictures mark.

Only triggered findings that have a place. It is looked up in the rows that are given: all of them
for a diagnosis; those drawn, which keep every extreme, for a picture.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np

from core.diagnosis.evidence.curves import Floats
from core.specs.base import Json

Columns = Mapping[str, Floats]
_STRETCHES: Final = 40
HUGE: Final = 1e200
"""Largest size of a value that is drawn: beyond it, axis limits and ticks overflow."""


class Mark(NamedTuple):
    """A finding's place: the steps from `first` to `last`, one step where they are equal.

    Attributes:
        label: a few words.
        level: a loss that the finding is about, or None.
    """

    rule: str
    label: str
    first: float
    last: float
    level: float | None = None


class Seen(NamedTuple):
    """The finite rows drawn, and the finding's numbers."""

    step: Floats
    loss: Floats
    rows: Columns
    numbers: Mapping[str, float | None]

    @property
    def half(self) -> int:
        return self.step.size // 2


def marks_of(
    diagnosis: Json | None, columns: Columns, sign: float = 1.0, largest: float = HUGE
) -> tuple[Mark, ...]:
    """Return the marks of a diagnosis on the rows `step`, `loss` (and `grad_norm`, for its spikes),
    in the order of its findings, which are of the loss times `sign` (`core.specs.direction`). Rows
    whose loss is not below `largest` in size are left out."""
    step, loss = np.asarray(columns["step"]), np.asarray(columns["loss"])
    finite = np.isfinite(loss) & (np.abs(loss) < largest)
    found: list[Mark] = []
    for finding in (diagnosis or {}).get("findings", ()):
        place = _PLACES.get(finding["rule"])
        if place is None or finding["status"] != "triggered" or not finite.any():
            continue
        seen = Seen(step[finite], sign * loss[finite], columns, finding["evidence"])
        placed = place(seen)
        if placed is not None:
            level = None if placed.level is None else sign * placed.level
            found.append(placed._replace(rule=finding["rule"], level=level))
    return tuple(found)


def steps_of(diagnosis: Json, columns: Columns, sign: float = 1.0) -> dict[str, tuple[int, int]]:
    """Return rule -> first and last step of its finding, for those that have a place among the rows
    with a finite loss. Arguments as of `marks_of`, of which `columns` may be empty."""
    if not {"step", "loss"} <= columns.keys():
        return {}
    marks = marks_of(diagnosis, columns, sign, np.inf)
    return {mark.rule: (int(mark.first), int(mark.last)) for mark in marks}


def _above_start(seen: Seen) -> Mark | None:
    """Mark the way up, from the last row that was not above the first."""
    if seen.loss[-1] <= seen.loss[0]:
        return None  # what is not finite is marked by itself
    below = np.flatnonzero(seen.loss <= seen.loss[0])
    first = seen.step[int(below[-1])]
    return Mark("", f"above its start from step {first:,.0f}", first, seen.step[-1])


def _rise(seen: Seen) -> Mark | None:
    first = seen.step[int(np.argmin(seen.loss))]
    return Mark("", f"rising from step {first:,.0f}", first, seen.step[-1])


def _second_half(label: str) -> Callable[[Seen], Mark | None]:
    """Make a mark for the rules that look at the run's second half."""
    return lambda seen: Mark("", label, seen.step[seen.half], seen.step[-1])


def _flat(label: str) -> Callable[[Seen], Mark | None]:
    """Mark the second half, and what came before it within the same band (2 % of all that was
    seen), by the medians of up to forty stretches."""

    def place(seen: Seen) -> Mark | None:
        width = -(-seen.loss.size // _STRETCHES)
        starts = np.arange(0, seen.loss.size, width)
        medians = np.array([np.median(seen.loss[at : at + width]) for at in starts])
        half = medians.size // 2
        late = medians[half:]
        room = 0.02 * float(np.ptp(seen.loss))
        outside = (medians < late.min() - room) | (medians > late.max() + room)
        before = np.flatnonzero(outside[:half])
        first = seen.step[int(starts[int(before[-1]) + 1]) if before.size else 0]
        return Mark("", f"{label} from step {first:,.0f}", first, seen.step[-1])

    return place


def _thrown(seen: Seen) -> Mark | None:
    at = int(np.argmax(seen.loss))
    if seen.loss[at] <= seen.loss[0]:
        return _second_half("alternating")(seen)
    return Mark("", f"thrown up at step {seen.step[at]:,.0f}", seen.step[at], seen.step[at])


def _end(label: str) -> Callable[[Seen], Mark | None]:
    return lambda seen: Mark("", label, seen.step[-1], seen.step[-1])


def _saddle(seen: Seen) -> Mark | None:
    least = seen.numbers.get("smallest_scaled_eigenvalue", seen.numbers.get("smallest_eigenvalue"))
    told = "" if least is None else f", λ = {least:.3g}"
    return Mark("", f"falls off to both sides{told}", seen.step[-1], seen.step[-1])


def _known_minimum(seen: Seen) -> Mark | None:
    level, what = seen.numbers.get("known_minimum"), "minimum"
    if level is None:  # of a model, whose start may be what is lower
        level, what = seen.numbers.get("lower_loss_known"), "loss"
    if level is None:
        return None
    return Mark("", f"a lower {what}: {level:.4g}", seen.step[-1], seen.step[-1], level)


def _start(label: str) -> Callable[[Seen], Mark | None]:
    return lambda seen: Mark("", label, seen.step[0], seen.step[0])


def _best_evaluation(seen: Seen) -> Mark | None:
    step, level = seen.numbers.get("best_step"), seen.numbers.get("best_eval_loss")
    if step is None:
        return None
    label = f"overfitting after the best evaluation, step {step:,.0f}"
    return Mark("", label, step, max(step, float(seen.step[-1])), level)


def _spike(seen: Seen) -> Mark | None:
    if "grad_norm" not in seen.rows:
        return None
    norms = np.asarray(seen.rows["grad_norm"])
    if not np.isfinite(norms).any():
        return None
    at = int(np.nanargmax(np.where(np.isfinite(norms), norms, np.nan)))
    step = float(np.asarray(seen.rows["step"])[at])
    return Mark("", f"gradient {norms[at]:.3g} at step {step:,.0f}", step, step)


def _undefined(what: str) -> Callable[[Seen], Mark | None]:
    """Mark the last row with a finite loss: what followed from it was not."""

    def place(seen: Seen) -> Mark | None:
        last = float(seen.step[-1])
        return Mark("", f"{what} at step {last:,.0f}", last, last)

    return place


def _swings(seen: Seen) -> Mark | None:
    period = seen.numbers.get("period")
    told = "" if period is None else f", one in {period:,.0f} steps"
    return Mark("", f"swings{told}", seen.step[seen.half], seen.step[-1])


def _constant(seen: Seen) -> Mark | None:
    level = seen.numbers.get("constant_loss")
    if level is None:
        return None
    return Mark("", f"a constant output: {level:.4g}", seen.step[-1], seen.step[-1], level)


_PLACES: Final[Mapping[str, Callable[[Seen], Mark | None]]] = {
    "diverged": _above_start,
    "undefined_gradient": _undefined("no finite gradient"),
    "undefined_update": _undefined("no finite update"),
    "loss_growing": _rise,
    "gradients_oppose": _second_half("consecutive gradients oppose each other"),
    "cycling": _second_half("circling"),
    "ringing": _swings,
    "bouncing": _thrown,
    "stationary": _end("at rest"),
    "negative_curvature": _saddle,
    "above_known_minimum": _known_minimum,
    "plateau": _flat("plateau"),
    "overfitting": _best_evaluation,
    "noise_limited": _flat("held up by noise"),
    "gradient_spikes": _spike,
    "constant_guess": _constant,
    "equal_units": _start("equal first weights"),
    "held_by_clipping": _second_half("clipping sets the pace"),
    "held_by_decay": _second_half("held by weight decay"),
    "vanishing_gradients": _start("gradients vanish in the first layers"),
    "vanishing_through_time": _start("gradients vanish through time"),
    "exploding_start": _start("first weights too large"),
}
