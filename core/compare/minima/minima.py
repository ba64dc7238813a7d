"""The distinct minima that a study's runs of one function ended in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.compare.minima.stationary import near_minima
from core.specs.base import Json, stored
from core.specs.direction import Goal, sign_of
from core.specs.formulas.values import dimension, domain, value_at
from core.specs.functions import Function, Quadratic
from core.studies import RunRecord

Floats = NDArray[np.float64]

RADIUS: Final = 1e-3
"""Radius of a minimum as a share of the search range, in each coordinate: Griewank's minima lie
1/190 of its range apart."""
MOST_LISTED: Final = 50


def minima(problem: Json, runs: Sequence[RunRecord], goal: Goal = "min") -> Json | None:
    """Return `{"num_starts", "num_minima", "num_unsettled", "num_lost", "radius", "minima":
    [{"point", "value", "share", "num_runs", "best_run"}]}`, lowest first; None where no run has
    ended.

    End points within `radius` of a lower one are one minimum (`distinct_minima`), and a minimum
    is founded only by a run that has arrived (`stationary.near_minima`). The others ended on the
    way. Shares are of all runs that ended, those that diverged or failed included.

    Args:
        problem: resolved, of kind `function`.
        goal: `max` where the runs climbed; then these are the maxima, highest first.
    """
    ended = [run for run in runs if run.status in ("succeeded", "failed")]
    if not ended:
        return None
    function = stored(Function, problem["function"])
    points = _points(ended, dimension(function))
    sign = sign_of(goal)
    values = np.array([_value(run) for run in ended])
    values[[run.outcome == "diverged" for run in ended]] = np.nan
    widths = _widths(function, problem, points[np.isfinite(values)])
    scaled = points / widths
    radius = RADIUS * float(np.sqrt(points.shape[1]))
    settled = _settled(function, problem, points, sign, RADIUS * widths)
    heights = (sign * values).tolist()
    found = distinct_minima(scaled, heights, settled=settled.tolist(), radius=radius)
    taken = sum(len(one.runs) for one in found.minima)
    listed = []
    for one in found.minima[:MOST_LISTED]:
        # The lowest of its runs founded it.
        best = min(one.runs, key=lambda run: (sign * values[run], run))
        listed.append(
            {
                "point": _shaped(points[best], ended[best]),
                "value": float(values[best]),
                "share": one.share,
                "num_runs": len(one.runs),
                "best_run": ended[best].index,
            }
        )
    return {
        "num_starts": len(ended),
        "num_minima": len(found.minima),
        "num_unsettled": len(ended) - taken - len(found.lost),
        "num_lost": len(found.lost),
        "radius": (RADIUS * widths).tolist(),
        "minima": listed,
    }


def _solution(run: RunRecord) -> Any:
    return None if run.result is None else run.result.get("solution")


def _points(runs: Sequence[RunRecord], dim: int) -> Floats:
    """Return the end points (runs, dim), NaN where a run has none."""
    known = [_solution(run) for run in runs]
    return np.array(
        [
            np.full(dim, np.nan)
            if each is None
            else list(each.values() if isinstance(each, Mapping) else each)
            for each in known
        ],
        dtype=np.float64,
    )


def _value(run: RunRecord) -> float:
    value = None if run.result is None else run.result.get("value")
    return float("nan") if value is None or _solution(run) is None else float(value)


def _shaped(point: Floats, run: RunRecord) -> Any:
    solution = _solution(run)
    if isinstance(solution, Mapping):
        return dict(zip(solution, point.tolist(), strict=True))
    return point.tolist()


def _widths(function: Any, problem: Json, ends: Floats) -> Floats:
    """Return the search range of each coordinate: bounds, else the customary domain, else the range
    that starts are drawn from, else that of the end points."""
    dim = ends.shape[1]
    start, bounds = problem.get("start"), problem.get("bounds") or domain(function)
    if bounds is not None:
        sides = np.broadcast_to(np.asarray(bounds, dtype=np.float64), (dim, 2))
        width = sides[:, 1] - sides[:, 0]
    elif isinstance(start, Mapping) and start.get("kind") == "uniform":
        width = np.full(dim, float(start["high"]) - float(start["low"]))
    else:
        width = np.full(dim, float(np.ptp(ends, axis=0).max()) if len(ends) else 1.0)
    return np.where(width > 0.0, width, 1.0)


def _settled(
    function: Any, problem: Json, points: Floats, sign: float, reach: Floats
) -> NDArray[np.bool_]:
    """Tell for each point whether it is near a minimum. Of a rotated quadratic, which NumPy cannot
    evaluate (the rotation is torch's), every finite one is taken for it: it has one minimum."""
    if isinstance(function, Quadratic) and function.rotation_seed is not None:
        return np.asarray(np.isfinite(points).all(axis=1))
    dim = points.shape[1]
    bounds = problem.get("bounds") or (-np.inf, np.inf)
    sides = np.broadcast_to(np.asarray(bounds, dtype=np.float64), (dim, 2))

    def value(at: Floats) -> Floats:
        found: Floats = sign * np.asarray(value_at(function, at), dtype=np.float64)
        return found

    return near_minima(value, points, reach, sides[:, 0], sides[:, 1])


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
