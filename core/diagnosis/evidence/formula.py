"""A problem's formula near a run: values, derivatives, and the scale of each coordinate.

Derivatives are exact (`core.specs.formulas.derivatives`) wherever they are finite, and central
differences where they are not (at the tip of a cone, say).
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

import numpy as np

from core.diagnosis.evidence.box import Box
from core.diagnosis.evidence.curves import Floats
from core.specs.formulas.derivatives import Derivatives
from core.specs.formulas.parser import parse
from core.specs.formulas.tree import fold, variables
from core.specs.formulas.values import OPERATIONS, value_at
from core.specs.functions import Expression, Function, Quadratic

Values = Callable[[Floats], Floats]
"""A function on (n × dim) points."""

_EPS: Final = float(np.finfo(np.float64).eps)
_KINK: Final = 1e-3
"""A jump of the slope by this share of the usual slope is a kink: of a smooth function, slopes at
a ten-thousandth of the scale differ by 1e-8 of it and less."""
_STEEP: Final = 1e-2
"""Coordinates whose scales differ by less share one: a factor of 10⁴ in curvature is common."""


class Formula:
    """A function times `sign` in NumPy, called on (n × dim) points; an expression is parsed once
    for all calls."""

    def __init__(self, function: Function, sign: float = 1.0) -> None:
        self._function, self._sign = function, sign
        self._expr = parse(function.expression) if isinstance(function, Expression) else None
        self._names = variables(self._expr) if self._expr is not None else ()

    def __call__(self, points: Floats) -> Floats:
        if self._expr is None:
            return self._sign * np.asarray(value_at(self._function, points))
        named = {name: points[:, i] for i, name in enumerate(self._names)}
        value: Any = fold(self._expr, np.asarray, named, OPERATIONS)
        return self._sign * np.asarray(np.broadcast_to(value, points.shape[:1]), dtype=np.float64)

    @property
    def smooth(self) -> bool:
        """True when no slope can jump where the value is finite."""
        return isinstance(self._function, Quadratic) or self._derivatives.smooth

    def gradients(self, points: Floats, box: Box | None = None) -> Floats:
        """Return the gradients (n × dim) at (n × dim) points; differences are one-sided at a bound,
        beyond which the function need not be defined."""
        if isinstance(self._function, Quadratic):
            found = points @ self._matrix
            if self._function.linear is not None:
                found = found + np.array(self._function.linear)
            return self._sign * found
        found = self._sign * self._derivatives.gradients(points)
        lost = ~np.isfinite(found).all(axis=1)
        if lost.any():
            found[lost] = differences(self, points[lost], box)
        return found

    def hessians(self, points: Floats) -> Floats:
        """Return the Hessians (n × dim × dim) at (n × dim) points; not finite where there is
        none."""
        if isinstance(self._function, Quadratic):
            return np.repeat(self._sign * self._matrix[None], len(points), axis=0)
        return self._sign * self._derivatives.hessians(points)

    @cached_property
    def _derivatives(self) -> Derivatives:
        return Derivatives(self._function)

    @cached_property
    def _matrix(self) -> Floats:
        """A of a quadratic, unrotated as its values are."""
        assert isinstance(self._function, Quadratic)
        if self._function.matrix is not None:
            return np.array(self._function.matrix)
        return np.diag(np.array(self._function.eigenvalues, dtype=np.float64))


def values_of(function: Function, sign: float = 1.0) -> Formula:
    """Return the function times `sign`."""
    return Formula(function, sign)


def differences(values: Values, points: Floats, box: Box | None = None) -> Floats:
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


def second_differences(
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


def scales(formula: Formula, first: Floats, last: Floats) -> Floats:
    """Return the scale of each coordinate, on which the function has its shape.

    One for all, max(1, |first|, |last|), unless the function is curved along some coordinates more
    than 10⁴ times as much as along the flattest. Those have the scale that makes the curvatures
    alike, and at least their own size: a decay constant of 10⁻⁴ beside an amplitude of 500 is not
    looked at on the amplitude's scale.
    """
    size = np.maximum(np.abs(first), np.abs(last))
    whole = max(1.0, float(size.max()))
    both = np.stack([first, last])
    with np.errstate(all="ignore"):
        curved = np.abs(np.einsum("nii->ni", formula.hessians(both)))
    curved = np.where(np.isfinite(curved), curved, 0.0).max(axis=0)
    if not (curved > 0.0).any():
        return np.full(size.shape, whole)
    length = np.sqrt(curved[curved > 0.0].min() / np.where(curved > 0.0, curved, np.inf))
    length[curved == 0.0] = 1.0
    return np.where(length >= _STEEP, whole, np.maximum(size, length * whole))


def curvature(
    formula: Formula,
    at: Floats,
    scale: Floats,
    usual: float,
    box: Box | None,
) -> tuple[Floats | None, Floats]:
    """Return the Hessian, None at a kink (where the slope jumps within a ten-thousandth of the
    scale), and the rounding of each of its entries.

    Rounding is how much the entries differ between points that differ by their last digits.

    Args:
        scale: of each coordinate.
        usual: the usual size of the slope around, in units of the scales.
    """
    draws = np.random.Generator(np.random.PCG64(22)).choice([-1.0, 1.0], size=(8, at.size))
    near = at + 2.0 * _EPS * np.maximum(np.abs(at), _EPS * scale) * draws
    found = formula.hessians(np.concatenate([at[None, :], near]))
    if not np.isfinite(found).all():
        return _by_differences(formula, at, scale, usual, box)
    hessian = 0.5 * (found[0] + found[0].T)
    rounding = np.abs(found[1:] - found[0]).max(axis=0) + _EPS * np.abs(hessian)
    if formula.smooth:
        return hessian, rounding
    # The change of the slope from one side to the other, less what the curvature accounts for.
    steps = _EPS**0.25 * np.diag(scale)
    sides = np.stack([at + steps, at - steps])
    if box is not None:
        sides = box.clip(sides)
    slopes = formula.gradients(sides.reshape(-1, at.size), box).reshape(sides.shape)
    jump = np.abs((slopes[0] - slopes[1]) - (sides[0] - sides[1]) @ hessian) * scale
    slope = formula.gradients(at[None, :], box)[0] * scale
    size = max(usual, float(np.sqrt(slope @ slope)))
    return (hessian if bool((jump <= _KINK * size).all()) else None), rounding


def _by_differences(
    values: Values, at: Floats, scale: Floats, usual: float, box: Box | None
) -> tuple[Floats | None, Floats]:
    """Return the Hessian by central differences, None where two widths do not agree on it (at a
    kink a difference over half the width doubles), and its rounding."""
    width = _EPS**0.25 * np.minimum(scale, np.maximum(1.0, np.abs(at)))
    if box is not None:
        width = np.clip(width, 1e-8, np.maximum(1e-8, 0.25 * (box.high - box.low)))
        at = np.clip(at, box.low + 2.0 * width, np.maximum(box.low, box.high - 2.0 * width))
    _, slope, wide, top = second_differences(values, at, width)
    close = second_differences(values, at, width / 4.0)[2]
    rounding = 2.0 * _EPS * top / np.outer(width, width)
    if not (np.isfinite(wide).all() and np.isfinite(close).all()):
        return None, rounding
    change = np.abs(wide - close)
    jump = change * width[:, None] * scale
    size = max(usual, float(np.sqrt(((slope * scale) ** 2).sum())))
    agree = (change <= 256.0 * at.size * rounding).all() or (jump <= _KINK * size).all()
    return (wide if agree else None), rounding
