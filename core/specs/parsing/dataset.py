"""The body of `PATCH /v1/datasets/{id}`: a JSON merge patch (RFC 7396) on what may be changed."""

from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import Field

from core.errors import FieldError, InvalidInputError
from core.specs.base import Json, Spec
from core.specs.job import LABEL_PATTERN
from core.specs.parsing.body import read_as
from core.specs.parsing.change import Moment
from core.specs.validation.errors import shown

MOST_LABELS: Final = 64
_FIELDS: Final = "name, labels and keep_until"
LabelName = Annotated[str, Field(pattern=LABEL_PATTERN)]
LabelValue = Annotated[str, Field(max_length=255)]


class DatasetPatch(Spec):
    """The body of `PATCH /v1/datasets/{id}`. What is left out stays; null removes."""

    name: Annotated[str, Field(max_length=200)] | None = None
    """A name to know it by."""
    labels: dict[LabelName, LabelValue | None] | None = None
    """Names and values that are added or changed; a value of null removes its label."""
    keep_until: Moment | None = None
    """A time (RFC 3339) until which the data set is neither removed for its age nor deleted."""

    def labels_on(self, before: dict[str, str]) -> dict[str, str] | None:
        """Return the labels that come of it; None where it says nothing of them.

        Raises:
            InvalidInputError: they are too many.
        """
        if "labels" not in self.model_fields_set:
            return None
        merged = {**before, **self.labels} if self.labels is not None else {}
        labels = {name: value for name, value in merged.items() if value is not None}
        if len(labels) > MOST_LABELS:
            message = f"labels: there may be {MOST_LABELS} at most; these would be {len(labels)}"
            raise InvalidInputError([FieldError("labels", "too_many", message)])
        return labels

    def changes(self) -> Json:
        """Return the record's other fields that change; None removes one."""
        found: Json = {}
        if "name" in self.model_fields_set:
            found["name"] = self.name
        if "keep_until" in self.model_fields_set:
            found["keep_ms"] = None if self.keep_until is None else _milliseconds(self.keep_until)
        return found


def parse_patch(body: bytes) -> DatasetPatch:
    """Read the body of the call.

    Raises:
        InvalidInputError: with every mistake found.
    """
    patch, _, mistakes = read_as(DatasetPatch, body)
    errors = [_renamed(error) for error in mistakes]
    if patch is not None and patch.name is not None and not _is_name(patch.name):
        message = f"name must be printable text; {shown(patch.name)} was given"
        errors.append(FieldError("name", "name", message))
    if errors:
        raise InvalidInputError(errors)
    assert patch is not None
    return patch


def _renamed(error: FieldError) -> FieldError:
    """Put the reader's error for an unknown field into the words of a data set."""
    if error.code != "unknown_field" or "." in error.param:
        return error
    message = f"{error.param} cannot be changed; the fields that can are {_FIELDS}"
    return FieldError(error.param, error.code, message)


def _is_name(text: str) -> bool:
    return text.isprintable() and bool(text.strip())


def _milliseconds(text: str) -> int:
    moment = datetime.fromisoformat(text).astimezone(UTC)
    return round(1000 * moment.timestamp())
