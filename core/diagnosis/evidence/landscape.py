"""Facts that a spec tells about its function: gradients and curvature near a run's points, its
minimum.

Quadratics are known exactly; also an expression or a named function that turns out to be one. Other
functions of at most `MAX_DIM` variables are measured by the exact derivatives of their formula;
`resolution` says how far to trust the signs of eigenvalues, and no curvature is told at a kink.
Signs and gains are judged in units of each coordinate's scale, on which they do not depend
(Sylvester's law of inertia). Within bounds everything is that of the coordinates that are free to
move.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np

from core.diagnosis.evidence.box import Box, box_of
from core.diagnosis.evidence.curves import Floats
from core.diagnosis.evidence.formula import (
    Formula,
    Values,
    curvature,
    scales,
    second_differences,
    values_of,
)
from core.diagnosis.evidence.quadratic import QuadraticForm, complete_square, quadratic_form
from core.specs.formulas.classic import CLASSICS
from core.specs.formulas.values import minimum_value
from core.specs.functions import Function, Quadratic
from core.specs.job import FunctionProblem

MAX_DIM: Final = 16
_MANY: Final = 256
_FAR: Final = 1e60
"""Squares and cubes of larger coordinates say nothing in float64."""
_EPS: Final = float(np.finfo(np.float64).eps)


class Scaled(NamedTuple):
    """The Hessian's smallest and largest (in size) eigenvalue in units of the coordinates' scales,
    and the size from which on they can be told from 0."""

    least: float
    most: float
    resolution: float


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
        shift: how far off a minimum in reach is (the longest part of a Newton step), in units of
            the scales; None where none is known to be.
        scale: of each coordinate; None for quadratics.
        hessian, rounding: of a measured function: the Hessian, and the rounding of each entry.
        scaled: extreme eigenvalues in units of the scales, of a measured function.
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

    values: Formula | None = None
    form: QuadraticForm | None = None
    minimum: float | None = None
    eigenvalues: Floats | None = None
    vectors: Floats | None = None
    resolution: float = 0.0
    gradient: Floats | None = None
    decrement: float | None = None
    shift: float | None = None
    scale: Floats | None = None
    hessian: Floats | None = None
    rounding: Floats | None = None
    scaled: Scaled | None = None
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
        bowl = bowl or (self.scaled is not None and self.scaled.least > self.scaled.resolution)
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
            found = self.values.gradients(points, self.box)
        return found if self.box is None or found is None else self.box.projected(points, found)


def in_reach(point: Floats) -> bool:
    """Tell whether a point is near enough for float64 to say something of a function there."""
    return bool(np.abs(point).max() < _FAR)


def survey(
    problem: FunctionProblem, first: Floats, last: Floats, sign: float = 1.0
) -> Landscape | None:
    """Look at the function of a run from `first` to `last`; None where they are beyond sense.

    `sign`: of what is minimized; the negative of the function where it is maximized.
    """
    if not (in_reach(first) and in_reach(last)):
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
    vectors, eigenvalues = land.vectors, land.eigenvalues
    if land.gradient is None or eigenvalues is None or vectors is None:
        gradient = None if land.gradient is None else box.projected(last, land.gradient)
        return replace(land, box=box, minimum=minimum, gradient=gradient)
    held = box.holds(last, land.gradient)
    gradient = np.where(held, 0.0, land.gradient)
    if land.hessian is not None and land.rounding is not None and land.scale is not None:
        hessian, rounding = land.hessian.copy(), land.rounding.copy()
        for each in (hessian, rounding):
            each[held] = 0.0
            each[:, held] = 0.0
        land = replace(land, **_spectrum(hessian, rounding, gradient, land.scale))
    else:
        hessian = (vectors * eigenvalues) @ vectors.T
        hessian[held] = 0.0
        hessian[:, held] = 0.0
        eigenvalues, vectors = np.linalg.eigh(hessian)
        decrement = _decrement(gradient, eigenvalues, vectors)
        land = replace(land, eigenvalues=eigenvalues, vectors=vectors, decrement=decrement)
    decrement, value = land.decrement, land.last_value
    if value is None and land.values is not None:
        value = float(land.values(last[None, :])[0])
    free = np.linalg.eigvalsh(hessian[np.ix_(~held, ~held)])
    bowl = value is not None and decrement is not None and bool((free > land.resolution).all())
    return replace(
        land,
        box=box,
        minimum=minimum,
        gradient=gradient,
        bottom=value - decrement if bowl and value is not None and decrement is not None else None,
    )


def slopes_of(problem: FunctionProblem, sign: float = 1.0) -> Callable[[Floats], Floats | None]:
    """Return the gradients at (n × dim) points of the function times `sign`; None where they are
    not to be had."""
    function, box = problem.function, box_of(problem)
    if isinstance(function, Quadratic):
        return quadratic_form(function, sign).gradients
    values = values_of(function, sign)
    return lambda points: None if points.shape[1] > _MANY else values.gradients(points, box)


def _of_quadratic(form: QuadraticForm, last: Floats, values: Formula | None = None) -> Landscape:
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
        shift=_off_centre(form, last),
        largest=float(eigenvalues[-1]) if eigenvalues[-1] > 0 else None,
        largest_at_first=float(eigenvalues[-1]) if eigenvalues[-1] > 0 else None,
    )


def _off_centre(form: QuadraticForm, last: Floats) -> float | None:
    """Return the longest part of the way to the minimum, over the larger of 1 and its size."""
    if form.centre is None or form.least is None:
        return None
    return float((np.abs(last - form.centre) / max(1.0, np.abs(form.centre).max())).max())


def _decrement(
    gradient: Floats | None, eigenvalues: Floats, vectors: Floats | None
) -> float | None:
    if gradient is None or vectors is None:
        return None
    size = np.maximum(np.abs(eigenvalues), 1e-12 * np.abs(eigenvalues).max() + 1e-300)
    return 0.5 * float((((gradient @ vectors) ** 2) / size).sum())


def _around(first: Floats, last: Floats, count: int, box: Box | None, scale: Floats) -> Floats:
    """Return fixed pseudo-random points in a box around the first and the last point."""
    draws = np.random.Generator(np.random.PCG64(20)).random((count, first.size))
    if box is not None:
        low, high = (
            np.maximum(box.low, last - 2.0 * scale),
            np.minimum(box.high, last + 2.0 * scale),
        )
        return np.asarray(low + draws * (high - low))
    return np.asarray(last + scale * (4.0 * draws - 2.0))


def _recognize(values: Formula, first: Floats, last: Floats) -> QuadraticForm | None:
    """Return the quadratic form of a function that is one.

    Central differences of a quadratic are exact for any width, so a wide one gives A, b and c; the
    values at 24 other points must then agree to rounding, and there each entry of the Hessian, as
    a steep part of the function may hide the others' shape in its rounding.
    """
    width = 0.5 * max(1.0, float(np.abs(first).max()))
    origin = np.zeros((1, first.size))
    centre, slope, hessian, top = second_differences(values, origin[0], np.full(first.size, width))
    if not np.isfinite(hessian).all():
        return None
    whole = np.full(first.size, max(1.0, float(np.abs(first).max()), float(np.abs(last).max())))
    around = _around(first, last, 24, None, whole)
    points = np.concatenate([first[None, :], last[None, :], around])
    model = centre + points @ slope + 0.5 * np.einsum("ni,ij,nj->n", points, hessian, points)
    truth = values(points)
    size = max(top, float(np.abs(truth).max()))
    if not (np.isfinite(size) and np.abs(model - truth).max() <= 1e-11 * size):
        return None
    exact = values.hessians(points)
    exact = exact[np.isfinite(exact).all(axis=(1, 2))]
    most = np.abs(exact).max(axis=0, initial=0.0)
    if len(exact) and bool((np.ptp(exact, axis=0) > 1e-6 * most).any()):
        return None
    # Rounding of the differences, not curvature, below this.
    hessian[np.abs(hessian) < 64 * _EPS * top / width**2] = 0.0
    slope[np.abs(slope) < 64 * _EPS * top / width] = 0.0
    eigenvalues, vectors = np.linalg.eigh(hessian)
    return complete_square(eigenvalues, vectors, slope, centre)


def _spectrum(hessian: Floats, rounding: Floats, gradient: Floats, scale: Floats) -> dict[str, Any]:
    """Return what a `Landscape` holds of a Hessian: eigenvalues and what follows from them."""
    eigenvalues, vectors = np.linalg.eigh(hessian)
    units = np.outer(scale, scale)
    alike, ways = np.linalg.eigh(hessian * units)
    scaled = Scaled(
        float(alike[0]), float(np.abs(alike).max()), _resolution(alike, rounding * units)
    )
    slope, shift = gradient * scale, None
    if scaled.least > scaled.resolution:
        shift = float(np.abs(ways @ ((slope @ ways) / alike)).max())
    return {
        "hessian": hessian,
        "rounding": rounding,
        "eigenvalues": eigenvalues,
        "vectors": vectors,
        "resolution": _resolution(eigenvalues, rounding),
        "scaled": scaled,
        "shift": shift,
        "decrement": _decrement(slope, alike, ways),
    }


def _resolution(eigenvalues: Floats, rounding: Floats) -> float:
    """Return the size below which an eigenvalue is not told from 0: what rounding of the entries
    moves it by (Weyl's inequality), and of the eigenvalues' own computation."""
    own = _EPS * eigenvalues.size * float(np.abs(eigenvalues).max())
    return 4.0 * (own + float(np.sqrt((rounding**2).sum())))


def _measure(
    values: Formula, least: float | None, first: Floats, last: Floats, box: Box | None = None
) -> Landscape:
    value = float(values(last[None, :])[0])
    gradient = values.gradients(last[None, :], box)[0]
    scale = scales(values, first, last)
    around = _around(first, last, 16, box, scale)
    slopes = values.gradients(around, box)
    known = np.isfinite(slopes).all(axis=1)
    typical, spread, steepest = _surroundings(values, value, around[known], slopes[known])
    usual = _usual(slopes[known] * scale) or 0.0
    hessian, rounding = curvature(values, last, scale, usual, box)
    start, _ = curvature(values, first, scale, usual, box)
    of_last: dict[str, Any] = {"resolution": _resolution(np.zeros(last.size), rounding)}
    largest: list[float] = []
    at_first: float | None = None
    if hessian is not None:
        of_last = _spectrum(hessian, rounding, gradient, scale)
        largest.append(float(of_last["eigenvalues"][-1]))
    if start is not None:
        largest.append(float(np.linalg.eigvalsh(start)[-1]))
        at_first = largest[-1] if largest[-1] > 0 else None
    most = max(largest, default=0.0)
    found = values(around)
    found = found[np.isfinite(found)]
    return Landscape(
        values=values,
        minimum=least,
        gradient=gradient,
        scale=scale,
        drop=_drop(values, value, last, box),
        largest=most if most > 0 else None,
        largest_at_first=at_first,
        typical_gradient=typical,
        spread=spread,
        steepest=steepest,
        last_value=value,
        kinked=hessian is None,
        lowest_around=float(found.min()) if found.size else None,
        **of_last,
    )


def _usual(slopes: Floats) -> float | None:
    """Return the 90th percentile of the norms; None of fewer than four."""
    if len(slopes) < 4:
        return None
    return float(np.quantile(np.sqrt(np.einsum("ij,ij->i", slopes, slopes)), 0.9))


def _surroundings(
    values: Values, value: float, points: Floats, slopes: Floats
) -> tuple[float | None, float | None, float | None]:
    """Usual gradient norm, usual difference in value, steepest change of the gradient."""
    if len(points) < 4:
        return None, None, None
    spread = float(np.median(np.abs(values(points) - value)))
    i, j = np.triu_indices(len(points), 1)
    change = ((slopes[i] - slopes[j]) ** 2).sum(axis=1) / ((points[i] - points[j]) ** 2).sum(axis=1)
    return _usual(slopes), spread, float(np.sqrt(change.max()))


def _drop(values: Formula, value: float, last: Floats, box: Box | None) -> float:
    """Return how far below `value` the function lies on spheres of 1 % and 0.1 % of the scale:
    along the axes, and in 32 directions drawn."""
    draws = np.random.Generator(np.random.PCG64(21)).standard_normal((32, last.size))
    draws = np.concatenate([draws, np.eye(last.size), -np.eye(last.size)])
    draws /= np.sqrt(np.einsum("ij,ij->i", draws, draws))[:, None]
    scale = scales(values, last, last)
    points = np.concatenate([last + 1e-2 * scale * draws, last + 1e-3 * scale * draws])
    ring = values(points if box is None else box.clip(points))
    ring = ring[np.isfinite(ring)]
    lower = value - float(ring.min()) if ring.size else 0.0
    return max(0.0, lower - 16 * _EPS * abs(value))
