"""The body of `PATCH` of a job or study: a JSON merge patch (RFC 7396)."""

from typing import Annotated, Final

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from core.errors import FieldError, InvalidInputError
from core.ids import utc_text
from core.specs.base import WHOLE, Spec
from core.specs.job import LABEL_PATTERN, Name, Note
from core.specs.parsing.body import read_as

MAX_LABELS: Final = 64


def _moment(text: str) -> str:
    if (found := utc_text(text)) is None:
        raise PydanticCustomError(
            "rfc3339", "must be an RFC 3339 time with an offset, such as 2027-01-31T00:00:00Z"
        )
    return found


Moment = Annotated[str, AfterValidator(_moment), Field(json_schema_extra={"format": "date-time"})]
"""A time of RFC 3339, with an offset."""


class RecordChange(Spec):
    """The body of `PATCH`: what is given changes, null removes, all else stays."""

    name: Name | None = None
    """The name to show for it; one line."""
    note: Note | None = None
    """Words about it."""
    labels: (
        Annotated[
            dict[
                Annotated[str, Field(pattern=LABEL_PATTERN)],
                Annotated[str, Field(max_length=255)] | None,
            ],
            Field(max_length=2 * MAX_LABELS),
        ]
        | None
    ) = None
    """Labels to set, or with null to remove; null for all of them. `spec.labels` stays."""
    keep_until: Moment | None = None
    """The time until which neither `DELETE` nor the retention removes it."""
    priority: Annotated[int, Field(ge=0, le=9), WHOLE] = 5
    """Priority to wait with: 0 to 9, 9 first. While it is queued or paused only."""


def parse_change(body: bytes) -> RecordChange:
    """Read the body of the call; `model_fields_set` of the result says what is given.

    Raises:
        InvalidInputError: with every mistake found.
    """
    asked, _, mistakes = read_as(RecordChange, body)
    if mistakes:
        raise InvalidInputError([_renamed(error) for error in mistakes])
    assert asked is not None
    return asked


def _renamed(error: FieldError) -> FieldError:
    """Put the reader's error for an unknown field into the words of this call."""
    if error.code != "unknown_field" or "." in error.param:
        return error
    known = ", ".join(RecordChange.model_fields)
    message = f"{error.param} cannot be changed; what can be is {known}"
    return FieldError(error.param, error.code, message)


def merged_labels(labels: dict[str, str], asked: RecordChange) -> dict[str, str] | None:
    """Return the labels after the change; None where they stay what they are.

    Raises:
        InvalidInputError: there would be too many.
    """
    if "labels" not in asked.model_fields_set:
        return None
    given = dict.fromkeys(labels) if asked.labels is None else asked.labels
    merged = {name: value for name, value in {**labels, **given}.items() if value is not None}
    if len(merged) > MAX_LABELS:
        message = (
            f"labels: there would be {len(merged)}, and there may be {MAX_LABELS}; remove some by"
            " giving null for them"
        )
        raise InvalidInputError([FieldError("labels", "too_long", message)])
    return None if merged == labels else merged
