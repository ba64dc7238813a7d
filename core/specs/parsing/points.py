"""The body of `POST /v1/functions/values`: a function, and points or a grid at which to compute
it."""

from collections.abc import Mapping, Sequence
from math import isfinite, prod
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from core.errors import FieldError, InvalidInputError
from core.specs.base import WHOLE, Spec
from core.specs.formulas.parser import parse
from core.specs.formulas.tree import postorder, variables
from core.specs.formulas.values import dimension, value_at
from core.specs.functions import Expression, Function, Quadratic, Vector
from core.specs.parsing.body import read_as
from core.specs.validation.errors import MAX_ERRORS, FieldErrorList
from core.specs.validation.function import check_function

MOST_POINTS: Final = 40_000
MOST_OPERATIONS: Final = 10_000_000
"""Operations and operands of an expression at all points: about a second of one core, at most."""
MOST_COORDINATES: Final = 1_000_000
"""Numbers of all points of a grid together."""
_OF_A_JOB: Final = "problem.function"


Axis = tuple[float, float, Annotated[int, Field(ge=1, le=MOST_POINTS), WHOLE]]
"""Lowest and highest value of a coordinate, and how many values there are from one to the other."""
Places = dict[str, list[float]]
"""The values of each coordinate of a grid."""


class FunctionPoints(Spec):
    """A function, and the points at which to compute it: `points` or `grid`."""

    function: Function
    """A job's function; a quadratic without `rotation_seed`."""
    points: Annotated[
        tuple[Vector, ...] | None, Field(min_length=1, max_length=MOST_POINTS, fail_fast=True)
    ] = None
    """Points, each a list of as many numbers as the function has coordinates: of an expression its
    variables, in the order of their names."""
    grid: Annotated[dict[str, Axis] | None, Field(min_length=1, max_length=MOST_POINTS)] = None
    """Axes by coordinate, each `[low, high, n]`: n values from low to high, evenly spaced, both
    among them. The coordinates are an expression's variables, else x1, x2, …; the points are all
    combinations, the last coordinate named running fastest."""


def parse_function_points(body: bytes) -> FunctionPoints:
    """Read the body of the call.

    Raises:
        InvalidInputError: with every mistake found.
    """
    asked, _, mistakes = read_as(FunctionPoints, body)
    if mistakes:
        raise InvalidInputError([_renamed(error) for error in mistakes])
    assert asked is not None
    faults = FieldErrorList()
    names = check_function(asked.function, faults)
    if isinstance(asked.function, Quadratic) and asked.function.rotation_seed is not None:
        faults.add(
            "function.rotation_seed", "not_available",
            "function.rotation_seed: the rotation is drawn where a job runs, so that no values can"
            " be told here; give the rotated matrix as function.matrix, or leave rotation_seed out",
        )  # fmt: skip
    if (asked.points is None) == (asked.grid is None):
        _refuse_both_or_none(asked, faults)
    elif names is not None and not faults.errors:
        if asked.points is not None:
            _check_points(asked.points, names, faults)
        else:
            _check_grid(asked.grid or {}, _coordinates(asked.function), faults)
        if isinstance(asked.function, Expression) and not faults.errors:
            _check_cost(asked, asked.function, faults)
    if faults.errors:
        raise InvalidInputError([_of_function(error) for error in faults.errors])
    return asked


def places_of(grid: Mapping[str, Axis]) -> Places:
    """Return the values of each coordinate, in the order in which they are named."""
    return {name: np.linspace(low, high, num).tolist() for name, (low, high, num) in grid.items()}


def values_at(asked: FunctionPoints) -> NDArray[np.float64]:
    """Compute the function at each point, in float64: (points,), of a grid all combinations, the
    last coordinate named running fastest. NaN and infinities are values."""
    points = np.asarray(asked.points) if asked.grid is None else _points_of(asked)
    return np.asarray(value_at(asked.function, points), dtype=np.float64)


