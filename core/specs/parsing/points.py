"""The body of `POST /v1/functions/values`: a function, and points at which to compute it."""

from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from core.errors import FieldError, InvalidInputError
from core.specs.base import Spec
from core.specs.formulas.parser import parse
from core.specs.formulas.tree import postorder
from core.specs.formulas.values import value_at
from core.specs.functions import Expression, Function, Quadratic, Vector
from core.specs.parsing.body import read_as
from core.specs.validation.errors import MAX_ERRORS, FieldErrorList
from core.specs.validation.function import check_function

MOST_POINTS: Final = 20_000
MOST_OPERATIONS: Final = 10_000_000
"""Operations and operands of an expression at all points: about a second of one core, at most."""
_OF_A_JOB: Final = "problem.function"


class FunctionPoints(Spec):
    """A function, and points at which to compute it."""

    function: Function
    """A job's function; a quadratic without `rotation_seed`."""
    points: Annotated[
        tuple[Vector, ...], Field(min_length=1, max_length=MOST_POINTS, fail_fast=True)
    ]
    """Points, each a list of as many numbers as the function has coordinates: of an expression its
    variables, in the order of their names."""


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
    if names is not None and not faults.errors:
        _check_points(asked, names, faults)
    if faults.errors:
        raise InvalidInputError([_of_function(error) for error in faults.errors])
    return asked


def values_at(asked: FunctionPoints) -> NDArray[np.float64]:
    """Compute the function at each point, in float64: (points,); NaN and infinities are values."""
    return np.asarray(value_at(asked.function, np.asarray(asked.points)), dtype=np.float64)


def _check_points(
    asked: FunctionPoints, names: tuple[str, ...] | int, faults: FieldErrorList
) -> None:
    """Check that each point has as many numbers as there are coordinates."""
    dim = names if isinstance(names, int) else len(names)
    coordinates = "coordinate" if dim == 1 else "coordinates"
    which = "" if isinstance(names, int) else f" ({', '.join(names[:10])})"
    for index, point in enumerate(asked.points):
        if len(point) != dim:
            message = (
                f"points.{index} must have {dim:,} numbers, since the function has {dim:,}"
                f" {coordinates}{which}; it has {len(point):,}"
            )
            faults.add(f"points.{index}", "length_mismatch", message)
        if len(faults.errors) == MAX_ERRORS:
            return
    if isinstance(asked.function, Expression):
        _check_cost(asked.function, len(asked.points), faults)


def _check_cost(function: Expression, num_points: int, faults: FieldErrorList) -> None:
    num_nodes = sum(1 for _ in postorder(parse(function.expression)))
    if num_nodes * num_points > MOST_OPERATIONS:
        message = (
            f"points: this expression, of {num_nodes:,} operations and operands, is computed at"
            f" most at {MOST_OPERATIONS // num_nodes:,} points at a time; {num_points:,} were given"
        )
        faults.add("points", "too_many_points", message)


def _of_function(error: FieldError) -> FieldError:
    """Name a field of this body, where the error names one of a job's spec."""
    param = error.param.replace(_OF_A_JOB, "function")
    return FieldError(param, error.code, error.message.replace(_OF_A_JOB, "function"))


def _renamed(error: FieldError) -> FieldError:
    """Put the reader's error into the words of these fields."""
    if error.code == "unknown_field" and "." not in error.param:
        names = " and ".join(FunctionPoints.model_fields)
        message = f"{error.param} is not a field here; the fields are {names}"
        return FieldError(error.param, error.code, message)
    return _of_function(error)
