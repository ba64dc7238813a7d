"""The distinct minima that many starts found, the share of the starts that each drew in, and the
best."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
    # Only points that are near in one coordinate need a look: they lie side by side when sorted.
    line = _most_spread(where, finite)
    order = np.argsort(line, kind="stable")
    ordered = line[order]
    for run in np.argsort(height, kind="stable").tolist():
        if not (left[run] and founds[run]):
            continue
        first = np.searchsorted(ordered, line[run] - 1.01 * radius)
        last = np.searchsorted(ordered, line[run] + 1.01 * radius, side="right")
        others = order[first:last]
        others = np.sort(others[left[others]])
        with np.errstate(over="ignore"):
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


def _most_spread(points: NDArray[np.float64], finite: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the coordinate in which the finite points lie furthest apart."""
    if not finite.any():
        return np.zeros(len(points))
    with np.errstate(over="ignore"):
        found: NDArray[np.float64] = points[:, int(np.ptp(points[finite], axis=0).argmax())]
    return found
