"""What many starts found: the distinct minima, how much of the starts each drew in, the best."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Minimum:
    """A point where at least one run ended.

    Attributes:
        point: that of the lowest of its runs.
        value: there.
        share: of all starts, those that ended here.
        runs: their numbers, in order.
    """

    point: tuple[float, ...]
    value: float
    share: float
    runs: tuple[int, ...]


@dataclass(frozen=True)
class MultiStart:
    """The result of many starts.

    Attributes:
        minima: lowest value first.
        lost: runs whose point or value is not finite (diverged); they count among the starts.
    """

    minima: tuple[Minimum, ...]
    lost: tuple[int, ...]

    @property
    def best(self) -> Minimum | None:
        return self.minima[0] if self.minima else None


def distinct_minima(
    points: ArrayLike,
    values: Sequence[float],
    *,
    settled: Sequence[bool] | None = None,
    radius: float,
) -> MultiStart:
    """Put the end points together that lie within `radius` of a lower one (2-norm).

    The lowest point that is left founds a minimum and takes all that lie within the radius, until
    none is left: so minima are at least `radius` apart, and the result does not depend on the order
    of the runs (equal values: the earlier run founds).

    Args:
        points: (runs, dim).
        values: at the points.
        settled: runs that ended near a stationary point; the others found no minimum of their own
            and count only where they lie within one's radius. Left out: all settled.
    """
    where = np.asarray(points, dtype=np.float64)
    height = np.asarray(values, dtype=np.float64)
    if where.ndim != 2 or len(where) != len(height):
        raise ValueError(f"points {where.shape} do not fit {len(height)} values")
    founds = np.ones(len(height), dtype=bool) if settled is None else np.array(settled, dtype=bool)
    finite = np.isfinite(height) & np.isfinite(where).all(axis=1)
    left = finite.copy()
    minima: list[Minimum] = []
    for run in np.argsort(height, kind="stable").tolist():
        if not (left[run] and founds[run]):
            continue
        others = np.flatnonzero(left)
        near = others[np.linalg.norm(where[others] - where[run], axis=1) <= radius]
        left[near] = False
        minima.append(
            Minimum(
                tuple(where[run].tolist()),
                float(height[run]),
                len(near) / len(height),
                tuple(near.tolist()),
            )
        )
    return MultiStart(tuple(minima), tuple(np.flatnonzero(~finite).tolist()))
