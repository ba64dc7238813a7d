"""Facts that a spec tells about its function: gradients and curvature near a run's points, its
minimum.

Quadratics are known exactly; also an expression or a named function that turns out to be one. Other
functions of at most `MAX_DIM` variables are measured by central differences of their formula;
`resolution` says how far to trust the signs of eigenvalues, and curvature that two widths of the
differences do not agree on (a kink) is not told. Within bounds everything is that of the
coordinates that are free to move.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from core.diagnosis.evidence.box import Box, box_of
from core.diagnosis.evidence.curves import Floats
from core.specs.formulas.classic import CLASSICS
from core.specs.formulas.parser import parse
from core.specs.formulas.tree import fold, variables
from core.specs.formulas.values import OPERATIONS, minimum_value, value_at
from core.specs.functions import Expression, Function, Quadratic
from core.specs.job import FunctionProblem

Values = Callable[[Floats], Floats]
"""A function on (n × dim) points."""

MAX_DIM: Final = 16
_MANY: Final = 256
_FAR: Final = 1e60
"""Squares and cubes of larger coordinates say nothing in float64."""
_EPS: Final = float(np.finfo(np.float64).eps)
_KINK: Final = 1e-3
"""A jump of the slope by this share of the usual slope is a kink: of a smooth function, slopes at
a ten-thousandth of the scale differ by 1e-8 of it and less."""


@dataclass(frozen=True)
class QuadraticForm:
    """½(x−m)ᵀA(x−m) + least: A = vectors·diag(eigenvalues)·vectorsᵀ, eigenvalues ascending.

    `vectors` is None when only the eigenvalues are known (a drawn rotation); `centre` and `least`
    are None when there is no minimum.
    """

    eigenvalues: Floats
    vectors: Floats | None
    linear: Floats | None
    centre: Floats | None
    least: float | None

    def gradients(self, points: Floats) -> Floats | None:
        if self.vectors is None:
            return None
        slope = (points @ self.vectors) * self.eigenvalues @ self.vectors.T
        return slope if self.linear is None else slope + self.linear

    def components(self, point: Floats) -> Floats | None:
        """Return the distances from the minimum along the eigenvectors."""
        if self.vectors is None or self.centre is None:
            return None
        return np.asarray((point - self.centre) @ self.vectors, dtype=np.float64)


@dataclass(frozen=True)
class Landscape:
    """A function around the last point of a run.

    Attributes:
        values: the function on (n × dim) points, or None.
        form: set when the function is quadratic.
        minimum: the function's least value where it is known.
        eigenvalues: of the Hessian at the last point, ascending; None when unknown.
        vectors: its eigenvectors (columns), or None.
        resolution: eigenvalues smaller than this in size cannot be told from 0.
        gradient: at the last point, or None.
        decrement: ½·Σ gᵢ²/|λᵢ|: what a Newton step would take off the loss there.
        drop: how far below the last value the function lies within a hundredth of the scale.
        largest: the largest curvature at the first and the last point.
        largest_at_first: the largest curvature at the first point.
        typical_gradient: the 90th percentile of the gradient norms at points drawn around.
        spread: the median difference of the values there from the last value.
        steepest: the largest change of the gradient over distance between those points, a lower
            bound of its Lipschitz constant.
        last_value: the function at the last point, by its formula.
        kinked: whether the curvature at the last point depends on how closely it is looked at.
        box: the bounds; `gradient`, `eigenvalues` and `decrement` are then those of the free
            coordinates (0 for those that a bound holds).
        bottom: the bottom of the bowl that the free coordinates lie in, within bounds.
        lowest_around: the lowest value at the points drawn around.
    """

    values: Values | None = None
    form: QuadraticForm | None = None
    minimum: float | None = None
    eigenvalues: Floats | None = None
    vectors: Floats | None = None
    resolution: float = 0.0
    gradient: Floats | None = None
    decrement: float | None = None
    drop: float = 0.0
    largest: float | None = None
    largest_at_first: float | None = None
    typical_gradient: float | None = None
    spread: float | None = None
    steepest: float | None = None
    last_value: float | None = None
    kinked: bool = False
    box: Box | None = None
    bottom: float | None = None
    lowest_around: float | None = None

    @property
    def floor(self) -> float | None:
        """The least value known, else the bottom of the bowl that the last point lies in."""
        if self.minimum is not None:
            return self.minimum
        if self.box is not None:
            return self.bottom
        bowl = self.eigenvalues is not None and bool(self.eigenvalues[0] > self.resolution)
        if bowl and self.decrement is not None and self.last_value is not None:
            return self.last_value - self.decrement
        return None

    @property
    def flat(self) -> bool:
        """True when neither slope nor curvature can be told from 0 at the last point."""
        if self.eigenvalues is None or self.gradient is None or np.any(self.gradient):
            return False
        return bool((np.abs(self.eigenvalues) <= self.resolution).all())

    def gradients(self, points: Floats) -> Floats | None:
        """Gradients at (n × dim) points (projected, within bounds), or None."""
        if self.form is not None and self.form.vectors is not None:
            found = self.form.gradients(points)
        elif self.values is None or points.shape[1] > MAX_DIM:
            return None
        else:
            found = gradients(self.values, points, self.box)
        return found if self.box is None or found is None else self.box.projected(points, found)


def survey(
    problem: FunctionProblem, first: Floats, last: Floats, sign: float = 1.0
) -> Landscape | None:
    """Look at the function of a run from `first` to `last`; None where they are beyond sense.

    `sign`: of what is minimized; the negative of the function where it is maximized.
    """
    if not (np.abs(first).max() < _FAR and np.abs(last).max() < _FAR):
        return None
    box = box_of(problem)
    if isinstance(problem.function, Quadratic):
        return _within(_of_quadratic(quadratic_form(problem.function, sign), last), box, last)
    values = values_of(problem.function, sign)
    least = minimum_value(problem.function) if sign > 0 else None
    if box is not None and not _minimum_within(problem.function, box, last.size):
        least = None
    if last.size > MAX_DIM:
        return _of_many(problem, least, box, last, sign)
    with np.errstate(all="ignore"):
        form = _recognize(values, first, last)
        if form is not None:
            return _within(_of_quadratic(form, last, values), box, last)
        return _within(_measure(values, least, first, last, box), box, last)


def _of_many(
    problem: FunctionProblem, least: float | None, box: Box | None, last: Floats, sign: float
) -> Landscape:
    """Return what is known of many variables: the minimum alone, and whether the point is a corner
    that bounds hold."""
    slope = None if box is None else slopes_of(problem, sign)(last[None, :])
    if box is None or slope is None or not box.holds(last, slope[0]).all():
        return Landscape(minimum=least, box=box)
    flat, axes = np.zeros(last.size), np.eye(last.size)
    return Landscape(
        minimum=least, box=box, gradient=flat, decrement=0.0, eigenvalues=flat, vectors=axes
    )


def _minimum_within(function: Function, box: Box, dim: int) -> bool:
    """Tell whether a published minimizer lies within the bounds."""
    if function.kind not in CLASSICS:
        return False
    return any(box.contains(np.array(each)) for each in CLASSICS[function.kind].minimizers(dim))


def _within(land: Landscape, box: Box | None, last: Floats) -> Landscape:
    """Return the same of the coordinates that no bound holds at the last point (Nocedal and Wright
    2006, section 16.7: the projected gradient and the reduced Hessian)."""
    if box is None:
        return land
    minimum, form = land.minimum, land.form
    if form is not None and (form.centre is None or not box.contains(form.centre)):
        minimum = None
    if land.gradient is None or land.eigenvalues is None or land.vectors is None:
        gradient = None if land.gradient is None else box.projected(last, land.gradient)
        return replace(land, box=box, minimum=minimum, gradient=gradient)
    held = box.holds(last, land.gradient)
    hessian = (land.vectors * land.eigenvalues) @ land.vectors.T
    hessian[held] = 0.0
    hessian[:, held] = 0.0
    gradient = np.where(held, 0.0, land.gradient)
    eigenvalues, vectors = np.linalg.eigh(hessian)
    decrement = _decrement(gradient, eigenvalues, vectors)
    value = land.last_value
    if value is None and land.values is not None:
        value = float(land.values(last[None, :])[0])
    free = np.linalg.eigvalsh(hessian[np.ix_(~held, ~held)])
    bowl = value is not None and decrement is not None and bool((free > land.resolution).all())
    return replace(
        land,
        box=box,
        minimum=minimum,
        gradient=gradient,
        eigenvalues=eigenvalues,
        vectors=vectors,
        decrement=decrement,
        bottom=value - decrement if bowl and value is not None and decrement is not None else None,
    )


def slopes_of(problem: FunctionProblem, sign: float = 1.0) -> Callable[[Floats], Floats | None]:
    """Return the gradients at (n × dim) points of the function times `sign`; None where they are
    not to be had."""
    function, box = problem.function, box_of(problem)
    if isinstance(function, Quadratic):
        return quadratic_form(function, sign).gradients
    values = values_of(function, sign)
    return lambda points: None if points.shape[1] > _MANY else gradients(values, points, box)


def values_of(function: Function, sign: float = 1.0) -> Values:
    """Return the function times `sign` in NumPy; an expression is parsed once for all calls."""
    if not isinstance(function, Expression):
        return lambda points: sign * np.asarray(value_at(function, points))
    expr = parse(function.expression)
    names = variables(expr)

    def values(points: Floats) -> Floats:
        named = {name: points[:, i] for i, name in enumerate(names)}
        value: Any = fold(expr, np.asarray, named, OPERATIONS)
        return sign * np.asarray(np.broadcast_to(value, points.shape[:1]), dtype=np.float64)

    return values


def quadratic_form(function: Quadratic, sign: float = 1.0) -> QuadraticForm:
    """Return the quadratic form of the spec's own matrix times `sign`. A drawn rotation is not
    repeated here: eigenvalues only."""
    linear = None if function.linear is None else sign * np.array(function.linear)
    constant = sign * function.constant
    if function.matrix is not None:
        eigenvalues, vectors = np.linalg.eigh(sign * np.array(function.matrix))
        return _form(eigenvalues, vectors, linear, constant)
    assert function.eigenvalues is not None
    given = sign * np.array(function.eigenvalues, dtype=np.float64)
    order = np.argsort(given)
    if function.rotation_seed is not None or given.size > 512:
        known = linear is None and bool(given.min() > 0)
        return QuadraticForm(given[order], None, linear, None, constant if known else None)
    return _form(given[order], np.eye(given.size)[:, order], linear, constant)


def _form(
    eigenvalues: Floats, vectors: Floats, linear: Floats | None, constant: float
) -> QuadraticForm:
    """Complete the square; no minimum with a negative eigenvalue, or a slope along a zero one."""
    slope = np.zeros(eigenvalues.size) if linear is None else linear @ vectors
    flat = np.abs(eigenvalues) <= _EPS * eigenvalues.size * np.abs(eigenvalues).max(initial=0.0)
    sloping = flat & (np.abs(slope) > _EPS * np.abs(slope).max(initial=0.0))
    curved = np.where(flat, 1.0, eigenvalues)
    along = np.where(flat, 0.0, -slope / curved)
    bowl = bool((eigenvalues >= 0)[~flat].all()) and not sloping.any()
    least = constant - 0.5 * float((eigenvalues * along) @ along) if bowl else None
    centre = None if sloping.any() else vectors @ along
    return QuadraticForm(eigenvalues, vectors, linear, centre, least)


def _of_quadratic(form: QuadraticForm, last: Floats, values: Values | None = None) -> Landscape:
    eigenvalues = form.eigenvalues
    size = float(np.abs(eigenvalues).max())
    at = form.gradients(last[None, :])
    gradient = None if at is None else at[0]
    return Landscape(
        values=values,
        form=form,
        minimum=form.least,
        eigenvalues=eigenvalues,
        vectors=form.vectors,
        resolution=_EPS * eigenvalues.size * size,
        gradient=gradient,
        decrement=_decrement(gradient, eigenvalues, form.vectors),
        largest=float(eigenvalues[-1]) if eigenvalues[-1] > 0 else None,
        largest_at_first=float(eigenvalues[-1]) if eigenvalues[-1] > 0 else None,
    )


def _decrement(
    gradient: Floats | None, eigenvalues: Floats, vectors: Floats | None
) -> float | None:
    if gradient is None or vectors is None:
        return None
    size = np.maximum(np.abs(eigenvalues), 1e-12 * np.abs(eigenvalues).max() + 1e-300)
    return 0.5 * float((((gradient @ vectors) ** 2) / size).sum())


def _around(first: Floats, last: Floats, count: int, box: Box | None = None) -> Floats:
    """Return fixed pseudo-random points in a box around the first and the last point."""
    scale = max(1.0, float(np.abs(first).max()), float(np.abs(last).max()))
    draws = np.random.Generator(np.random.PCG64(20)).random((count, first.size))
    if box is not None:
        low, high = (
            np.maximum(box.low, last - 2.0 * scale),
            np.minimum(box.high, last + 2.0 * scale),
        )
        return np.asarray(low + draws * (high - low))
    return np.asarray(last + scale * (4.0 * draws - 2.0))


def _recognize(values: Values, first: Floats, last: Floats) -> QuadraticForm | None:
    """Return the quadratic form of a function that is one.

    Central differences of a quadratic are exact for any width, so a wide one gives A, b and c, and
    24 other points must then agree to rounding.
    """
    width = 0.5 * max(1.0, float(np.abs(first).max()))
    origin = np.zeros((1, first.size))
    centre, slope, hessian, top = _differences(values, origin[0], np.full(first.size, width))
    if not np.isfinite(hessian).all():
        return None
    points = np.concatenate([first[None, :], last[None, :], _around(first, last, 24)])
    model = centre + points @ slope + 0.5 * np.einsum("ni,ij,nj->n", points, hessian, points)
    truth = values(points)
    size = max(top, float(np.abs(truth).max()))
    if not (np.isfinite(size) and np.abs(model - truth).max() <= 1e-11 * size):
        return None
    # Rounding of the differences, not curvature, below this.
    hessian[np.abs(hessian) < 64 * _EPS * top / width**2] = 0.0
    slope[np.abs(slope) < 64 * _EPS * top / width] = 0.0
    eigenvalues, vectors = np.linalg.eigh(hessian)
    return _form(eigenvalues, vectors, slope, centre)


def _differences(
    values: Values, point: Floats, width: Floats
) -> tuple[float, Floats, Floats, float]:
    """Compute value, gradient and Hessian by central differences, and the largest value met."""
    dim = point.size
    step = np.diag(width)
    i, j = np.triu_indices(dim, 1)
    cross = [step[i] + step[j], step[i] - step[j], step[j] - step[i], -step[i] - step[j]]
    found = values(point + np.concatenate([np.zeros((1, dim)), step, -step, *cross]))
    centre, plus, minus = found[0], found[1 : dim + 1], found[dim + 1 : 2 * dim + 1]
    pp, pm, mp, mm = found[2 * dim + 1 :].reshape(4, i.size)
    hessian = np.diag((plus - 2.0 * centre + minus) / width**2)
    hessian[i, j] = hessian[j, i] = (pp - pm - mp + mm) / (4.0 * width[i] * width[j])
    return float(centre), (plus - minus) / (2.0 * width), hessian, float(np.abs(found).max())


def gradients(values: Values, points: Floats, box: Box | None = None) -> Floats:
    """Central differences at (n × dim) points, width ε^⅓ of each coordinate's size; one-sided at
    a bound, beyond which the function need not be defined."""
    count, dim = points.shape
    with np.errstate(all="ignore"):
        width = _EPS ** (1 / 3) * np.maximum(1.0, np.abs(points))
        steps = width[:, :, None] * np.eye(dim)
        both = np.concatenate([points[:, None, :] + steps, points[:, None, :] - steps], axis=1)
        if box is not None:
            both = box.clip(both)
            width = 0.5 * np.einsum("nii->ni", both[:, :dim] - both[:, dim:])
        found = values(both.reshape(-1, dim)).reshape(count, 2, dim)
        slopes = (found[:, 0] - found[:, 1]) / (2.0 * width)
        return np.asarray(np.where(width > 0, slopes, 0.0), dtype=np.float64)


def _curvature(
    values: Values, at: Floats, usual: float, box: Box | None
) -> tuple[Floats | None, float]:
    """Return the Hessian by central differences, None where two widths do not agree on it (at a
    kink the slope jumps, and a difference over half the width doubles), and its resolution.

    Args:
        usual: the usual size of the slope around.
    """
    width = _EPS**0.25 * np.maximum(1.0, np.abs(at))
    if box is not None:
        width = np.clip(width, 1e-8, np.maximum(1e-8, 0.25 * (box.high - box.low)))
        at = np.clip(at, box.low + 2.0 * width, np.maximum(box.low, box.high - 2.0 * width))
    _, slope, wide, top = _differences(values, at, width)
    close = _differences(values, at, width / 4.0)[2]
    resolution = 8.0 * at.size * _EPS * top / float(width.min()) ** 2
    if not np.isfinite(wide).all():
        return None, resolution
    change = np.abs(wide - close).max() if np.isfinite(close).all() else np.inf
    size = max(usual, float(np.sqrt(slope @ slope)))
    jump = change * float(width.max())
    agree = change <= 64.0 * resolution or jump <= _KINK * size
    return wide if agree else None, resolution


def _measure(
    values: Values, least: float | None, first: Floats, last: Floats, box: Box | None = None
) -> Landscape:
    value = float(values(last[None, :])[0])
    gradient = gradients(values, last[None, :], box)[0]
    around = _around(first, last, 16, box)
    typical, spread, steepest = _surroundings(values, value, around, box)
    hessian, resolution = _curvature(values, last, typical or 0.0, box)
    start, _ = _curvature(values, first, typical or 0.0, box)
    eigenvalues = vectors = None
    largest: list[float] = []
    at_first: float | None = None
    if hessian is not None:
        eigenvalues, vectors = np.linalg.eigh(hessian)
        largest.append(float(eigenvalues[-1]))
    if start is not None:
        largest.append(float(np.linalg.eigvalsh(start)[-1]))
        at_first = largest[-1] if largest[-1] > 0 else None
    most = max(largest, default=0.0)
    found = values(around)
    found = found[np.isfinite(found)]
    return Landscape(
        values=values,
        minimum=least,
        eigenvalues=eigenvalues,
        vectors=vectors,
        resolution=resolution,
        gradient=gradient,
        decrement=None if eigenvalues is None else _decrement(gradient, eigenvalues, vectors),
        drop=_drop(values, value, last, box),
        largest=most if most > 0 else None,
        largest_at_first=at_first,
        typical_gradient=typical,
        spread=spread,
        steepest=steepest,
        last_value=value,
        kinked=hessian is None,
        lowest_around=float(found.min()) if found.size else None,
    )


def _surroundings(
    values: Values, value: float, points: Floats, box: Box | None
) -> tuple[float | None, float | None, float | None]:
    """Usual gradient norm, usual difference in value, steepest change of the gradient."""
    slopes = gradients(values, points, box)
    known = np.isfinite(slopes).all(axis=1)
    points, slopes = points[known], slopes[known]
    if len(points) < 4:
        return None, None, None
    norms = np.sqrt(np.einsum("ij,ij->i", slopes, slopes))
    spread = float(np.median(np.abs(values(points) - value)))
    i, j = np.triu_indices(len(points), 1)
    change = ((slopes[i] - slopes[j]) ** 2).sum(axis=1) / ((points[i] - points[j]) ** 2).sum(axis=1)
    return float(np.quantile(norms, 0.9)), spread, float(np.sqrt(change.max()))


def _drop(values: Values, value: float, last: Floats, box: Box | None) -> float:
    """Return how far below `value` the function lies on spheres of 1 % and 0.1 % of the scale:
    along the axes, and in 32 directions drawn."""
    draws = np.random.Generator(np.random.PCG64(21)).standard_normal((32, last.size))
    draws = np.concatenate([draws, np.eye(last.size), -np.eye(last.size)])
    draws /= np.sqrt(np.einsum("ij,ij->i", draws, draws))[:, None]
    scale = max(1.0, float(np.abs(last).max()))
    points = np.concatenate([last + 1e-2 * scale * draws, last + 1e-3 * scale * draws])
    ring = values(points if box is None else box.clip(points))
    ring = ring[np.isfinite(ring)]
    lower = value - float(ring.min()) if ring.size else 0.0
    return max(0.0, lower - 16 * _EPS * abs(value))
