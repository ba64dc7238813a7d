"""Search for other minima of a function of few variables: many starts, each followed down by Newton
steps.

NumPy only. Steps are of a modified Newton method (the Hessian's eigenvalues by their absolute
value: Nocedal and Wright 2006, section 3.4; Dauphin et al. 2014) in units of each coordinate's
scale, with halving until the value falls; derivatives are exact, and central differences of a
formula with kinks.
"""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from core.diagnosis.evidence.box import Box, box_of
from core.diagnosis.evidence.curves import Floats
from core.diagnosis.evidence.formula import Formula, Values, scales, values_of
from core.specs.formulas.values import domain
from core.specs.job import FunctionProblem

MOST_DIM: Final = 8
STARTS: Final = 96
_MORE: Final = 384
"""Starts in up to three variables."""
_NEAR_START: Final = 32
_ROUNDS: Final = 60
_SEED: Final = 23
_EPS: Final = float(np.finfo(np.float64).eps)


class Minima(NamedTuple):
    """Attributes:
    starts: how many points were followed down.
    arrived: how many of them came to rest.
    distinct: different minima among them.
    best: the lowest value at rest; NaN if none arrived.
    at: where, or None.
    """

    starts: int
    arrived: int
    distinct: int
    best: float
    at: Floats | None


def minima(
    problem: FunctionProblem,
    first: Floats,
    last: Floats,
    in_time: Callable[[], bool],
    sign: float = 1.0,
) -> Minima | None:
    """Find minima of the function times `sign`, within the bounds, the customary domain, or a box
    around the run; None for more than eight variables."""
    dim = last.size
    if dim > MOST_DIM or not np.isfinite(last).all():
        return None
    values = values_of(problem.function, sign)
    scale = scales(values, first if np.isfinite(first).all() else last, last)
    low, high = _box(problem, first, last, scale)
    units = scale / scale.max()
    starts = _MORE if dim <= 3 else STARTS
    draws = np.random.Generator(np.random.PCG64(_SEED)).random((starts, dim))
    points = low + draws * (high - low)
    # Every second one near the run's end: neighbouring minima are the likely better ones.
    points[::2] = np.clip(last + 0.2 * (draws[::2] - 0.5) * (high - low), low, high)
    if np.isfinite(first).all():  # where the run began it was on some way down
        near = first + scales(values, first, first) * (draws[:_NEAR_START] - 0.5)
        points = np.concatenate([points, np.clip(near, low, high)])
    with np.errstate(all="ignore"):
        box = box_of(problem)
        points, level = _descend(values, points, (high - low), units, box, in_time)
        slopes = values.gradients(points, box)
        if box is not None:
            slopes = box.projected(points, slopes)
    usual = float(np.nanmedian(np.abs(level))) + 1.0
    slopes = slopes * units
    size = np.sqrt(np.einsum("ij,ij->i", slopes, slopes))
    margin = 0.5 * (high - low)
    inside = ((points > low - margin) & (points < high + margin)).all(axis=1)
    rest = inside & np.isfinite(level) & (size <= 1e-5 * usual)
    if not rest.any():
        return Minima(len(rest), 0, 0, math.nan, None)
    points, level = points[rest], level[rest]
    order = np.argsort(level)
    apart = 1e-3 * float(((high - low) / units).max())
    kept: list[Floats] = []
    for index in order:
        if all(float((np.abs(points[index] - other) / units).max()) > apart for other in kept):
            kept.append(points[index])
    return Minima(len(rest), int(rest.sum()), len(kept), float(level[order[0]]), points[order[0]])


def _box(
    problem: FunctionProblem, first: Floats, last: Floats, scale: Floats
) -> tuple[Floats, Floats]:
    dim = last.size
    limits = problem.bounds or domain(problem.function)
    if limits is not None:
        pairs = np.broadcast_to(np.array(limits, dtype=np.float64), (dim, 2))
        return pairs[:, 0].copy(), pairs[:, 1].copy()
    both = np.stack([first, last]) if np.isfinite(first).all() else last[None, :]
    return both.min(axis=0) - 2.0 * scale, both.max(axis=0) + 2.0 * scale


def _descend(
    values: Formula,
    points: Floats,
    extent: Floats,
    units: Floats,
    box: Box | None,
    in_time: Callable[[], bool],
) -> tuple[Floats, Floats]:
    """Return where the points come to, and the values there. Lengths are in `units`."""
    level = values(points)
    radius = np.full(len(points), 0.1 * float((extent / units).max()))
    for _ in range(_ROUNDS):
        if not in_time():
            break
        slope, hessian = _derivatives(values, points)
        if box is not None:
            # What a bound holds does not move, and has no part in the others' steps.
            slope = box.projected(points, values.gradients(points, box))
            held = slope == 0.0
            hessian[held[:, :, None] | held[:, None, :]] = 0.0
        bad = ~(np.isfinite(hessian).all(axis=(1, 2)) & np.isfinite(slope).all(axis=1))
        hessian[bad], slope[bad] = np.eye(points.shape[1]), 0.0
        slope, hessian = slope * units, hessian * np.outer(units, units)
        eigenvalues, vectors = np.linalg.eigh(hessian)
        size = np.abs(eigenvalues)
        size = np.maximum(size, 1e-8 * size.max(axis=1, keepdims=True) + 1e-300)
        along = np.einsum("nji,nj->ni", vectors, slope) / size
        step = -np.einsum("nij,nj->ni", vectors, along)
        length = np.sqrt(np.einsum("ij,ij->i", step, step))
        step *= np.minimum(1.0, radius / np.maximum(length, 1e-300))[:, None]
        trial = points + step * units
        if box is not None:
            trial = box.clip(trial)
        found = values(trial)
        better = found < level
        points = np.where(better[:, None], trial, points)
        level = np.where(better, found, level)
        radius = np.where(better, 2.0 * radius, 0.25 * np.minimum(radius, length))
        if not (better & (length > 1e-10)).any():
            break
    return points, level


def _derivatives(values: Formula, points: Floats) -> tuple[Floats, Floats]:
    """Return the gradients (n × dim) and Hessians (n × dim × dim)."""
    slopes = values.gradients(points)
    if values.smooth:
        return slopes, values.hessians(points)
    return slopes, _second_differences(values, points)


def _second_differences(values: Values, points: Floats) -> Floats:
    """Return Hessians (n × dim × dim) by central differences, all at once: where the slope jumps,
    they see it."""
    count, dim = points.shape
    width = _EPS**0.25 * np.maximum(1.0, np.abs(points))
    step = width[:, :, None] * np.eye(dim)
    i, j = np.triu_indices(dim, 1)
    moves = np.concatenate(
        [np.zeros((count, 1, dim)), step, -step]
        + [a * step[:, i] + b * step[:, j] for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))],
        axis=1,
    )
    found = values((points[:, None, :] + moves).reshape(-1, dim)).reshape(count, -1)
    centre, plus, minus = found[:, :1], found[:, 1 : dim + 1], found[:, dim + 1 : 2 * dim + 1]
    hessian = np.zeros((count, dim, dim))
    diagonal = np.arange(dim)
    hessian[:, diagonal, diagonal] = (plus - 2.0 * centre + minus) / width**2
    pp, pm, mp, mm = np.split(found[:, 2 * dim + 1 :], 4, axis=1)
    cross = (pp - pm - mp + mm) / (4.0 * width[:, i] * width[:, j])
    hessian[:, i, j] = hessian[:, j, i] = cross
    return hessian
