"""Exact first and second derivatives of formulas in NumPy, by Taylor arithmetic in forward mode.

A `Jet` carries a value, its gradient and its Hessian through every operation by the chain rule
(Griewank and Walther 2008, "Evaluating Derivatives", chapter 13), so that derivatives are exact to
rounding whatever the scale of a coordinate is; central differences need a width that fits it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from core.specs.formulas.classic import CLASSICS
from core.specs.formulas.parser import parse
from core.specs.formulas.tree import Apply, Expr, Number, fold, postorder, variables
from core.specs.formulas.values import OPERATIONS
from core.specs.functions import Expression, Function, Quadratic

Floats = NDArray[np.float64]


class Jet(NDArrayOperatorsMixin):
    """Values with their derivatives in d variables.

    Attributes:
        value: of any shape.
        slope: (d, *shape).
        bend: (d, d, *shape), or None where only gradients are wanted.
    """

    def __init__(self, value: Floats, slope: Floats, bend: Floats | None) -> None:
        self.value, self.slope, self.bend = value, slope, bend

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def __getitem__(self, index: Any) -> "Jet":
        """Take a part by an index that begins with `...`: derivatives' axes come first."""
        bend = None if self.bend is None else self.bend[index]
        return Jet(self.value[index], self.slope[index], bend)

    def sum(self, axis: int) -> "Jet":
        """Add along an axis that is counted from the end."""
        bend = None if self.bend is None else self.bend.sum(axis)
        return Jet(self.value.sum(axis), self.slope.sum(axis), bend)

    def mean(self, axis: int) -> Any:
        return self.sum(axis) / self.shape[axis]

    def prod(self, axis: int) -> Any:
        """Multiply along the last axis."""
        assert axis == -1
        product: Any = self[..., 0]
        for i in range(1, self.shape[-1]):
            product = product * self[..., i]
        return product

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options:
            return NotImplemented
        if ufunc in _STEPS:
            return ufunc(*map(_value, inputs))
        if ufunc in _UNARY:
            x = inputs[0]
            return _chain(*_UNARY[ufunc](x.value), x)
        if ufunc is np.power and not isinstance(inputs[1], Jet) and np.ndim(inputs[1]) == 0:
            return _power_of_number(inputs[0], float(inputs[1]))
        if ufunc in _BINARY:
            return _chain_two(_BINARY[ufunc], *inputs)
        return NotImplemented


def _value(x: Any) -> Any:
    return x.value if isinstance(x, Jet) else x


def _outer(a: Floats, b: Floats) -> Floats:
    return np.asarray(a[:, None] * b[None, :])


def _chain(value: Floats, first: Any, second: Any, x: Jet) -> Jet:
    """Return f(x) by f, f′ and f″ at x."""
    bend = None
    if x.bend is not None:
        bend = _times(first, x.bend)
        if not _is_zero(second):
            bend = bend + _times(second, _outer(x.slope, x.slope))
    return Jet(value, _times(first, x.slope), bend)


def _is_zero(factor: Any) -> bool:
    return isinstance(factor, float) and factor == 0.0


def _times(factor: Any, derivative: Floats) -> Floats:
    """Multiply; what does not depend on a variable has no derivative there, whatever the factor
    is."""
    if isinstance(factor, float):
        return derivative if factor == 1.0 else factor * derivative
    product = np.asarray(factor * derivative)
    if not np.isfinite(product.sum()):
        product[np.broadcast_to(derivative == 0.0, product.shape)] = 0.0
    return product


Partials = tuple[Any, Any, Any, Any, Any, Any]
"""f, f_u, f_v, f_uu, f_uv, f_vv."""


