"""The job's record and the table of moves that its status may make."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, NamedTuple, get_args

from core.specs.base import Json

Status = Literal["queued", "running", "paused", "cancelling", "succeeded", "cancelled", "failed"]
Outcome = Literal["converged", "stalled", "budget_exhausted", "diverged"]
AttemptEnd = Literal["finished", "lost", "handed_over", "paused", "cancelled", "failed"]
Event = Literal[
    "created", "queued", "claimed", "phase", "intervention", "restarted", "extended",
    "pause_requested", "paused", "resumed", "checkpoint_requested", "cancel_requested",
    "handed_over", "lost", "ended", "omitted",
]  # fmt: skip

STATUSES: Final[tuple[Status, ...]] = get_args(Status)
TERMINAL: Final[frozenset[Status]] = frozenset({"succeeded", "cancelled", "failed"})

MOVES: Final[dict[Status, frozenset[Status]]] = {
    "queued": frozenset({"running", "paused", "cancelled", "failed"}),
    "running": frozenset({"queued", "paused", "cancelling", "succeeded", "failed"}),
    "paused": frozenset({"queued", "cancelled"}),
    "cancelling": frozenset({"cancelled", "succeeded", "failed"}),
    "succeeded": frozenset(),
    "cancelled": frozenset(),
    "failed": frozenset(),
}
"""The only moves there are; the store's scripts are generated from this table."""

HELD: Final[frozenset[Status]] = frozenset({"running", "cancelling"})
"""An attempt holds the job: it has a lease and a fencing token."""

MOST_ENTRIES: Final = 100
"""Length of a timeline at most. Where there would be more, the middle ones go: `omitted` says how
many."""


@dataclass(frozen=True)
class Stored:
    """The way in which a field of a record lies in its hash in Redis. It stands in the field's
    annotation, and `core.store.calls.codec` reads it there.

    Attributes:
        form: `json` keeps NaN and infinities; `packed` is the same, compressed where it is long
            (`core.store.packing`); `spec` is packed JSON without them; `list` is a packed JSON
            list, a tuple here; `apart`: not in one field of that hash, and read by its own
            function.
        set_by: the first call by which an attempt may set it; None: scripts write it.
        key: the hash's field, where that has another name.
    """

    form: Literal["text", "number", "json", "packed", "spec", "list", "timeline", "usage", "apart"]
    set_by: Literal["update", "close"] | None = None
    key: str | None = None


TEXT: Final = Stored("text")
NUMBER: Final = Stored("number")
JSON: Final = Stored("json")
APART: Final = Stored("apart")


class TimelineEntry(NamedTuple):
    """An event in the life of a job or a study, and its time (RFC 3339).

    `detail` depends on the event: the queue of `queued`, the worker of `claimed`, `handed_over` and
    `lost`, the name of a `phase`, the status of `ended`; None where there is nothing to add.
    """

    at: str
    event: str
    """One of `Event`; or of a later version's."""
    detail: str | None = None


@dataclass(frozen=True)
class Timeline:
    """The events in the life of a job or a study, in order; empty where it was stored without one.

    Attributes:
        text: as it is stored: a line for each entry, its parts with spaces between. It is taken
            apart for those who ask for the entries only: most who read a record do not.
    """

    text: str = ""

    @classmethod
    def of(cls, entries: Iterable[TimelineEntry]) -> "Timeline":
        """Return the timeline of these entries. Of a detail, control characters become spaces."""
        words = ((entry.at, entry.event, entry.detail or "") for entry in entries)
        return cls(
            "".join(f"{at} {event} {_CONTROL.sub(' ', last)}\n" for at, event, last in words)
        )

    @classmethod
    def begun(cls, created_at: str, queue: str) -> "Timeline":
        """Return the timeline of what has just been created."""
        return cls(f"{created_at} created \n{created_at} queued {queue}\n")

    @property
    def entries(self) -> list[TimelineEntry]:
        lines = [line.split(" ", 2) for line in self.text.split("\n")[:-1]]
        return [TimelineEntry(at, event, detail or None) for at, event, detail in lines]


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


NO_TIMELINE: Final = Timeline()


@dataclass(frozen=True)
class Usage:
    """The resources that a job or study has used; None: not measured."""

    peak_memory_bytes: int | None = None
    """Peak memory of the process that trained, on a GPU its memory included, as it was measured; of
    several attempts or tasks the largest."""
    cpu_s: float | None = None
    """Processor time of the process that trained, over all attempts that came to an answer."""
    stored_bytes: int | None = None
    """Bytes of kept weights and checkpoints, and of rows."""
    device_s: float | None = None
    """Time for which attempts have held a device, by the store's clock, of those that have ended.
    The store counts it."""


