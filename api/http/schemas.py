"""What replies of every kind are made of, for the OpenAPI document; and errors."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.jobs import Event

Number = float | Literal["NaN", "Infinity", "-Infinity"]
"""A number; one that is not finite is a string."""
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
JobId = Annotated[str, Field(pattern=r"^job_[0-9a-hjkmnp-tv-z]{26}$")]
StudyId = Annotated[str, Field(pattern=r"^study_[0-9a-hjkmnp-tv-z]{26}$")]
Counter = Annotated[int, Field(ge=0)]


class View(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid", defer_build=True)


class TimelineEntryView(View):
    """What happened, and when."""

    at: Time
    event: Event
    """Where a timeline would be too long, `omitted` stands for what went out of its middle."""
    detail: str | None
    """The worker, the queue, the name of the phase, the status at the end, and so on."""


class Mistake(View):
    param: str
    """Dotted path of the field, or the parameter's name; empty for the body as a whole."""
    code: str
    message: str


class Problem(View):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    """Stable, snake_case."""
    errors: list[Mistake] = []
    """With 422: every mistake."""
    checks: dict[str, str] = {}
    """With 503 from /readyz: each part and `ok` or what is wrong."""


class Page(View):
    has_more: bool
    next_cursor: str | None
