"""Test whether points are minima of a function, by its values alone (there is no torch here)."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Values = Callable[[Floats], Floats]
"""Points (..., n) -> values (...)."""

_MOST_NUMBERS: Final = 20_000_000
_STEP: Final = 0.1
"""Step of the differences, as a share of the reach."""
_EPS: Final = float(np.finfo(np.float64).eps)


def near_minima(value: Values, points: Floats, reach: Floats, low: Floats, high: Floats) -> Bools:
    """Tell for each point whether a minimum lies within about `reach` of it.

    Where it does, Newton's step from the point is no longer than that, and no curvature is
    negative (Nocedal and Wright 2006, Numerical Optimization, chapter 3); gradient and Hessian
    are central differences. Where these are not finite, or would take over 2·10⁷ numbers (many
    dimensions), no step of `reach` along a coordinate may lead lower, as in a pattern search
    (Torczon 1997, doi 10.1137/S1052623493250780).

    Args:
        points: (runs, n); those that are not finite are near nothing.
        reach: (n,), and the distance in all coordinates together is reckoned in units of it.
        low, high: (n,) bounds, infinite where there are none. A coordinate at a bound beyond which
            the function falls is at rest.
    """
    found = np.asarray(np.isfinite(points).all(axis=1))
    if not found.any():
        return found
    with np.errstate(all="ignore"):
        inside = points[found]
        if 2 * inside.size * points.shape[1] ** 2 > _MOST_NUMBERS:
            found[found] = _no_step_is_lower(value, inside, reach, low, high)
            return found
        short, known = _newton_is_short(value, inside, reach, low, high)
        if not known.all():
            others = inside[~known]
            short[~known] = _no_step_is_lower(value, others, reach, low, high)
    found[found] = short
    return found


def _no_step_is_lower(
    value: Values, points: Floats, reach: Floats, low: Floats, high: Floats
) -> Bools:
    """Tell whether no step along a coordinate is lower; of many coordinates as many are tried as
    there is time for, evenly spread."""
    n = points.shape[1]
    num = max(1, min(n, _MOST_NUMBERS // (2 * points.size)))
    left, here = np.arange(len(points)), value(points)
    for axis in np.linspace(0, n - 1, num).astype(int).tolist():
        for side in (-1.0, 1.0):
            there = points[left]
            there[:, axis] = (there[:, axis] + side * reach[axis]).clip(low[axis], high[axis])
            left = left[~(value(there) < here[left])]
    rest = np.zeros(len(points), dtype=bool)
    rest[left] = True
    return rest


def _newton_is_short(
    value: Values, points: Floats, reach: Floats, low: Floats, high: Floats
) -> tuple[Bools, Bools]:
    """Tell for each point whether it is as good as at a minimum, and whether that is known."""
    n, step = points.shape[1], _STEP * reach
    gradient, hessian, size = _differences(value, points, step)
    # All in units of `step`; below these, differences of values are rounding.
    noise = 8.0 * _EPS * size
    held: Bools = (points - low <= step) & (gradient > 0.0) | (high - points <= step) & (
        gradient < 0.0
    )
    gradient = np.where(held, 0.0, gradient)
    free = np.logical_not(held[:, :, None] | held[:, None, :])
    hessian = np.where(free, hessian, size[:, None, None] * np.eye(n))
    known = np.asarray(np.isfinite(gradient).all(axis=1) & np.isfinite(hessian).all(axis=(1, 2)))
    curvature, axes = np.linalg.eigh(np.where(known[:, None, None], hessian, np.eye(n)))
    slope = np.abs(np.einsum("rij,ri->rj", axes, gradient))
    slope = np.where(slope > noise[:, None], slope, 0.0)
    newton = slope / np.maximum(np.abs(curvature), 4.0 * noise[:, None] + 1e-300)
    length = _STEP * np.linalg.norm(newton, axis=1)
    edge = 4.0 * noise + 1e-6 * curvature.max(axis=1)
    short: Bools = (length <= np.sqrt(n)) & (curvature.min(axis=1) >= -edge)
    return short, known


def _differences(value: Values, points: Floats, step: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the gradient (runs, n) and Hessian (runs, n, n) for coordinates in units of `step`,
    and the size of the values (runs,) that they are differences of."""
    runs, n = points.shape
    here = value(points)
    gradient, hessian, size = np.empty((runs, n)), np.empty((runs, n, n)), np.abs(here)

    def moved(*by: tuple[int, float]) -> Floats:
        nonlocal size
        there = points.copy()
        for axis, side in by:
            there[:, axis] += side * step[axis]
        found = value(there)
        size = np.maximum(size, np.abs(found))
        return found

    for i in range(n):
        up, down = moved((i, 1.0)), moved((i, -1.0))
        gradient[:, i] = 0.5 * (up - down)
        hessian[:, i, i] = up - 2.0 * here + down
        for j in range(i):
            mixed = (
                moved((i, 1.0), (j, 1.0))
                - moved((i, 1.0), (j, -1.0))
                - moved((i, -1.0), (j, 1.0))
                + moved((i, -1.0), (j, -1.0))
            )
            hessian[:, i, j] = hessian[:, j, i] = 0.25 * mixed
    return gradient, hessian, size
