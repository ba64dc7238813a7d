"""Steps and seconds to a target, with those that did not reach it kept.

A run that reached the target is an event at that time, also when it diverged later. One that ended
by itself without (budget used up, converged or stalled elsewhere, diverged, failed) never reaches
it: its time is infinite. One that was cut off (by a stopper, a cancel, or because it still runs) is
censored there: it might have. The median is that of the Kaplan-Meier estimate (Kaplan and Meier
1958, doi 10.1080/01621459.1958.10501452).
"""

import numpy as np
from numpy.typing import NDArray

from core.compare.table import State, Table
from core.specs.base import Json

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_CUT = (State.PENDING, State.STOPPED, State.CANCELLED)


def to_target(table: Table, reached: Floats, ended: Floats, *, whole: bool) -> list[Json]:
    """Return the way of each configuration to the target, `{"by_repeat", "num_reached",
    "num_never", "num_censored", "median"}`.

    Args:
        reached: (C, R) steps or seconds at which the target was reached, NaN where it was not.
        ended: (C, R) steps or seconds that the runs have gone; NaN counts as 0.
        whole: they are whole numbers.
    """
    event = np.isfinite(reached)
    cut = ~event & np.isin(table.state, _CUT)
    never = ~event & ~cut & (table.state != State.MISSING)
    times = np.where(event, reached, np.where(never, np.inf, np.nan_to_num(ended)))
    times = np.where(table.state == State.MISSING, np.nan, times)
    medians = kaplan_meier_median(times, event)
    shown = np.where(event, reached, 0.0).astype(np.int64 if whole else np.float64)
    return [
        {
            "by_repeat": [value if known else None for value, known in zip(row, seen, strict=True)],
            "num_reached": sum(seen),
            "num_never": lost,
            "num_censored": left,
            "median": median if np.isfinite(median) else None,
        }
        for row, seen, lost, left, median in zip(
            shown.tolist(),
            event.tolist(),
            never.sum(axis=1).tolist(),
            cut.sum(axis=1).tolist(),
            medians.tolist(),
            strict=True,
        )
    ]


def kaplan_meier_median(times: Floats, event: Bools) -> Floats:
    """Return the time by which half have reached the target; infinite: never, or not as far as is
    known.

    The first time with S ≤ 1/2; where S is exactly 1/2 up to the next event, the middle between the
    two, as in the usual median (and R's survfit).

    Args:
        times: (rows, n): of the event, or of the censoring; infinite: never; NaN: no such run.
        event: (rows, n).
    """
    if times.size == 0:
        return np.full(len(times), np.inf)
    # At the same time, events come before what is censored there.
    order = np.lexsort((~event, times), axis=-1)
    t, happened = np.take_along_axis(times, order, 1), np.take_along_axis(event, order, 1)
    num = (~np.isnan(times)).sum(axis=1)[:, None]
    at_risk = np.maximum(num - np.arange(times.shape[1]), 1)
    left = np.cumprod(np.where(happened, 1.0 - 1.0 / at_risk, 1.0), axis=1)
    first = _first(t, happened & (left <= 0.5 + 1e-12))
    second = _first(t, happened & (left < 0.5 - 1e-12))
    exactly = (happened & (np.abs(left - 0.5) <= 1e-12)).any(axis=1)
    return np.where(exactly, 0.5 * (first + second), first)


def _first(times: Floats, where: Bools) -> Floats:
    at = where.argmax(axis=1)
    found = times[np.arange(len(times)), at]
    return np.where(where.any(axis=1), found, np.inf)
