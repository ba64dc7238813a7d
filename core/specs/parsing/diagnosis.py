"""The body of `POST /v1/jobs/{id}/diagnosis`: the request of a diagnosis after the job's end."""

from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Tag

from core.errors import FieldError, InvalidInputError
from core.specs.base import NonNegativeInt, Spec
from core.specs.parsing.body import read_as
from core.specs.validation.errors import shown

_NAMES: Final = ("final", "best", "initial", "raw")
_WORDS: Final = "must be final, best, initial, raw, or the step of a kept checkpoint"


def _tag(value: object) -> str:
    return "~word" if isinstance(value, str) else "~number"


class DiagnosisRequest(Spec):
    """The body of `POST /v1/jobs/{id}/diagnosis`."""

    checkpoint: Annotated[
        Annotated[Literal["final", "best", "initial", "raw"], Tag("~word")]
        | Annotated[NonNegativeInt, Tag("~number")],
        Discriminator(_tag),
    ] = "final"
    """Weights to measure: by name, or a kept checkpoint by its step."""


def parse_diagnosis_request(body: bytes) -> DiagnosisRequest:
    """Read the body of the call.

    Raises:
        InvalidInputError: with every mistake found.
    """
    asked, value, mistakes = read_as(DiagnosisRequest, body)
    if mistakes:
        raise InvalidInputError([_renamed(error, value) for error in mistakes])
    assert asked is not None
    return asked


def _renamed(error: FieldError, value: Any) -> FieldError:
    """Put the reader's error into the words of a job's fields."""
    if error.code == "unknown_field":
        message = f"{error.param} is not a field here; the only one is checkpoint"
        return FieldError(error.param, error.code, message)
    if error.param == "checkpoint" and isinstance(value, dict):
        given = shown(value.get("checkpoint"))
        message = f"checkpoint {_WORDS}; {given} was given"
        return FieldError("checkpoint", "unknown_value", message)
    return error
