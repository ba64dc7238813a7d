"""Functions of a spec in NumPy: values, dimension, known minimum. torch has its own formulas
(`core.train.problems`); tests hold both against each other."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.specs.formulas.classic import CLASSICS, Interval
from core.specs.formulas.parser import parse
from core.specs.formulas.tree import Expr, fold, variables
from core.specs.functions import Expression, Function, Quadratic

Array = NDArray[Any]

_erf: Final = np.vectorize(math.erf, otypes=[np.float64])

OPERATIONS: Final[dict[str, Callable[..., Any]]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "neg": np.negative,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "erf": _erf,
    "sigmoid": lambda x: np.exp(-np.logaddexp(0.0, -x)),
    "relu": lambda x: np.maximum(x, 0.0),
    "softplus": lambda x: np.logaddexp(0.0, x),
    "atan2": np.arctan2,
    "hypot": np.hypot,
    "min": np.minimum,
    "max": np.maximum,
    "where": np.where,
}
"""The NumPy function for every name of `expression_names.ARITY`."""


def evaluate(expr: Expr, values: Mapping[str, float]) -> float:
    """Return the expression's value in float64; NaN or infinite where it is undefined or
    overflows."""
    with np.errstate(all="ignore"):
        named = {name: np.float64(value) for name, value in values.items()}
        return float(fold(expr, np.float64, named, OPERATIONS))


def dimension(function: Function) -> int:
    """Return the number of coordinates of the point."""
    if isinstance(function, Expression):
        return len(variables(parse(function.expression)))
    if isinstance(function, Quadratic):
        return len(function.matrix or function.eigenvalues or ())
    fixed = CLASSICS[function.kind].fixed_dim
    return fixed if fixed is not None else int(getattr(function, "dim"))  # noqa: B009


def value_at(function: Function, points: Array) -> Array:
    """Return values (...) at points (..., n); NaN and infinities are values, never warnings.

    A quadratic with a `rotation_seed` is taken unrotated: A has the same eigenvalues, and the same
    value only where x is rotated along.
    """
    points = np.asarray(points, dtype=np.float64)
    with np.errstate(all="ignore"):
        if isinstance(function, Quadratic):
            return _quadratic(function, points)
        if isinstance(function, Expression):
            expr = parse(function.expression)
            named = {name: points[..., i] for i, name in enumerate(variables(expr))}
            value = fold(expr, _scalar, named, OPERATIONS)
            return np.broadcast_to(np.asarray(value, dtype=np.float64), points.shape[:-1])
        return np.asarray(CLASSICS[function.kind].value(points))


def value_in_float32(function: Function, point: Array) -> float:
    """Return the value at one point (n,), computed in float32 as a job of that precision does it:
    each step of the formula is rounded, and constants are, where they meet a coordinate."""
    x: Any = _cast(point)
    with np.errstate(all="ignore"):
        if isinstance(function, Quadratic):
            value: Any = _quadratic(function, x, np.float32)
        elif isinstance(function, Expression):
            expr = parse(function.expression)
            named = {name: x[i] for i, name in enumerate(variables(expr))}
            value = fold(expr, float, named, _ROUNDED)
        else:
            value = CLASSICS[function.kind].value(x)
        return float(np.float32(value))


def _cast(values: Any) -> Any:
    with np.errstate(over="ignore"):
        return np.asarray(values, dtype=np.float64).astype(np.float32)


def _rounded(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Return the operation on float32 and Python's numbers: of the latter alone it is computed in
    float64, as constants are."""

    def computed(*operands: Any) -> Any:
        found = operation(*operands)
        if all(isinstance(each, float | bool) for each in operands):
            return found.item()
        kept = found.dtype.kind == "b" or found.dtype == np.float32
        return found if kept else found.astype(np.float32)

    return computed


_ROUNDED: Final = {name: _rounded(operation) for name, operation in OPERATIONS.items()}


def _scalar(value: float) -> Any:
    return np.float64(value)


def _quadratic(function: Quadratic, points: Array, dtype: type = np.float64) -> Array:
    if function.matrix is not None:
        curved = points @ np.asarray(function.matrix).astype(dtype)
    else:
        curved = points * np.asarray(function.eigenvalues).astype(dtype)
    value: Any = 0.5 * (points * curved).sum(-1) + function.constant
    if function.linear is not None:
        value = value + points @ np.asarray(function.linear).astype(dtype)
    return np.asarray(value)


def eigenvalues(function: Quadratic) -> Array:
    """Return the eigenvalues of A, ascending; the rotation does not change them."""
    if function.matrix is not None:
        return np.linalg.eigvalsh(np.asarray(function.matrix, dtype=np.float64))
    return np.sort(np.asarray(function.eigenvalues, dtype=np.float64))


def minimum_value(function: Function) -> float | None:
    """Return the global minimum's value, where it is known: None for expressions, for quadratics
    without a minimum, and for rotated ones with a linear term (the rotation is torch's)."""
    if isinstance(function, Expression):
        return None
    if not isinstance(function, Quadratic):
        return CLASSICS[function.kind].minimum(dimension(function))
    spectrum = eigenvalues(function)
    if spectrum[0] < 0:
        return None
    if function.linear is None:
        return function.constant
    if spectrum[0] == 0 or function.rotation_seed is not None:
        return None
    b = np.asarray(function.linear, dtype=np.float64)
    solved: Any
    if function.matrix is None:
        solved = b / np.asarray(function.eigenvalues, dtype=np.float64)
    else:
        solved = np.linalg.solve(np.asarray(function.matrix, dtype=np.float64), b)
    return float(function.constant - 0.5 * b @ solved)


def domain(function: Function) -> tuple[Interval, ...] | None:
    """Return the customary interval of each coordinate; None for quadratics and expressions."""
    if isinstance(function, (Expression, Quadratic)):
        return None
    return CLASSICS[function.kind].domain_of(dimension(function))
