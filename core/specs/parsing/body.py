"""Reading of a request's bytes into the fields of a spec: JSON, names, types and ranges; no rules
across fields."""

import json
import re
from typing import Any, Final, TypeVar

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from core.errors import FieldError, InvalidInputError
from core.specs.base import Spec
from core.specs.job import PostedJob
from core.specs.parsing.messages import field_errors
from core.specs.validation.errors import MAX_ERRORS

Model = TypeVar("Model", bound=Spec)

MAX_OBJECTS: Final = 2_000
MAX_FIELDS: Final = 20_000
_SMALL: Final = 4 * 1024
_LARGE: Final = 64 * 1024
_NUMBERS: Final = re.compile(rb"\[[-+0-9.eE,\s]*\]")


def read(body: bytes) -> tuple[PostedJob | None, Any, list[FieldError]]:
    """Call `read_as` for a job's spec, as it is posted."""
    return read_as(PostedJob, body)


def read_as(
    model: type[Model],
    body: bytes,
    *,
    max_objects: int = MAX_OBJECTS,
    max_fields: int = MAX_FIELDS,
) -> tuple[Model | None, Any, list[FieldError]]:
    """Validate the fields of a body.

    Returns:
        The spec (None with mistakes), the body as a JSON value (None where the spec is good), and
        the mistakes.

    Raises:
        InvalidInputError: when the body is no JSON object at all, or absurdly large.
    """
    _refuse_absurd(body, max_objects, max_fields)
    try:
        spec = model.model_validate_json(body)
    except ValidationError as error:
        details = error.errors(include_url=False)
        if details[0]["type"] == "json_invalid":
            raise _not_json(details[0]) from None
        value = from_json(body, allow_inf_nan=True)
        repeated = _duplicates(body) if len(body) <= _LARGE else []
        return None, value, [*field_errors(details, value, model), *repeated]
    repeated = _duplicates(body) if _may_repeat(body) else []
    return (None if repeated else spec), None, repeated


def _refuse_absurd(body: bytes, max_objects: int, max_fields: int) -> None:
    """Refuse a body with more objects or fields than any spec has; each could be a mistake to
    report."""
    objects, fields = body.count(b"{"), body.count(b":")
    if objects > max_objects or fields > max_fields:
        message = (
            f"the body has about {objects:,} objects and {fields:,} fields; it may have at most"
            f" {max_objects:,} and {max_fields:,}"
        )
        raise InvalidInputError([FieldError("", "too_many_fields", message)])


def _not_json(detail: ErrorDetails) -> InvalidInputError:
    reason = detail.get("ctx", {}).get("error", "")
    message = f"the body is not valid JSON: {reason}"
    if "recursion" in str(reason):
        message = f"the body is nested too deeply: {reason}"
    return InvalidInputError([FieldError("", "invalid_json", message)])


def _may_repeat(body: bytes) -> bool:
    """Return False where a look at the colons shows that no object of this (valid) body names a
    field twice: of a repeated name one value is left, but each has its colon."""
    if len(body) > _SMALL or b"\\" in body:  # a colon may be written as an escape
        return True
    try:
        once = orjson.dumps(orjson.loads(body))
    except ValueError:  # it takes less than pydantic does
        return True
    return body.count(b":") > once.count(b":")


def _duplicates(body: bytes) -> list[FieldError]:
    """Return the names that stand twice in one object: JSON readers differ in which value they
    take."""
    repeated: list[str] = []

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            names = [name for name, _ in pairs]
            repeated.extend(sorted({name for name in names if names.count(name) > 1}))
        return value

    if len(body) > _LARGE:
        body = _NUMBERS.sub(b"0", body)  # leaves the names, drops most of the weight
    json.loads(body, object_pairs_hook=check, parse_int=float)
    return [
        FieldError(name, "duplicate_field", f"the name {name[:80]!r} stands twice in one object")
        for name in repeated[:MAX_ERRORS]
    ]
