"""The classic test functions: formula, customary domain and start, known minima.

Sources: Jamil and Yang 2013 (arXiv 1308.4008), "JY n" by its number there; Surjanovic and Bingham,
Virtual Library of Simulation Experiments (sfu.ca/~ssurjano), "SB"; Moré, Garbow and Hillstrom 1981,
"MGH". Values are computed in NumPy over the last axis: points (..., n) give values (...).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Values = Any
"""An array of float64 with one axis less than the points (NumPy types its reductions no closer)."""
Interval = tuple[float, float]
Point = tuple[float, ...]


@dataclass(frozen=True)
class Classic:
    """A classic test function: its formula and the published facts about it.

    Attributes:
        formula: in plain text, coordinates x1 … xn.
        source: where formula and minima are published.
        domain: customary search range of each coordinate; one interval means all alike.
        start: default start; a shorter pattern repeats itself along the coordinates.
        minimizers: all known global minimizers in `dim` coordinates.
        minimum: the value there, by dimension.
        value: points (..., n) -> values (...).
        fixed_dim: the dimension, where there is only one.
    """

    formula: str
    source: str
    domain: tuple[Interval, ...]
    start: Point
    minimizers: Callable[[int], tuple[Point, ...]]
    minimum: Callable[[int], float]
    value: Callable[[Points], Values]
    fixed_dim: int | None = None

    def domain_of(self, dim: int) -> tuple[Interval, ...]:
        """Return the customary interval of each of `dim` coordinates."""
        return self.domain * dim if len(self.domain) == 1 else self.domain

    def start_of(self, dim: int) -> Point:
        """Return the default start in `dim` coordinates."""
        return tuple(self.start[i % len(self.start)] for i in range(dim))


def _index(x: Points) -> Points:
    return np.arange(1, x.shape[-1] + 1, dtype=np.float64)


def _sphere(x: Points) -> Values:
    return (x**2).sum(-1)


def _sum_squares(x: Points) -> Values:
    return (_index(x) * x**2).sum(-1)


def _rosenbrock(x: Points) -> Values:
    a, b = x[..., :-1], x[..., 1:]
    return (100 * (b - a**2) ** 2 + (1 - a) ** 2).sum(-1)


def _rastrigin(x: Points) -> Values:
    return 10 * x.shape[-1] + (x**2 - 10 * np.cos(2 * np.pi * x)).sum(-1)


def _ackley(x: Points) -> Values:
    radius = np.sqrt((x**2).mean(-1))
    waves = np.cos(2 * np.pi * x).mean(-1)
    return -20 * np.exp(-0.2 * radius) - np.exp(waves) + 20 + np.e


def _griewank(x: Points) -> Values:
    return 1 + (x**2).sum(-1) / 4000 - np.cos(x / np.sqrt(_index(x))).prod(-1)


def _levy(x: Points) -> Values:
    w = 1 + (x - 1) / 4
    inner, last = w[..., :-1], w[..., -1]
    return (
        np.sin(np.pi * w[..., 0]) ** 2
        + ((inner - 1) ** 2 * (1 + 10 * np.sin(np.pi * inner + 1) ** 2)).sum(-1)
        + (last - 1) ** 2 * (1 + np.sin(2 * np.pi * last) ** 2)
    )


def _styblinski_tang(x: Points) -> Values:
    return 0.5 * (x**4 - 16 * x**2 + 5 * x).sum(-1)


_SCHWEFEL_ROOT: Final = 420.968746359982
_SCHWEFEL_DEPTH: Final = 418.982887272433799


def _schwefel(x: Points) -> Values:
    return _SCHWEFEL_DEPTH * x.shape[-1] - (x * np.sin(np.sqrt(np.abs(x)))).sum(-1)


def _zakharov(x: Points) -> Values:
    weighted = (0.5 * _index(x) * x).sum(-1)
    return (x**2).sum(-1) + weighted**2 + weighted**4


def _dixon_price(x: Points) -> Values:
    a, b = x[..., :-1], x[..., 1:]
    return (x[..., 0] - 1) ** 2 + (_index(x)[1:] * (2 * b**2 - a) ** 2).sum(-1)


def _himmelblau(x: Points) -> Values:
    a, b = x[..., 0], x[..., 1]
    return (a**2 + b - 11) ** 2 + (a + b**2 - 7) ** 2


def _beale(x: Points) -> Values:
    a, b = x[..., 0], x[..., 1]
    return (1.5 - a + a * b) ** 2 + (2.25 - a + a * b**2) ** 2 + (2.625 - a + a * b**3) ** 2


def _booth(x: Points) -> Values:
    a, b = x[..., 0], x[..., 1]
    return (a + 2 * b - 7) ** 2 + (2 * a + b - 5) ** 2


def _matyas(x: Points) -> Values:
    a, b = x[..., 0], x[..., 1]
    return 0.26 * (a**2 + b**2) - 0.48 * a * b


def _three_hump_camel(x: Points) -> Values:
    a, b = x[..., 0], x[..., 1]
    return 2 * a**2 - 1.05 * a**4 + a**6 / 6 + a * b + b**2


def _six_hump_camel(x: Points) -> Values:
    a, b = x[..., 0], x[..., 1]
    return (4 - 2.1 * a**2 + a**4 / 3) * a**2 + a * b + (-4 + 4 * b**2) * b**2


def _goldstein_price(x: Points) -> Values:
    a, b = x[..., 0], x[..., 1]
    first = 19 - 14 * a + 3 * a**2 - 14 * b + 6 * a * b + 3 * b**2
    second = 18 - 32 * a + 12 * a**2 + 48 * b - 36 * a * b + 27 * b**2
    return (1 + (a + b + 1) ** 2 * first) * (30 + (2 * a - 3 * b) ** 2 * second)


def _branin(x: Points) -> Values:
    a, b = x[..., 0], x[..., 1]
    parabola = b - 5.1 / (4 * np.pi**2) * a**2 + 5 / np.pi * a - 6
    return parabola**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10


def _everywhere(value: float) -> Callable[[int], tuple[Point, ...]]:
    return lambda dim: ((value,) * dim,)


def _points(*points: Point) -> Callable[[int], tuple[Point, ...]]:
    return lambda _: points


def _constant(value: float) -> Callable[[int], float]:
    return lambda _: value


def _dixon_price_minimizers(dim: int) -> tuple[Point, ...]:
    """Return x_i = ±2^(−(2^i − 2)/2^i): the sign is free for the last coordinate only."""
    point = tuple(2.0 ** -(1 - 2.0 ** (1 - i)) for i in range(1, dim + 1))
    return (point, (*point[:-1], -point[-1]))


_zero = _constant(0.0)
_STYBLINSKI_ROOT: Final = -2.903534027771177
_STYBLINSKI_DEPTH: Final = -39.166165703771416

CLASSICS: Final[dict[str, Classic]] = {
    "sphere": Classic(
        "sum(xi**2)", "JY 137; SB", ((-5.12, 5.12),), (2.0, -1.5), _everywhere(0.0), _zero, _sphere
    ),
    "sum_squares": Classic(
        "sum(i*xi**2)", "JY 145; SB", ((-10.0, 10.0),), (5.0, -4.0), _everywhere(0.0), _zero,
        _sum_squares,
    ),
    "rosenbrock": Classic(
        "sum(100*(x[i+1] - xi**2)**2 + (1 - xi)**2)", "Rosenbrock 1960; JY 105; start: MGH 1",
        ((-5.0, 10.0),), (-1.2, 1.0), _everywhere(1.0), _zero, _rosenbrock,
    ),
    "rastrigin": Classic(
        "10*n + sum(xi**2 - 10*cos(2*pi*xi))", "SB", ((-5.12, 5.12),), (2.2, -1.7),
        _everywhere(0.0), _zero, _rastrigin,
    ),
    "ackley": Classic(
        "-20*exp(-0.2*sqrt(mean(xi**2))) - exp(mean(cos(2*pi*xi))) + 20 + e", "JY 1; SB",
        ((-32.768, 32.768),), (2.3, -1.6), _everywhere(0.0), _zero, _ackley,
    ),
    "griewank": Classic(
        "1 + sum(xi**2)/4000 - prod(cos(xi/sqrt(i)))", "JY 59; SB", ((-600.0, 600.0),),
        (8.0, -5.0), _everywhere(0.0), _zero, _griewank,
    ),
    "levy": Classic(
        "sin(pi*w1)**2 + sum((wi - 1)**2*(1 + 10*sin(pi*wi + 1)**2), i < n)"
        " + (wn - 1)**2*(1 + sin(2*pi*wn)**2), wi = 1 + (xi - 1)/4", "SB", ((-10.0, 10.0),),
        (-4.0, 5.0), _everywhere(1.0), _zero, _levy,
    ),
    "styblinski_tang": Classic(
        "0.5*sum(xi**4 - 16*xi**2 + 5*xi)", "JY 144; SB", ((-5.0, 5.0),), (-1.0, 1.0),
        _everywhere(_STYBLINSKI_ROOT), lambda dim: _STYBLINSKI_DEPTH * dim, _styblinski_tang,
    ),
    "schwefel": Classic(
        "418.982887272433799*n - sum(xi*sin(sqrt(|xi|)))", "SB", ((-500.0, 500.0),),
        (380.0, 350.0), _everywhere(_SCHWEFEL_ROOT), _zero, _schwefel,
    ),
    "zakharov": Classic(
        "sum(xi**2) + sum(0.5*i*xi)**2 + sum(0.5*i*xi)**4", "JY 173; SB", ((-5.0, 10.0),),
        (2.0, -1.0), _everywhere(0.0), _zero, _zakharov,
    ),
    "dixon_price": Classic(
        "(x1 - 1)**2 + sum(i*(2*xi**2 - x[i-1])**2, i > 1)", "JY 48; SB", ((-10.0, 10.0),),
        (2.0, 1.5), _dixon_price_minimizers, _zero, _dixon_price,
    ),
    "himmelblau": Classic(
        "(x1**2 + x2 - 11)**2 + (x1 + x2**2 - 7)**2", "JY 65", ((-5.0, 5.0),), (0.0, 0.0),
        _points(
            (3.0, 2.0), (-2.805118086952745, 3.131312518250573),
            (-3.779310253377747, -3.283185991286170), (3.584428340330492, -1.848126526964404),
        ),
        _zero, _himmelblau, 2,
    ),
    "beale": Classic(
        "(1.5 - x1 + x1*x2)**2 + (2.25 - x1 + x1*x2**2)**2 + (2.625 - x1 + x1*x2**3)**2",
        "JY 10; SB; start: MGH 5", ((-4.5, 4.5),), (1.0, 1.0), _points((3.0, 0.5)), _zero, _beale,
        2,
    ),
    "booth": Classic(
        "(x1 + 2*x2 - 7)**2 + (2*x1 + x2 - 5)**2", "JY 17; SB", ((-10.0, 10.0),), (-5.0, 4.0),
        _points((1.0, 3.0)), _zero, _booth, 2,
    ),
    "matyas": Classic(
        "0.26*(x1**2 + x2**2) - 0.48*x1*x2", "JY 71; SB", ((-10.0, 10.0),), (6.0, -2.0),
        _points((0.0, 0.0)), _zero, _matyas, 2,
    ),
    "three_hump_camel": Classic(
        "2*x1**2 - 1.05*x1**4 + x1**6/6 + x1*x2 + x2**2", "JY 29; SB", ((-5.0, 5.0),),
        (0.8, -1.0), _points((0.0, 0.0)), _zero, _three_hump_camel, 2,
    ),
    "six_hump_camel": Classic(
        "(4 - 2.1*x1**2 + x1**4/3)*x1**2 + x1*x2 + (-4 + 4*x2**2)*x2**2", "JY 30; SB",
        ((-3.0, 3.0), (-2.0, 2.0)), (0.5, -1.0),
        _points((0.08984201368301331, -0.7126564032704135),
                (-0.08984201368301331, 0.7126564032704135)),
        _constant(-1.0316284534898774), _six_hump_camel, 2,
    ),
    "goldstein_price": Classic(
        "(1 + (x1 + x2 + 1)**2*(19 - 14*x1 + 3*x1**2 - 14*x2 + 6*x1*x2 + 3*x2**2))"
        "*(30 + (2*x1 - 3*x2)**2*(18 - 32*x1 + 12*x1**2 + 48*x2 - 36*x1*x2 + 27*x2**2))",
        "JY 58; SB", ((-2.0, 2.0),), (0.5, -0.5), _points((0.0, -1.0)), _constant(3.0),
        _goldstein_price, 2,
    ),
    "branin": Classic(
        "(x2 - 5.1/(4*pi**2)*x1**2 + 5/pi*x1 - 6)**2 + 10*(1 - 1/(8*pi))*cos(x1) + 10",
        "JY 22; SB", ((-5.0, 10.0), (0.0, 15.0)), (2.5, 7.5),
        _points((-math.pi, 12.275), (math.pi, 2.275), (3 * math.pi, 2.475)),
        _constant(10 / (8 * math.pi)), _branin, 2,
    ),
}  # fmt: skip
