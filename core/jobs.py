"""The job's record and the table of moves that its status may make."""

from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

Status = Literal["queued", "running", "cancelling", "succeeded", "cancelled", "failed"]
Outcome = Literal["converged", "stalled", "budget_exhausted", "diverged"]
AttemptEnd = Literal["finished", "lost", "handed_over", "cancelled", "failed"]
Event = Literal[
    "created", "queued", "claimed", "phase", "intervention", "restarted", "cancel_requested",
    "handed_over", "lost", "ended", "omitted",
]  # fmt: skip

STATUSES: Final[tuple[Status, ...]] = get_args(Status)
TERMINAL: Final[frozenset[Status]] = frozenset({"succeeded", "cancelled", "failed"})

MOVES: Final[dict[Status, frozenset[Status]]] = {
    "queued": frozenset({"running", "cancelled", "failed"}),
    "running": frozenset({"queued", "cancelling", "succeeded", "failed"}),
    "cancelling": frozenset({"cancelled", "succeeded", "failed"}),
    "succeeded": frozenset(),
    "cancelled": frozenset(),
    "failed": frozenset(),
}
"""The only moves there are; the store's scripts are generated from this table."""

HELD: Final[frozenset[Status]] = frozenset({"running", "cancelling"})
"""An attempt holds the job: it has a lease and a fencing token."""

MOST_ENTRIES: Final = 100
"""Of a timeline. Where there would be more, the middle ones go: `omitted` says how many."""

Json = dict[str, Any]


@dataclass(frozen=True)
class TimelineEntry:
    """What happened to a job or a study, and when (RFC 3339).

    `detail` depends on the event: the queue of `queued`, the worker of `claimed`, `handed_over` and
    `lost`, the name of a `phase`, the status of `ended`; None where there is nothing to add.
    """

    at: str
    event: Event
    detail: str | None = None


Timeline = tuple[TimelineEntry, ...]


@dataclass(frozen=True)
class Attempt:
    """A worker's attempt at a job. Times are RFC 3339 strings."""

    number: int
    worker: str
    device: str | None
    started_at: str
    ended_at: str | None = None
    end: AttemptEnd | None = None


@dataclass(frozen=True)
class JobRecord:
    """All that is stored of a job, but for its history and artifacts.

    `spec` is the resolved spec as JSON; `progress` holds `step`, `max_steps`, `steps_per_s`;
    `result`, `diagnosis`, `error`, `latest`, `best` have the contract's shapes.
    """

    id: str
    status: Status
    spec: Json
    created_at: str
    outcome: Outcome | None = None
    phase: str | None = None
    resolved: Json = field(default_factory=dict)
    progress: Json = field(default_factory=dict)
    latest: Json | None = None
    best: Json | None = None
    result: Json | None = None
    diagnosis: Json | None = None
    error: Json | None = None
    attempts: tuple[Attempt, ...] = ()
    checkpoints: tuple[Json, ...] = ()
    interventions: tuple[Json, ...] = ()
    """Interventions of `on_divergence`, in order: `step`, `action`, `reason`, rates before and
    after."""
    labels: dict[str, str] = field(default_factory=dict)
    parent_id: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    cancel_requested_at: str | None = None
    asked_diagnosis: str | None = None
    """The checkpoint for which a diagnosis was asked after the end, until it is there or has
    failed (`failed_diagnosis` then says why)."""
    failed_diagnosis: str | None = None
    timeline: Timeline = ()
    """What happened to it, in order; empty where it was stored before there were timelines."""
    version: int = 0
    """Grows with every change of the record; the API's ETag."""

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL
