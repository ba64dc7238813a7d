"""Strict JSON."""

import json
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from api.http.encoding import numbers, strict, to_json, word


@pytest.mark.parametrize(
    ("number", "wanted"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")]
)
def test_a_number_that_is_not_finite_has_a_word(number: float, wanted: str) -> None:
    assert word(number) == wanted
    assert strict({"a": [{"b": (number, 1.5)}]}) == {"a": [{"b": [wanted, 1.5]}]}


def test_what_is_finite_stays_as_it_is() -> None:
    value = {"a": [1, 2.5, "NaN", None, True], "b": {}}
    assert strict(value) == value


@pytest.mark.parametrize("column", [np.arange(3), np.array([1.5, -0.0]), np.ones((2, 3))])
def test_finite_columns_are_written_without_a_copy_in_lists(column: NDArray[Any]) -> None:
    assert numbers(column) is column
    assert json.loads(to_json(numbers(column))) == column.tolist()


def test_columns_keep_their_shape_around_the_words() -> None:
    column = np.array([[1.0, math.nan], [math.inf, 2.0]])
    assert json.loads(to_json(numbers(column))) == [[1.0, "NaN"], ["Infinity", 2.0]]


def test_a_slice_of_a_column_is_written_too() -> None:
    assert json.loads(to_json(numbers(np.arange(6.0)[::2]))) == [0.0, 2.0, 4.0]
