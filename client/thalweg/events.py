"""Events of a stream, and how a job that is asked again and again is told as events."""

from dataclasses import dataclass
from typing import Any, Final

from thalweg.history import History, from_json

POLL_S: Final = 0.5
"""Seconds between two looks at something that has no stream."""
SILENT_S: Final = 45.0
"""The longest silence of a stream that lives: the service says something each 15 s."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a job or a study.

    Attributes:
        type: `status` (the job as it is now), `points` (rows), `diagnosis`, `run` (of a study: one
            ended), `reset` (events were missed; what follows is the present state) or `end`.
        data: what the service sent.
        rows: the rows of `points`, else None.
        id: its name for going on behind it.
    """

    type: str
    data: dict[str, Any]
    rows: History | None = None
    id: str | None = None

    @classmethod
    def of(cls, type: str, data: dict[str, Any], id: str | None) -> "Event":  # noqa: A002
        """Make an event of what came over a stream."""
        rows = None
        if type == "points":
            of = str(data.get("job_id") or data.get("study_id") or "")
            rows = History(of, str(data.get("kind", "train")), from_json(data["series"]))
        return cls(type, data, rows, id)
