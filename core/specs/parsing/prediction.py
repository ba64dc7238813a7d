"""The body of `POST …/predictions`: rows to predict, or a data set that has them."""

from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, Tag, WithJsonSchema

from core.errors import FieldError, InvalidInputError
from core.specs.base import DATA_PATTERN, NonNegativeInt, Spec
from core.specs.parsing.body import read_as
from core.specs.validation.errors import shown

CHECKPOINT_WORDS: Final = ("final", "best", "initial", "raw")
_ROW: Final = {
    "anyOf": [
        {"type": "array", "items": {}, "minItems": 1},
        {"type": "object", "additionalProperties": True},
        {"type": "string", "minLength": 1},
    ]
}
_FIELDS_OF_ROWS: Final = 50_000_000
"""Objects and fields of a body at most: rows are bounded by its bytes."""


def _tag(value: object) -> str:
    return "~word" if isinstance(value, str) else "~number"


Row = Annotated[Any, WithJsonSchema(_ROW)]
Target = Annotated[Any, WithJsonSchema({})]


class PredictionRequest(Spec):
    """Rows to predict: `features`, or a `dataset`."""

    features: Annotated[tuple[Row, ...], Field(min_length=1)] | None = None
    """Rows, each a list of numbers in the order of the model's columns, or an object of columns and
    values; null where a value is missing and the model knows what takes its place. Of a forecast
    rows of the series in the order of time, features and targets; of a model of language texts."""
    windows: Literal["last", "all"] | None = None
    """Windows of a forecast: `last` (the default) tells what comes after the last row, `all` what
    comes after each row that has enough rows before it. Null for other models."""
    targets: Annotated[tuple[Target, ...], Field(min_length=1)] | None = None
    """Targets of the rows, one a row, for metrics: classes by name, or values. Rows that are
    objects may have theirs among them instead."""
    dataset: Annotated[str, Field(pattern=DATA_PATTERN)] | None = None
    """Id of an uploaded data set with the model's columns, in place of `features`; where it has the
    target too, there are metrics."""
    checkpoint: Annotated[
        Annotated[Literal["final", "best", "initial", "raw"], Tag("~word")]
        | Annotated[NonNegativeInt, Tag("~number")],
        Discriminator(_tag),
    ] = "final"
    """Weights to predict with: by name, or a kept checkpoint by its step."""


def parse_prediction_request(body: bytes) -> PredictionRequest:
    """Read the body of the call.

    Raises:
        InvalidInputError: with every mistake found.
    """
    asked, value, mistakes = read_as(
        PredictionRequest, body, max_objects=_FIELDS_OF_ROWS, max_fields=_FIELDS_OF_ROWS
    )
    if mistakes:
        raise InvalidInputError([_renamed(error, value) for error in mistakes])
    assert asked is not None
    if (asked.features is None) == (asked.dataset is None):
        both = asked.features is not None
        message = (
            "features and dataset: both are given; leave one out"
            if both
            else "features is required: rows to predict, or in its place the id of a dataset"
        )
        code = "conflict" if both else "missing"
        raise InvalidInputError([FieldError("dataset" if both else "features", code, message)])
    if asked.targets is not None and asked.features is None:
        message = "targets: go with features; a data set has its own in the column of the target"
        raise InvalidInputError([FieldError("targets", "conflict", message)])
    return asked


def _renamed(error: FieldError, value: Any) -> FieldError:
    """Put the reader's error into the words of these fields."""
    given = value if isinstance(value, dict) else {}
    if error.code == "unknown_field":
        names = ", ".join(PredictionRequest.model_fields)
        message = f"{error.param} is not a field here; the fields are {names}"
        return FieldError(error.param, error.code, message)
    if error.code == "duplicate_field":
        return error
    if error.param == "checkpoint":
        words = f"{', '.join(CHECKPOINT_WORDS)}, or the step of a kept checkpoint"
        message = f"checkpoint must be {words}; {shown(given.get('checkpoint'))} was given"
        return FieldError("checkpoint", "unknown_value", message)
    if error.param == "features":
        what = given.get("features")
        if what == []:
            return FieldError("features", "no_rows", "features: has no rows; give at least one")
        message = f"features must be a list of rows; {shown(what)} was given"
        return FieldError("features", error.code, message)
    return error
