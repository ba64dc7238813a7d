"""The table of classic functions, held against SciPy's search and the literature's numbers."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import approx_fprime, minimize

from core.specs.formulas.classic import CLASSICS
from core.specs.unions import members


def dims(kind: str) -> list[int]:
    fixed = CLASSICS[kind].fixed_dim
    return [fixed] if fixed is not None else [2, 3, 6]


def value_of(kind: str) -> Callable[[NDArray[np.float64]], float]:
    return lambda x: float(CLASSICS[kind].value(x))


CASES = [(kind, dim) for kind in CLASSICS for dim in dims(kind)]


def test_the_table_has_every_named_function() -> None:
    assert {*CLASSICS, "quadratic", "expression"} == set(members("function"))


@pytest.mark.parametrize("kind", CLASSICS)
def test_only_functions_of_any_dimension_have_a_dim(kind: str) -> None:
    assert (CLASSICS[kind].fixed_dim is None) == ("dim" in members("function")[kind].model_fields)


@pytest.mark.parametrize(("kind", "dim"), CASES)
def test_the_minimizers_have_the_minimum_value(kind: str, dim: int) -> None:
    classic = CLASSICS[kind]
    points = np.array(classic.minimizers(dim))
    assert classic.value(points) == pytest.approx(classic.minimum(dim), abs=1e-11 * dim)


@pytest.mark.parametrize(("kind", "dim"), CASES)
def test_no_search_from_a_minimizer_finds_a_lower_value(kind: str, dim: int) -> None:
    classic = CLASSICS[kind]
    for point in classic.minimizers(dim):
        found = minimize(
            value_of(kind), np.array(point), method="Nelder-Mead",
            options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 2_000},
        )  # fmt: skip
        assert found.fun >= classic.minimum(dim) - 1e-10
        assert found.x == pytest.approx(point, abs=1e-5)


@pytest.mark.parametrize(("kind", "dim"), CASES)
def test_random_points_of_the_domain_are_not_below_the_minimum(kind: str, dim: int) -> None:
    classic = CLASSICS[kind]
    low, high = np.array(classic.domain_of(dim)).T
    points = np.random.default_rng(0).uniform(low, high, size=(2_000, dim))
    assert classic.value(points).shape == (2_000,)
    assert classic.value(points).min() >= classic.minimum(dim)


@pytest.mark.parametrize(("kind", "dim"), CASES)
def test_the_default_start_is_in_the_domain_and_not_stationary(kind: str, dim: int) -> None:
    classic = CLASSICS[kind]
    start = np.array(classic.start_of(dim))
    low, high = np.array(classic.domain_of(dim)).T
    assert (low <= start).all()
    assert (start <= high).all()
    gradient = approx_fprime(start, value_of(kind), 1e-6)
    assert np.linalg.norm(gradient) > 0.01


@pytest.mark.parametrize(
    ("kind", "point", "expected"),
    [
        ("rosenbrock", (-1.2, 1.0), 24.2),  # Moré, Garbow and Hillstrom 1981, problem 1
        ("beale", (1.0, 1.0), 14.203125),  # the same, problem 5
        ("himmelblau", (0.0, 0.0), 170.0),
        ("booth", (0.0, 0.0), 74.0),
        ("goldstein_price", (0.0, 0.0), 600.0),
        ("branin", (0.0, 0.0), 36.0 + 10 * (1 - 1 / (8 * math.pi)) + 10),
        ("ackley", (1.0, 1.0), 20 - 20 * math.exp(-0.2)),
        ("rastrigin", (1.0, 1.0), 2.0),
        ("griewank", (0.0, 0.0), 0.0),
        ("styblinski_tang", (1.0, 1.0), -10.0),
        ("zakharov", (1.0, 1.0), 2 + 1.5**2 + 1.5**4),
        ("dixon_price", (1.0, 1.0), 2.0),
        ("matyas", (1.0, 1.0), 0.04),
        ("six_hump_camel", (1.0, 0.0), 4 - 2.1 + 1 / 3),
        ("three_hump_camel", (1.0, 1.0), 2 - 1.05 + 1 / 6 + 2),
        ("schwefel", (0.0, 0.0), 2 * 418.982887272433799),
        ("levy", (1.0, -3.0), 1.0),
        ("sphere", (3.0, 4.0), 25.0),
        ("sum_squares", (3.0, 4.0), 41.0),
    ],
)
def test_a_value_worked_by_hand(kind: str, point: tuple[float, ...], expected: float) -> None:
    assert CLASSICS[kind].value(np.array(point)) == pytest.approx(expected, rel=1e-12, abs=1e-12)