def _chain_two(rule: Callable[[Any, Any], Partials], a: Any, b: Any) -> Jet:
    """Return f(a, b); either may be a constant."""
    u, v = np.asarray(_value(a), dtype=np.float64), np.asarray(_value(b), dtype=np.float64)
    value, fu, fv, fuu, fuv, fvv = rule(u, v)
    if not isinstance(b, Jet):
        return _chain(value, fu, fuu, a)
    if not isinstance(a, Jet):
        return _chain(value, fv, fvv, b)
    slope = _times(fu, a.slope) + _times(fv, b.slope)
    if a.bend is None or b.bend is None:
        return Jet(value, slope, None)
    bend = _times(fu, a.bend) + _times(fv, b.bend)
    if not _is_zero(fuv):
        cross = _outer(a.slope, b.slope)
        bend = bend + _times(fuv, cross + np.swapaxes(cross, 0, 1))
    for factor, slopes in ((fuu, a.slope), (fvv, b.slope)):
        if not _is_zero(factor):
            bend = bend + _times(factor, _outer(slopes, slopes))
    return Jet(value, slope, bend)


def _power(u: Floats, v: Floats) -> Partials:
    value, fu = np.power(u, v), np.where(v == 0.0, 0.0, v * np.power(u, v - 1.0))
    fuu = np.where((v == 0.0) | (v == 1.0), 0.0, v * (v - 1.0) * np.power(u, v - 2.0))
    log = np.log(u)
    return value, fu, value * log, fuu, np.power(u, v - 1.0) * (1.0 + v * log), value * log**2


def _power_of_number(x: Jet, exponent: float) -> Jet:
    """Return x to a number: nothing of it depends on the logarithm of x."""
    u = x.value
    first = 0.0 if exponent == 0.0 else exponent * np.power(u, exponent - 1.0)
    second: Any = 0.0
    if exponent == 2.0:
        second = 2.0
    elif exponent not in (0.0, 1.0):
        second = exponent * (exponent - 1.0) * np.power(u, exponent - 2.0)
    return _chain(np.power(u, exponent), first, second, x)


def _divide(u: Floats, v: Floats) -> Partials:
    return u / v, 1.0 / v, -u / v**2, 0.0, -1.0 / v**2, 2.0 * u / v**3


def _arctan2(u: Floats, v: Floats) -> Partials:
    r = u**2 + v**2
    twist = 2.0 * u * v / r**2
    return np.arctan2(u, v), v / r, -u / r, -twist, (u**2 - v**2) / r**2, twist


def _hypot(u: Floats, v: Floats) -> Partials:
    r = np.hypot(u, v)
    cu, cv = u / r, v / r
    return r, cu, cv, cv * cv / r, -cu * cv / r, cu * cu / r


def _logaddexp(u: Floats, v: Floats) -> Partials:
    value = np.logaddexp(u, v)
    p, q = np.exp(u - value), np.exp(v - value)
    return value, p, q, p * q, -p * q, p * q


def _choose(ufunc: Any, left: Any) -> Callable[[Any, Any], Partials]:
    def rule(u: Floats, v: Floats) -> Partials:
        first = left(u, v)
        return ufunc(u, v), np.where(first, 1.0, 0.0), np.where(first, 0.0, 1.0), 0.0, 0.0, 0.0

    return rule


_BINARY: Final[dict[Any, Callable[[Any, Any], Partials]]] = {
    np.add: lambda u, v: (u + v, 1.0, 1.0, 0.0, 0.0, 0.0),
    np.subtract: lambda u, v: (u - v, 1.0, -1.0, 0.0, 0.0, 0.0),
    np.multiply: lambda u, v: (u * v, v, u, 0.0, 1.0, 0.0),
    np.divide: _divide,
    np.power: _power,
    np.arctan2: _arctan2,
    np.hypot: _hypot,
    np.logaddexp: _logaddexp,
    np.minimum: _choose(np.minimum, np.less_equal),
    np.maximum: _choose(np.maximum, np.greater_equal),
}


def _sin(x: Floats) -> tuple[Any, Any, Any]:
    y = np.sin(x)
    return y, np.cos(x), -y


def _cos(x: Floats) -> tuple[Any, Any, Any]:
    y = np.cos(x)
    return y, -np.sin(x), -y


def _tan(x: Floats) -> tuple[Any, Any, Any]:
    y = np.tan(x)
    return y, 1.0 + y**2, 2.0 * y * (1.0 + y**2)