@dataclass(frozen=True)
class Attempt:
    """A worker's attempt at a job. Times are RFC 3339 strings."""

    number: int
    worker: str
    device: Annotated[str | None, Stored("text", "update")]
    started_at: str
    ended_at: str | None = None
    end: AttemptEnd | None = None


@dataclass(frozen=True)
class JobRecord:
    """All that is stored of a job, but for its history and artifacts. This is the one place that
    names its fields: the codec and the calls of an attempt follow from the annotations, and replies
    take from here what they show (`api.jobs.schemas.Job`).

    `spec` is the resolved spec as JSON; `progress` holds `step`, `max_steps`, `steps_per_s`;
    `result`, `diagnosis`, `error`, `latest`, `best` have the contract's shapes.
    """

    id: Annotated[str, TEXT]
    status: Annotated[Status, TEXT]
    spec: Annotated[Json, Stored("spec", "update")]
    created_at: Annotated[str, TEXT]
    outcome: Annotated[Outcome | None, Stored("text", "close")] = None
    phase: Annotated[str | None, Stored("text", "update")] = None
    resolved: Annotated[Json, Stored("json", "update")] = field(default_factory=dict)
    data: Annotated[Json | None, Stored("json", "update")] = None
    """Rows of each part, features and classes; None before they are loaded, and of functions."""
    progress: Annotated[Json, Stored("json", "update")] = field(default_factory=dict)
    latest: Annotated[Json | None, Stored("json", "update")] = None
    best: Annotated[Json | None, Stored("json", "update")] = None
    result: Annotated[Json | None, Stored("json", "close")] = None
    diagnosis: Annotated[Json | None, Stored("packed", "update")] = None
    error: Annotated[Json | None, Stored("json", "close")] = None
    attempts: Annotated[tuple[Attempt, ...], APART] = ()
    checkpoints: Annotated[tuple[Json, ...], Stored("list", "update")] = ()
    checkpoints_kept: Annotated[int, Stored("number", "update")] = 0
    """The number of the last request for a checkpoint that was answered."""
    interventions: Annotated[tuple[Json, ...], Stored("list", "update")] = ()
    """Interventions of `on_divergence`, in order: `step`, `action`, `reason`, rates before and
    after."""
    labels: Annotated[dict[str, str], JSON] = field(default_factory=dict)
    parent_id: Annotated[str | None, TEXT] = None
    started_at: Annotated[str | None, TEXT] = None
    finished_at: Annotated[str | None, TEXT] = None
    cancel_requested_at: Annotated[str | None, TEXT] = None
    pause_requested_at: Annotated[str | None, TEXT] = None
    """The time of the last pause that was asked for, unless it was resumed since."""
    name: Annotated[str | None, TEXT] = None
    """The name that its maker gave it, and `note` the words; neither is a part of the spec."""
    note: Annotated[str | None, TEXT] = None
    keep_until: Annotated[str | None, TEXT] = None
    """The time until which neither `DELETE` nor the retention takes it."""
    priority: Annotated[int | None, NUMBER] = None
    """The priority that it was given later; None: the spec's."""
    warnings: Annotated[tuple[Json, ...], Stored("list")] = ()
    """Doubts about what was allowed when it was posted: `{"param", "code", "message"}` each."""
    asked_diagnosis: Annotated[str | None, Stored("text", key="ask:checkpoint")] = None
    """The checkpoint for which a diagnosis was asked after the end, until it is there or has
    failed (`failed_diagnosis` then says why)."""
    failed_diagnosis: Annotated[str | None, Stored("text", key="ask:failed")] = None
    timeline: Annotated[Timeline, Stored("timeline", "update")] = NO_TIMELINE
    usage: Annotated[Usage | None, Stored("usage", "update")] = None
    owner: Annotated[str | None, TEXT] = None
    """The owner of the key that made it; None: made without a key, so that `admin` alone sees it
    once there are keys."""
    key_id: Annotated[str | None, TEXT] = None
    """The key that made it."""
    request_id: Annotated[str | None, TEXT] = None
    """Id of the request that created it, for the log."""
    traceparent: Annotated[str | None, TEXT] = None
    webhook_url: Annotated[str | None, Stored("text", key="hook:url")] = field(
        default=None, repr=False
    )
    """The whole URL of its webhook: the spec has its origin."""
    version: Annotated[int, NUMBER] = 0
    """Grows with every change of the record; the API's ETag."""

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def current_priority(self) -> int:
        """The priority that it waits with."""
        return priority_of(self.spec) if self.priority is None else self.priority

    @property
    def current_spec(self) -> Json:
        """The spec with the priority that it has now, as it is shown."""
        if self.priority is None:
            return self.spec
        return {**self.spec, "priority": self.priority}


def priority_of(spec: Json) -> int:
    """Return the priority in a job's spec."""
    return int(spec.get("priority", 5))
