"""Which points are minima, told by values alone."""

import math

import numpy as np
from numpy.typing import NDArray

from core.compare.minima.stationary import Values, near_minima

Floats = NDArray[np.float64]


def near(
    value: Values, points: list[list[float]], reach: float = 0.01, low: float = -math.inf
) -> list[bool]:
    x = np.array(points)
    n = x.shape[1]
    ends = np.full(n, low), np.full(n, math.inf)
    return [bool(found) for found in near_minima(value, x, np.full(n, reach), *ends)]


def rosenbrock(x: Floats) -> Floats:
    found: Floats = 100.0 * (x[..., 1] - x[..., 0] ** 2) ** 2 + (1.0 - x[..., 0]) ** 2
    return found


def saddle(x: Floats) -> Floats:
    found: Floats = x[..., 0] ** 2 - x[..., 1] ** 2
    return found


def bowl(x: Floats) -> Floats:
    found: Floats = (x**2).sum(-1)
    return found


def test_a_minimum_is_near_within_the_reach() -> None:
    points = [[0.0, 0.0], [0.009, 0.0], [0.02, 0.0], [math.nan, 0.0], [math.inf, 0.0]]
    assert near(bowl, points) == [True, True, False, False, False]


def test_the_floor_of_a_narrow_valley_is_no_minimum() -> None:
    """No step along a coordinate leads lower there, and the gradient is small."""
    assert near(rosenbrock, [[0.5, 0.25], [1.0, 1.0], [1.002, 1.004]]) == [False, True, True]


def test_a_saddle_is_no_minimum() -> None:
    assert near(saddle, [[0.0, 0.0]]) == [False]


def test_a_kink_and_a_flat_floor_are_minima() -> None:
    assert near(lambda x: np.abs(x).sum(-1), [[0.0, 0.0], [1.0, 0.0]]) == [True, False]
    assert near(lambda x: np.maximum(x**2 - 1.0, 0.0).sum(-1), [[0.2, 0.3]]) == [True]
    assert near(lambda x: x[..., 0] ** 2, [[0.0, 5.0]]) == [True]


def test_values_far_from_0_drown_what_is_below_their_rounding() -> None:
    assert near(lambda x: bowl(x) + 1e6, [[0.0, 0.0], [0.1, 0.0]]) == [True, False]
    assert near(lambda x: 1e150 * bowl(x), [[0.0, 0.0], [0.1, 0.0]]) == [True, False]


def test_a_bound_beyond_which_it_falls_holds_a_minimum() -> None:
    def slope(x: Floats) -> Floats:
        found: Floats = x[..., 0] + (x[..., 1] - 3.0) ** 2
        return found

    assert near(slope, [[0.0, 3.0], [0.5, 3.0], [0.0, 4.0]], low=0.0) == [True, False, False]


def test_where_differences_are_not_finite_steps_along_the_coordinates_tell() -> None:
    def well(x: Floats) -> Floats:
        found: Floats = np.where(x[..., 0] < 0.0, np.inf, x[..., 0])
        return found

    assert near(well, [[0.0], [0.5]]) == [True, False]


def test_in_many_dimensions_steps_along_the_coordinates_tell() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([np.zeros((1, 300)), rng.standard_normal((1, 300))])
    assert near(bowl, points.tolist()) == [True, False]
