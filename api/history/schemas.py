"""Schemas of replies with rows, for the OpenAPI document."""

from typing import Literal

from api.http.schemas import Counter, JobId, Number, View


class Rows(View):
    kind: Literal["train", "eval"]
    series: dict[str, list[Number] | list[list[Number]]]
    """Equally long columns; `step` is always there."""
    total: Counter
    """Number of rows that there are."""
    returned: Counter
    method: str
    """`exact`, or how the rows were chosen."""
    complete: bool
    """True when the job or run is terminal and these rows reach the end."""
    next_after: int | None
    first_nonfinite_step: int | None


class History(Rows):
    job_id: JobId
