"""The order of the configurations of one problem, the leader, and what sets the others apart.

A configuration whose runs diverged or failed has no mean, lest those that survived speak for it:
its lost runs count as worse than any value. So the order is

0. configurations that lost no run and of which no run was stopped, by the mean of their values;
1. those that a stopper stopped: later ones first, then by their rank at the stop;
2. those that lost some of their runs: the fewer, the better; then by the mean of the rest;
3. those without any value.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.compare.statistics.intervals import Means, means
from core.compare.statistics.multiple_comparisons import adjusted
from core.compare.table import State, Table
from core.specs.direction import sign_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SIGNIFICANCE: Final = 0.05
STANDING, STOPPED, PARTIAL, NOTHING = range(4)


@dataclass(frozen=True)
class Ranking:
    """A ranking of some rows of the table (the configurations of one problem).

    Attributes:
        rows: of the table, best first.
        group: of each row, in that order: STANDING, STOPPED, PARTIAL or NOTHING.
        own: mean of each row's values and its interval, in that order (also where a mean over those
            that were not lost may not stand for the configuration: see `group`).
        differences: of each row from the first, over the repeats that both have; NaN where they
            are not compared: the leader itself, configurations with diverged or stopped runs.
        p_adjusted: of the differences, after Hochberg's correction.
    """

    rows: Ints
    group: Ints
    own: Means
    differences: Means
    p_adjusted: Floats

    @property
    def leader(self) -> int | None:
        """The leader's row of the table; None where no configuration has a value."""
        return int(self.rows[0]) if self.rows.size and self.group[0] != NOTHING else None

    @property
    def compared(self) -> NDArray[np.bool_]:
        """The rows that are compared with the leader, at the end, over two repeats or more."""
        return ~np.isnan(self.p_adjusted)

    @property
    def distinguishable(self) -> NDArray[np.bool_]:
        return self.p_adjusted < SIGNIFICANCE


def rank(table: Table, rows: Ints, own: Means, *, goal: str | None) -> Ranking:
    """Order these rows of the table.

    Args:
        own: of all rows of the table.
        goal: `min` (as None) or `max`.
    """
    order, group = _order(table, rows, own, sign_of(goal))
    rows = rows[order]
    values = table.values[rows]
    differences = values - values[:1]
    compared = np.isin(group, (STANDING, PARTIAL)) & ~_has(table, rows, State.DIVERGED)
    compared[:1] = False
    if not group.size or group[0] != STANDING:
        compared[:] = False
    differences[~compared] = np.nan
    found = means(differences, floor=table.resolution / np.sqrt(6.0))
    picked = Means(*(getattr(own, name)[rows] for name in Means.__dataclass_fields__))
    return Ranking(rows, group, picked, found, adjusted(found.p))


def _has(table: Table, rows: Ints, *states: State) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = table.count(*states)[rows] > 0
    return found


def _order(table: Table, rows: Ints, own: Means, sign: float) -> tuple[Ints, Ints]:
    valued = own.num[rows] > 0
    lost = table.count(State.DIVERGED, State.FAILED)[rows]
    stopped = _has(table, rows, State.STOPPED)
    group = np.select(
        [valued & (lost == 0) & ~stopped, stopped, valued], [STANDING, STOPPED, PARTIAL], NOTHING
    )
    at = [table.stopped[row] or {} for row in rows.tolist()]
    step = np.array([float(one.get("step") or 0) for one in at])
    place = np.array([float(one.get("rank") or 0) for one in at])
    level = np.where(valued, sign * np.nan_to_num(own.mean[rows], nan=0.0), 0.0)
    is_stopped, is_partial = group == STOPPED, group == PARTIAL
    keys = (
        np.asarray(table.numbers)[rows] if rows.size else rows,
        np.where(is_stopped, 0.0, level),
        np.where(is_stopped, place, 0.0),
        np.where(is_stopped, -step, np.where(is_partial, lost, 0)),
        # Without any value: what is still to come before what is lost.
        np.where(group == NOTHING, lost > 0, 0),
        group,
    )
    order = np.lexsort(keys)
    return order, group[order]
