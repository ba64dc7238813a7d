"""A function's bounds: which coordinates they hold, and what is left of a gradient there."""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.diagnosis.evidence.curves import Floats
from core.specs.formulas.values import dimension
from core.specs.job import FunctionProblem, Problem

_ROUNDING: Final = 1e-6
"""A coordinate this close to its bound (of the bound's size) is on it: float32 rounds a bound."""
_MOST_WORK: Final = 2**24
"""Most numbers that the function is given to project a whole history's gradients."""


class Box(NamedTuple):
    """Low and high of each coordinate."""

    low: Floats
    high: Floats

    def contains(self, point: Floats) -> bool:
        return bool((point >= self.low).all() and (point <= self.high).all())

    def clip(self, points: Floats) -> Floats:
        return np.asarray(np.clip(points, self.low, self.high))

    def on(self, points: Floats) -> Floats:
        """-1 on the lower bound, 1 on the upper one, else 0 (2 where both are one)."""
        low = points <= self.low + _ROUNDING * np.abs(self.low)
        high = points >= self.high - _ROUNDING * np.abs(self.high)
        return np.where(low & high, 2.0, high.astype(np.float64) - low)

    def holds(self, points: Floats, gradients: Floats) -> NDArray[np.bool_]:
        """Coordinates in which a step downhill would leave the box: they cannot move."""
        on = self.on(points)
        uphill = ((on == -1.0) & (gradients > 0)) | ((on == 1.0) & (gradients < 0))
        return np.asarray((on == 2.0) | uphill)

    def projected(self, points: Floats, gradients: Floats) -> Floats:
        """Return the projected gradient: 0 where a bound holds the coordinate (Bertsekas 1976;
        Nocedal and Wright 2006, section 16.7). It vanishes exactly at a constrained stationary
        point."""
        return np.where(self.holds(points, gradients), 0.0, gradients)


def box_of(problem: Problem) -> Box | None:
    """Return the bounds of a function with any."""
    if not isinstance(problem, FunctionProblem) or problem.bounds is None:
        return None
    limits = np.array(problem.bounds, dtype=np.float64)
    pairs = np.broadcast_to(limits, (dimension(problem.function), 2))
    return Box(pairs[:, 0], pairs[:, 1])


def projected_norms(
    box: Box, points: Floats, norms: Floats, slopes: Callable[[Floats], Floats | None]
) -> Floats:
    """Return a history's gradient norms with the parts taken out that bounds hold.

    Long histories are computed at some rows only (the last ones among them), and the share that is
    left is interpolated. Where no slope is known (a drawn rotation, many variables), a point on a
    bound that a step did not move at all has none left.

    Args:
        points: (rows × dim). norms: of the whole gradients, as recorded.
        slopes: gradients at (n × dim) points, or None.
    """
    on_bound = (box.on(points) != 0.0).any(axis=1)
    if not on_bound.any():
        return norms
    rows, dim = points.shape
    most = max(16, _MOST_WORK // (2 * dim * dim))
    some = np.arange(rows)
    if rows > most:
        thin = np.linspace(0, rows - 1, most // 2).astype(np.intp)
        some = np.unique(np.concatenate([thin, some[-(most // 2) :]]))
    found = slopes(points[some])
    if found is None:
        still = np.zeros(rows, dtype=bool)
        still[1:] = (points[1:] == points[:-1]).all(axis=1)
        return np.where(on_bound & still, 0.0, norms)
    left = box.projected(points[some], found)
    whole, rest = np.sqrt((found**2).sum(axis=1)), np.sqrt((left**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(whole > 0, rest / whole, 1.0)
    return np.where(on_bound, norms * np.interp(np.arange(rows), some, share), norms)
