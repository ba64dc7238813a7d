"""Schemas of replies with rows, for the OpenAPI document."""

from typing import Literal

from api.http.schemas import Counter, JobId, Number, View


class Rows(View):
    kind: Literal["train", "eval", "system"]
    series: dict[str, list[Number | None] | list[list[Number]]]
    """Equally long columns; `step` (of `system` rows `time_s`) is always there. Null in `system`
    rows: not known, as of a GPU where there is none."""
    total: Counter
    """Number of rows that there are."""
    returned: Counter
    method: str
    """`exact`, or how the rows were chosen."""
    complete: bool
    """True when the job or run is terminal and these rows reach the end."""
    next_after: float | None
    first_nonfinite_step: int | None


class History(Rows):
    job_id: JobId