def _tanh(x: Floats) -> tuple[Any, Any, Any]:
    y, first = np.tanh(x), 1.0 / np.cosh(x) ** 2
    return y, first, -2.0 * y * first


def _exp(x: Floats) -> tuple[Any, Any, Any]:
    y = np.exp(x)
    return y, y, y


def _logarithm(ufunc: Any, base: float) -> Callable[[Any], tuple[Any, Any, Any]]:
    scale = 1.0 / np.log(base)
    return lambda x: (ufunc(x), scale / x, -scale / x**2)


def _sqrt(x: Floats) -> tuple[Any, Any, Any]:
    y = np.sqrt(x)
    return y, 0.5 / y, -0.25 / (x * y)


def _inverse(
    ufunc: Any, first: Callable[[Any], Any], second: Callable[[Any, Any], Any]
) -> Callable[[Any], tuple[Any, Any, Any]]:
    """Return the rule of an inverse function by y′(x) and y″(x, y′)."""

    def rule(x: Floats) -> tuple[Any, Any, Any]:
        slope = first(x)
        return ufunc(x), slope, second(x, slope)

    return rule


_UNARY: Final[dict[Any, Callable[[Any], tuple[Any, Any, Any]]]] = {
    np.negative: lambda x: (-x, -1.0, 0.0),
    np.absolute: lambda x: (np.abs(x), np.sign(x), 0.0),
    np.sin: _sin,
    np.cos: _cos,
    np.tan: _tan,
    np.sinh: lambda x: (np.sinh(x), np.cosh(x), np.sinh(x)),
    np.cosh: lambda x: (np.cosh(x), np.sinh(x), np.cosh(x)),
    np.tanh: _tanh,
    np.exp: _exp,
    np.expm1: lambda x: (np.expm1(x), np.exp(x), np.exp(x)),
    np.log: _logarithm(np.log, np.e),
    np.log2: _logarithm(np.log2, 2.0),
    np.log10: _logarithm(np.log10, 10.0),
    np.log1p: lambda x: (np.log1p(x), 1.0 / (1.0 + x), -1.0 / (1.0 + x) ** 2),
    np.sqrt: _sqrt,
    np.arcsin: _inverse(np.arcsin, lambda x: (1 - x**2) ** -0.5, lambda x, d: x * d**3),
    np.arccos: _inverse(np.arccos, lambda x: -((1 - x**2) ** -0.5), lambda x, d: x * d**3),
    np.arctan: _inverse(np.arctan, lambda x: 1 / (1 + x**2), lambda x, d: -2 * x * d**2),
    np.arcsinh: _inverse(np.arcsinh, lambda x: (1 + x**2) ** -0.5, lambda x, d: -x * d**3),
    np.arccosh: _inverse(
        np.arccosh, lambda x: (x - 1) ** -0.5 * (x + 1) ** -0.5, lambda x, d: -x * d**3
    ),
    np.arctanh: _inverse(np.arctanh, lambda x: 1 / (1 - x**2), lambda x, d: 2 * x * d**2),
}

_STEPS: Final = frozenset({
    np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal,
    np.logical_and, np.logical_or, np.logical_not, np.sign, np.floor, np.ceil,
})  # fmt: skip
"""Functions that are constant wherever they have a derivative."""


def _erf(x: Any) -> Any:
    if not isinstance(x, Jet):
        return OPERATIONS["erf"](x)
    slope = 2.0 / np.sqrt(np.pi) * np.exp(-(x.value**2))
    return _chain(OPERATIONS["erf"](x.value), slope, -2.0 * x.value * slope, x)


def _where(condition: Any, a: Any, b: Any) -> Any:
    if not isinstance(a, Jet) and not isinstance(b, Jet):
        return np.where(_value(condition), a, b)
    chosen = np.asarray(_value(condition)) != 0
    parts = [_parts(each, like=a if isinstance(a, Jet) else b) for each in (a, b)]
    value, slope, bend = (
        None if one is None else np.where(chosen, one, other)
        for one, other in zip(*parts, strict=True)
    )
    assert value is not None
    assert slope is not None
    return Jet(value, slope, bend)