def _points_of(asked: FunctionPoints) -> NDArray[np.float64]:
    """Return the points of a grid: (points, coordinates), in the function's own order."""
    places = {name: np.asarray(each) for name, each in places_of(asked.grid or {}).items()}
    num_points = repeats = prod(map(len, places.values()))
    columns: dict[str, NDArray[np.float64]] = {}
    for name, each in places.items():
        repeats //= len(each)
        columns[name] = each[np.arange(num_points) // repeats % len(each)]
    return np.stack([columns[name] for name in _coordinates(asked.function)], axis=-1)


def _coordinates(function: Function) -> tuple[str, ...]:
    """Return the names of a checked function's coordinates, in the order in which it takes them."""
    if isinstance(function, Expression):
        return variables(parse(function.expression))
    return tuple(f"x{number}" for number in range(1, dimension(function) + 1))


def _refuse_both_or_none(asked: FunctionPoints, faults: FieldErrorList) -> None:
    if asked.points is None:
        faults.add(
            "points", "missing",
            "points, or a grid, is required: a list of points [[1.0, 2.0], …], or for each"
            " coordinate [low, high, n]",
        )  # fmt: skip
    else:
        faults.add("grid", "conflict", "grid and points exclude each other: give one of them")


def _check_points(
    points: Sequence[Sequence[float]], names: tuple[str, ...] | int, faults: FieldErrorList
) -> None:
    """Check that each point has as many numbers as there are coordinates."""
    dim = names if isinstance(names, int) else len(names)
    coordinates = "coordinate" if dim == 1 else "coordinates"
    which = "" if isinstance(names, int) else f" ({', '.join(names[:10])})"
    for index, point in enumerate(points):
        if len(point) != dim:
            message = (
                f"points.{index} must have {dim:,} numbers, since the function has {dim:,}"
                f" {coordinates}{which}; it has {len(point):,}"
            )
            faults.add(f"points.{index}", "length_mismatch", message)
        if len(faults.errors) == MAX_ERRORS:
            return


def _check_grid(grid: Mapping[str, Axis], names: tuple[str, ...], faults: FieldErrorList) -> None:
    """Check that each coordinate has an axis that goes up, and that there are not too many
    points."""
    listed = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    for name in [each for each in grid if each not in names][:MAX_ERRORS]:
        message = f"grid.{name} is no coordinate of the function, whose coordinates are {listed}"
        faults.add(f"grid.{name}", "unknown_coordinate", message)
    for name in [each for each in names if each not in grid][:MAX_ERRORS]:
        message = f"grid.{name} is required: [low, high, n] for each of {listed}"
        faults.add(f"grid.{name}", "missing", message)
    for name, (low, high, num) in grid.items():
        if low > high or (low == high) != (num == 1) or not isfinite(high - low):
            message = (
                f"grid.{name} must go from low up to high in 2 values or more (one where they are"
                f" the same); {[low, high, num]} was given"
            )
            faults.add(f"grid.{name}", "not_ascending", message)
    num_points = prod(num for _, _, num in grid.values())
    most = min(MOST_POINTS, MOST_COORDINATES // len(names))
    if num_points > most:
        message = (
            f"grid has {num_points:,} points, and at most {most:,} of {len(names):,} coordinates"
            " are computed at a time: take fewer values of each coordinate"
        )
        faults.add("grid", "too_many_points", message)


def _check_cost(asked: FunctionPoints, function: Expression, faults: FieldErrorList) -> None:
    field = "points" if asked.grid is None else "grid"
    num_points = len(asked.points or ()) or prod(num for _, _, num in (asked.grid or {}).values())
    num_nodes = sum(1 for _ in postorder(parse(function.expression)))
    if num_nodes * num_points > MOST_OPERATIONS:
        message = (
            f"{field}: this expression, of {num_nodes:,} operations and operands, is computed at"
            f" most at {MOST_OPERATIONS // num_nodes:,} points at a time; {num_points:,} were given"
        )
        faults.add(field, "too_many_points", message)


def _of_function(error: FieldError) -> FieldError:
    """Name a field of this body, where the error names one of a job's spec."""
    param = error.param.replace(_OF_A_JOB, "function")
    return FieldError(param, error.code, error.message.replace(_OF_A_JOB, "function"))


def _renamed(error: FieldError) -> FieldError:
    """Put the reader's error into the words of these fields."""
    if error.code == "unknown_field" and "." not in error.param:
        names = ", ".join(FunctionPoints.model_fields)
        message = f"{error.param} is not a field here; the fields are {names}"
        return FieldError(error.param, error.code, message)
    return _of_function(error)
