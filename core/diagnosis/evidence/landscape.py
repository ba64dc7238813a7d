"""Facts that a spec tells about its function: gradients and curvature near a run's points, its
minimum.

Quadratics are known exactly; also an expression or a named function that turns out to be one. Other
functions of at most `MAX_DIM` variables are measured by central differences of their formula; they
are smooth enough there for the signs of eigenvalues, and `resolution` says how far to trust them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from core.diagnosis.evidence.curves import Floats
from core.specs.formulas.parser import parse
from core.specs.formulas.tree import fold, variables
from core.specs.formulas.values import OPERATIONS, minimum_value, value_at
from core.specs.functions import Expression, Function, Quadratic
from core.specs.job import FunctionProblem

Values = Callable[[Floats], Floats]
"""A function on (n × dim) points."""

MAX_DIM: Final = 16
_FAR: Final = 1e60
"""Squares and cubes of larger coordinates say nothing in float64."""
_EPS: Final = float(np.finfo(np.float64).eps)


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

    @property
    def floor(self) -> float | None:
        """The least value known, else the bottom of the bowl that the last point lies in."""
        if self.minimum is not None:
            return self.minimum
        bowl = self.eigenvalues is not None and bool(self.eigenvalues[0] > self.resolution)
        if bowl and self.decrement is not None and self.last_value is not None:
            return self.last_value - self.decrement
        return None

    def gradients(self, points: Floats) -> Floats | None:
        """Return the gradients at (n × dim) points, or None."""
        if self.form is not None and self.form.vectors is not None:
            return self.form.gradients(points)
        if self.values is None or points.shape[1] > MAX_DIM:
            return None
        return gradients(self.values, points)


def survey(problem: FunctionProblem, first: Floats, last: Floats) -> Landscape | None:
    """Look at the function of a run from `first` to `last`; None where they are beyond sense."""
    if not (np.abs(first).max() < _FAR and np.abs(last).max() < _FAR):
        return None
    if isinstance(problem.function, Quadratic):
        return _of_quadratic(quadratic_form(problem.function), last)
    values = values_of(problem.function)
    least = minimum_value(problem.function)
    if last.size > MAX_DIM:
        return Landscape(minimum=least)
    with np.errstate(all="ignore"):
        form = _recognize(values, first, last)
        if form is not None:
            return _of_quadratic(form, last, values)
        return _measure(values, least, first, last)


def values_of(function: Function) -> Values:
    """Return the function in NumPy; an expression is parsed once for all calls."""
    if not isinstance(function, Expression):
        return lambda points: np.asarray(value_at(function, points))
    expr = parse(function.expression)
    names = variables(expr)

    def values(points: Floats) -> Floats:
        named = {name: points[:, i] for i, name in enumerate(names)}
        value: Any = fold(expr, np.asarray, named, OPERATIONS)
        return np.asarray(np.broadcast_to(value, points.shape[:1]), dtype=np.float64)

    return values


def quadratic_form(function: Quadratic) -> QuadraticForm:
    """Return the quadratic form of the spec's own matrix. A drawn rotation is not repeated here:
    eigenvalues only."""
    linear = None if function.linear is None else np.array(function.linear)
    if function.matrix is not None:
        eigenvalues, vectors = np.linalg.eigh(np.array(function.matrix))
        return _form(eigenvalues, vectors, linear, function.constant)
    assert function.eigenvalues is not None
    given = np.array(function.eigenvalues, dtype=np.float64)
    order = np.argsort(given)
    if function.rotation_seed is not None or given.size > 512:
        known = linear is None and bool(given.min() > 0)
        return QuadraticForm(given[order], None, linear, None, function.constant if known else None)
    return _form(given[order], np.eye(given.size)[:, order], linear, function.constant)


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


def _around(first: Floats, last: Floats, count: int) -> Floats:
    """Draw fixed pseudo-random points in a box around the first and the last point."""
    scale = max(1.0, float(np.abs(first).max()), float(np.abs(last).max()))
    draws = np.random.Generator(np.random.PCG64(20)).random((count, first.size))
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
    if not np.abs(model - truth).max() <= 1e-11 * size:
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


def gradients(values: Values, points: Floats) -> Floats:
    """Compute gradients by central differences at (n × dim) points, width ε^⅓ of each coordinate's
    size."""
    count, dim = points.shape
    with np.errstate(all="ignore"):
        width = _EPS ** (1 / 3) * np.maximum(1.0, np.abs(points))
        steps = width[:, :, None] * np.eye(dim)
        both = np.concatenate([points[:, None, :] + steps, points[:, None, :] - steps], axis=1)
        found = values(both.reshape(-1, dim)).reshape(count, 2, dim)
        return np.asarray((found[:, 0] - found[:, 1]) / (2.0 * width), dtype=np.float64)


def _measure(values: Values, least: float | None, first: Floats, last: Floats) -> Landscape:
    width = _EPS**0.25 * np.maximum(1.0, np.abs(last))
    value, _, hessian, top = _differences(values, last, width)
    gradient = gradients(values, last[None, :])[0]
    start = _differences(values, first, _EPS**0.25 * np.maximum(1.0, np.abs(first)))[2]
    eigenvalues = vectors = None
    largest: list[float] = []
    at_first: float | None = None
    if np.isfinite(hessian).all():
        eigenvalues, vectors = np.linalg.eigh(hessian)
        largest.append(float(eigenvalues[-1]))
    if np.isfinite(start).all():
        largest.append(float(np.linalg.eigvalsh(start)[-1]))
        at_first = largest[-1] if largest[-1] > 0 else None
    most = max(largest, default=0.0)
    typical, spread, steepest = _surroundings(values, value, _around(first, last, 16))
    return Landscape(
        values=values,
        minimum=least,
        eigenvalues=eigenvalues,
        vectors=vectors,
        resolution=8.0 * last.size * _EPS * top / float(width.min()) ** 2,
        gradient=gradient,
        decrement=None if eigenvalues is None else _decrement(gradient, eigenvalues, vectors),
        drop=_drop(values, value, last),
        largest=most if most > 0 else None,
        largest_at_first=at_first,
        typical_gradient=typical,
        spread=spread,
        steepest=steepest,
        last_value=value,
    )


def _surroundings(
    values: Values, value: float, points: Floats
) -> tuple[float | None, float | None, float | None]:
    """Return the usual gradient norm, the usual difference in value, and the steepest change of the
    gradient."""
    slopes = gradients(values, points)
    known = np.isfinite(slopes).all(axis=1)
    points, slopes = points[known], slopes[known]
    if len(points) < 4:
        return None, None, None
    norms = np.sqrt(np.einsum("ij,ij->i", slopes, slopes))
    spread = float(np.median(np.abs(values(points) - value)))
    i, j = np.triu_indices(len(points), 1)
    change = ((slopes[i] - slopes[j]) ** 2).sum(axis=1) / ((points[i] - points[j]) ** 2).sum(axis=1)
    return float(np.quantile(norms, 0.9)), spread, float(np.sqrt(change.max()))


def _drop(values: Values, value: float, last: Floats) -> float:
    """Return how far below `value` the function lies on spheres of 1 % and 0.1 % of the scale."""
    draws = np.random.Generator(np.random.PCG64(21)).standard_normal((32, last.size))
    draws /= np.sqrt(np.einsum("ij,ij->i", draws, draws))[:, None]
    scale = max(1.0, float(np.abs(last).max()))
    ring = values(np.concatenate([last + 1e-2 * scale * draws, last + 1e-3 * scale * draws]))
    ring = ring[np.isfinite(ring)]
    lower = value - float(ring.min()) if ring.size else 0.0
    return max(0.0, lower - 16 * _EPS * abs(value))