def _parts(x: Any, like: Jet) -> tuple[Any, Any, Any]:
    if isinstance(x, Jet):
        return x.value, x.slope, x.bend
    flat = None if like.bend is None else np.zeros_like(like.bend)
    return x, np.zeros_like(like.slope), flat


_OPERATIONS: Final[Mapping[str, Callable[..., Any]]] = {
    **OPERATIONS,
    "erf": _erf,
    "where": _where,
}


class Derivatives:
    """Exact derivatives of an expression or a named function; parses once for all calls."""

    def __init__(self, function: Function) -> None:
        assert not isinstance(function, Quadratic)
        self._expr: Expr | None = None
        if isinstance(function, Expression):
            self._expr = parse(function.expression)
            self._names = variables(self._expr)
        self._kind = function.kind
        self.smooth = self._kind not in _KINKED if self._expr is None else _is_smooth(self._expr)
        """True when the formula has no operation whose slope may jump."""

    def gradients(self, points: Floats) -> Floats:
        """Return the gradients (n × dim) at points (n × dim); not finite where there is none."""
        found = self._jet(points, bent=False)
        return _spread(found.slope if isinstance(found, Jet) else None, points.shape[::-1]).T

    def hessians(self, points: Floats) -> Floats:
        """Return the Hessians (n × dim × dim) at points (n × dim)."""
        count, dim = points.shape
        found = self._jet(points, bent=True)
        bend = _spread(found.bend if isinstance(found, Jet) else None, (dim, dim, count))
        return np.ascontiguousarray(np.moveaxis(bend, -1, 0))

    def _jet(self, points: Floats, *, bent: bool) -> Any:
        count, dim = points.shape
        with np.errstate(all="ignore"):
            if self._expr is None:
                axes = np.broadcast_to(np.eye(dim)[:, None, :], (dim, count, dim))
                flat = np.zeros((dim, dim, count, dim)) if bent else None
                return CLASSICS[self._kind].value(Jet(points, axes, flat))  # type: ignore[arg-type]
            whole = np.zeros((dim, dim, count)) if bent else None
            slopes = np.broadcast_to(np.eye(dim)[:, :, None], (dim, dim, count))
            named: dict[str, Any] = {
                name: Jet(points[:, i], slopes[i], whole) for i, name in enumerate(self._names)
            }
            return fold(self._expr, np.asarray, named, _OPERATIONS)


def _spread(found: Floats | None, shape: tuple[int, ...]) -> Floats:
    """Return derivatives of every point; zeros for a formula that does not depend on any."""
    return np.zeros(shape) if found is None else np.broadcast_to(found, shape)


_SMOOTH: Final = frozenset({
    "add", "sub", "mul", "div", "neg", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh", "asinh",
    "exp", "expm1", "log", "log2", "log10", "log1p", "erf", "sigmoid", "softplus",
})  # fmt: skip
_KINKED: Final = frozenset({"ackley", "schwefel"})
"""Named functions with a point where the slope jumps."""


def _is_smooth(expr: Expr) -> bool:
    """Tell whether slopes cannot jump where the value is finite."""
    for node in postorder(expr):
        if not isinstance(node, Apply) or node.operation in _SMOOTH:
            continue
        if node.operation != "pow" or not _is_smooth_power(*node.arguments):
            return False
    return True


def _is_smooth_power(base: Expr, exponent: Expr) -> bool:
    """Tell whether a power is an exponential, or has a number for exponent with which its slope
    does not jump at 0, or its value is infinite there."""
    if isinstance(base, Number):
        return base.value > 0.0
    negative = isinstance(exponent, Apply) and exponent.operation == "neg"
    if isinstance(exponent, Apply) and negative:
        exponent = exponent.arguments[0]
    if not isinstance(exponent, Number):
        return False
    return negative or exponent.value >= 2.0 or float(exponent.value).is_integer()
