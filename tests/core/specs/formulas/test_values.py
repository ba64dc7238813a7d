"""Functions of a spec in NumPy."""

import json

import numpy as np
import pytest
from pydantic import TypeAdapter

from core.specs.formulas.values import dimension, domain, eigenvalues, minimum_value, value_at
from core.specs.functions import Function, Quadratic

ADAPTER: TypeAdapter[Function] = TypeAdapter(Function)


def function(**fields: object) -> Function:
    return ADAPTER.validate_json(json.dumps(fields))


def quadratic(**fields: object) -> Quadratic:
    built = function(kind="quadratic", **fields)
    assert isinstance(built, Quadratic)
    return built


def test_a_quadratic_by_matrix_is_half_x_a_x_plus_b_x_plus_c() -> None:
    built = quadratic(matrix=[[2.0, 1.0], [1.0, 4.0]], linear=[1.0, -1.0], constant=3.0)
    assert value_at(built, np.array([1.0, 2.0])) == 0.5 * (2 + 2 * 2 + 16) + (1 - 2) + 3
    assert dimension(built) == 2


def test_a_quadratic_by_eigenvalues_is_diagonal() -> None:
    built = quadratic(eigenvalues=[1.0, 10.0])
    points = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]])
    assert value_at(built, points).tolist() == [0.5, 5.0, 7.0]
    assert eigenvalues(built).tolist() == [1.0, 10.0]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"eigenvalues": [1.0, 2.0], "constant": 5.0}, 5.0),
        ({"eigenvalues": [2.0, 8.0], "linear": [2.0, 8.0]}, -0.5 * (4 / 2 + 64 / 8)),
        ({"matrix": [[2.0, 0.0], [0.0, 8.0]], "linear": [2.0, 8.0]}, -5.0),
        ({"eigenvalues": [-1.0, 2.0]}, None),
        ({"eigenvalues": [0.0, 2.0], "linear": [1.0, 0.0]}, None),
        ({"eigenvalues": [1.0, 2.0], "linear": [1.0, 1.0], "rotation_seed": 0}, None),
    ],
)
def test_the_minimum_of_a_quadratic_is_known_where_there_is_one(
    fields: dict[str, object], expected: float | None
) -> None:
    assert minimum_value(quadratic(**fields)) == expected


def test_an_expression_is_evaluated_at_many_points_in_the_order_of_its_variables() -> None:
    built = function(kind="expression", expression="x10 - 2*x2")
    assert value_at(built, np.array([[1.0, 5.0], [0.0, 3.0]])).tolist() == [3.0, 3.0]
    assert minimum_value(built) is None
    assert domain(built) is None


def test_undefined_values_are_values_and_no_warnings() -> None:
    built = function(kind="expression", expression="log(x) / (x - 1)")
    found = value_at(built, np.array([[-1.0], [0.0], [1.0]]))
    assert not np.isfinite(found).any()


def test_a_constant_part_is_spread_over_all_points() -> None:
    built = function(kind="expression", expression="where(x < 0, 1, 2)")
    assert value_at(built, np.array([[-1.0], [1.0]])).tolist() == [1.0, 2.0]


def test_a_named_function_knows_its_minimum_and_domain() -> None:
    built = function(kind="styblinski_tang", dim=3)
    assert minimum_value(built) == pytest.approx(-39.16616570377142 * 3)
    assert domain(built) == ((-5.0, 5.0),) * 3
