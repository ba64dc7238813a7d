"""A job, or study, made of another's: its resolved spec with a patch."""

import json
from dataclasses import replace
from typing import Annotated, Any, Final, TypeVar

from pydantic import Field

from core.errors import FieldError, InvalidInputError
from core.specs.base import Json, Spec
from core.specs.job import JOB_PATTERN, STUDY_PATTERN, Name, Note
from core.specs.parsing.body import read_as
from core.specs.parsing.remedy import merge
from core.specs.validation.limits import Limits
from core.specs.webhooks.url import mistake_in

FROM: Final = "from"
"""The field that tells such a body from a spec."""


class Clone(Spec):
    """Fields that both bodies have besides their source."""

    patch: dict[str, Any] = {}  # noqa: RUF012 (pydantic copies it)
    """JSON merge patch (RFC 7396) on the resolved spec; an object with another `kind` replaces the
    old one whole."""
    name: Name | None = None
    """The name to show for it; one line."""
    note: Note | None = None
    """Words about it."""


class JobClone(Clone):
    """The body of `POST /v1/jobs` that makes a job of another's spec."""

    source: Annotated[
        str, Field(alias=FROM, pattern=JOB_PATTERN, description="The job, whatever its status.")
    ]


class StudyClone(Clone):
    """The body of `POST /v1/studies` that makes a study of another's spec."""

    source: Annotated[
        str, Field(alias=FROM, pattern=STUDY_PATTERN, description="The study, whatever its status.")
    ]


Asked = TypeVar("Asked", JobClone, StudyClone)


def parse_clone(model: type[Asked], body: bytes) -> Asked | None:
    """Read the body of the call; None where it is a spec, which has no `from`.

    Raises:
        InvalidInputError: with every mistake found.
    """
    if b'"from"' not in body or not _has_source(body):
        return None
    asked, _, mistakes = read_as(model, body)
    if mistakes:
        raise InvalidInputError(mistakes)
    assert asked is not None
    return asked


def _has_source(body: bytes) -> bool:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and FROM in value


def cloned(spec: Json, asked: JobClone | StudyClone, limits: Limits) -> tuple[bytes, Limits]:
    """Return the body of the spec that is asked for, and the limits to read it with: what `spec`,
    the resolved one of the source, was accepted with is accepted again.

    Raises:
        InvalidInputError: the patch gives the webhook another URL that is none.
    """
    merged = merge(spec, asked.patch)
    webhook = asked.patch.get("webhook")
    url = webhook.get("url") if isinstance(webhook, dict) else None
    if isinstance(url, str) and (wrong := mistake_in(url, limits.webhook_allow)) is not None:
        message = f"webhook.url {wrong.message}"
        raise InvalidInputError([FieldError("webhook.url", wrong.code, message)])
    own = {"name": asked.name, "note": asked.note}
    body = {**merged, **{name: value for name, value in own.items() if value is not None}}
    return json.dumps(body).encode(), replace(limits, stored=True)
