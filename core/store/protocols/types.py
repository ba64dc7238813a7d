"""Types that go into the store's calls and come out of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

from core.datasets import DatasetRecord, DatasetStatus
from core.errors import StoreUnavailableError
from core.jobs import JobRecord, Status
from core.specs.base import Json
from core.store.history.layout import HistoryKind, HistoryLayout, HistoryMeta
from core.studies import RunRecord, StudyRecord, TaskRecord
from core.uses.record import UseRecord
from core.webhooks.delivery import DeliveryStatus

Layouts = dict[HistoryKind, HistoryLayout]
Runs = list[RunRecord]


@dataclass(frozen=True, kw_only=True)
class NewWork:
    """A job or a study that is to be queued."""

    id: str
    spec: Json
    labels: dict[str, str]
    created_at: str
    priority: int
    max_attempts: int
    device: str
    parent_id: str | None = None
    name: str | None = None
    note: str | None = None
    owner: str | None = None
    """Owner of the key that makes it, which is `key_id`; None: no key was needed."""
    key_id: str | None = None
    request_id: str | None = None
    """Id of the request that creates it, for the log."""
    traceparent: str | None = None
    """Parent of the spans of its attempts: that request's span, or its caller's."""
    datasets: tuple[str, ...] = ()
    """Ids of the data sets that it uses."""
    memory_bytes: int = 0
    """Memory that the job, or the study's largest run by itself, takes by its estimate."""
    webhook_url: str | None = field(default=None, repr=False)
    """The whole URL of its webhook, of which the spec has the origin."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Changes of a job's or study's record that its maker asks for, whatever it is at.

    Attributes:
        fields: of `name`, `note` and `keep_until` (RFC 3339, UTC), those that change; None removes.
        labels: all that it has from then on; None: they stay.
        priority: None: it stays.
    """

    fields: dict[str, str | None] = field(default_factory=dict)
    labels: dict[str, str] | None = None
    priority: int | None = None


@dataclass(frozen=True, kw_only=True)
class NewJob(NewWork):
    """A job about to be written. `layouts` says how its histories will lie."""

    layouts: Layouts
    resolved: Json | None = None
    warnings: tuple[Json, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NewStudy(NewWork):
    """A study about to be written. Its first task, a plan, is queued with it."""

    num_runs: int
    max_updates: int
    warnings: tuple[Json, ...] = ()
    inherited: tuple[RunRecord, ...] = ()
    """Runs of the study that it was begun from, as this one has them."""


class QueuePlace(NamedTuple):
    """The place of something that waits: 0 is next. `is_limited`: a limit of its key keeps it from
    beginning now."""

    position: int
    is_limited: bool = False


@dataclass(frozen=True)
class Created:
    """A job that was created. `replayed`: the key was known with the same fingerprint, and this is
    the earlier job. `num_workers`: alive at that moment; `place` None: it is not queued."""

    job: JobRecord
    replayed: bool
    place: QueuePlace | None = None
    num_workers: int = 0

    @property
    def record(self) -> JobRecord:
        return self.job


@dataclass(frozen=True)
class CreatedStudy:
    """A study that was created; otherwise as `Created`."""

    study: StudyRecord
    replayed: bool
    place: QueuePlace | None = None
    num_workers: int = 0

    @property
    def record(self) -> StudyRecord:
        return self.study


@dataclass(frozen=True)
class JobPage:
    jobs: tuple[JobRecord, ...]
    has_more: bool

    @property
    def records(self) -> tuple[JobRecord, ...]:
        return self.jobs


@dataclass(frozen=True)
class StudyPage:
    studies: tuple[StudyRecord, ...]
    has_more: bool

    @property
    def records(self) -> tuple[StudyRecord, ...]:
        return self.studies


@dataclass(frozen=True)
class DatasetPage:
    datasets: tuple[DatasetRecord, ...]
    has_more: bool

    @property
    def records(self) -> tuple[DatasetRecord, ...]:
        return self.datasets


@dataclass(frozen=True)
class Used:
    """Sums of what records have used, and how many they are; of the peaks the largest."""

    count: int = 0
    device_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    stored_bytes: int = 0

    def __add__(self, other: "Used") -> "Used":
        return Used(
            self.count + other.count,
            self.device_s + other.device_s,
            self.cpu_s + other.cpu_s,
            max(self.peak_memory_bytes, other.peak_memory_bytes),
            self.stored_bytes + other.stored_bytes,
        )


@dataclass(frozen=True)
class Stamp:
    """Version and status of a record: they tell whether it has changed, without the record."""

    version: int
    status: Status | DatasetStatus


@dataclass(frozen=True)
class Snapshot:
    """State of a job, a study or a run at one moment, as it is stored, but for rows.

    Attributes:
        stamp: changes with everything that is here.
        record: of the job, study or run.
        histories: by kind; none of a study.
        diagnosis_mark: changes with the job's diagnosis; empty while there is none.
    """

    stamp: str
    record: JobRecord | StudyRecord | RunRecord
    histories: Mapping[HistoryKind, HistoryMeta] = field(default_factory=dict)
    diagnosis_mark: str = ""


EventKind = Literal["status", "diagnosis", "end", "run"]


@dataclass(frozen=True)
class LogEntry:
    """An entry of the log: what happened, and to which job, study or run (`core.studies.run_id`).
    Entries are numbered one after another, from 1 on. `owner`: whose it was then."""

    number: int
    what: EventKind
    name: str
    owner: str | None = None


@dataclass(frozen=True)
class LogPage:
    """Entries of the log. `first`: the number of the oldest that there is, of `last` the newest;
    0 while there is none."""

    entries: tuple[LogEntry, ...]
    first: int
    last: int


@dataclass(frozen=True)
class TaskClaim:
    """A task that this worker holds: `token` fences all its writes, `attempt` counts the claims,
    `memory_bytes` as of `Claim`."""

    study: StudyRecord
    task: TaskRecord
    token: int
    attempt: int
    memory_bytes: int = 0


@dataclass(frozen=True)
class NewRun:
    """A run that has been planned, and how its histories will lie."""

    record: RunRecord
    layouts: Layouts


@dataclass(frozen=True)
class Round:
    """The decision of a plan: tasks that may go side by side, and what becomes of the runs.

    Attributes:
        tasks: of kind `train`, all of the next round.
        new: runs that are there from now on.
        changed: records of runs that are written anew (stopped ones).
    """

    tasks: tuple[TaskRecord, ...]
    new: tuple[NewRun, ...] = ()
    changed: tuple[RunRecord, ...] = field(default=())


class StorageFullError(StoreUnavailableError):
    """The disk of the store has no more free than is reserved: nothing was written; try later."""

    code: ClassVar[str] = "storage_full"


class QueueFullError(StoreUnavailableError):
    """`max_queued_jobs` are waiting already: nothing was written; try later."""

    code: ClassVar[str] = "queue_full"


class NoWorkerError(StoreUnavailableError):
    """The refusal of what a worker is needed for while none is alive: try later."""

    code: ClassVar[str] = "no_worker"


@dataclass(frozen=True)
class Idempotency:
    """An idempotency key: `key` as the client sent it (scoped by caller); `fingerprint` of the body
    it came with."""

    key: str
    fingerprint: str
    ttl_s: int


@dataclass(frozen=True)
class JobFilter:
    statuses: tuple[Status | DatasetStatus | DeliveryStatus, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    created_after: str | None = None
    owner: str | None = None
    """Owner of what is wanted; None: of whomever."""


@dataclass(frozen=True)
class WorkerInfo:
    """A worker's report of itself. Times are RFC 3339 strings."""

    name: str
    devices: tuple[str, ...]
    queues: tuple[str, ...]
    current_job: str | None
    last_heartbeat: str
    started_at: str
    pid: int
    memory_bytes: dict[str, int] = field(default_factory=dict)
    """All the memory of each device of which it is known."""


@dataclass(frozen=True)
class DeviceLoad:
    """The load of one class of devices.

    Attributes:
        queued: jobs and tasks of studies that wait for one.
        limited: those that wait for a limit of their key instead.
        oldest_s: age of the oldest of the queued, from the time its job or study was created; 0
            without.
        running: jobs and tasks that are at work on one.
        steps_per_s: updates a second, all that runs together.
    """

    queued: int
    limited: int
    oldest_s: float
    running: int
    steps_per_s: float


@dataclass(frozen=True)
class DeviceUse:
    """The use that a running job makes of its device (`cuda:0`): the latest sample's. None: it is
    not told."""

    worker: str
    device: str
    percent: float | None
    memory_bytes: float | None


@dataclass(frozen=True)
class Totals:
    """The state of the whole service, for whoever watches it.

    Attributes:
        counts: what has happened since the store was made, by words with spaces between:
            `created job cpu`, `ended job succeeded converged`, `attempt lost gpu`.
        records: how many there are, by noun (`job`, `study`) and status.
        devices: by class: `cpu`, `gpu`, and `auto` (waits for either).
        queued_diagnoses: asked for after the end of their jobs, and not begun.
        waiting_messages: of webhooks, that were not delivered yet; and for how long the oldest of
            them has been tried.
    """

    counts: dict[str, int]
    records: dict[tuple[str, str], int]
    devices: dict[str, DeviceLoad]
    queued_diagnoses: int
    waiting_messages: int = 0
    oldest_message_s: float = 0.0
    uses: tuple[DeviceUse, ...] = ()


@dataclass(frozen=True)
class StoreMemory:
    """The memory that the store's server uses and may use, in bytes; `limit_bytes` 0: no limit."""

    used_bytes: int
    limit_bytes: int


@dataclass(frozen=True)
class ServiceState:
    """The store's answers about the whole service; `memory` None: its server does not tell."""

    totals: Totals
    workers: Sequence[WorkerInfo]
    memory: StoreMemory | None


@dataclass(frozen=True)
class Claim:
    """A job that this worker holds: `token` fences all its writes.

    `attempt` is the attempt's number; `layouts` those of the job's histories; `memory_bytes` as of
    `NewWork`, 0 where it is little or not known.
    """

    job: JobRecord
    token: int
    attempt: int
    layouts: dict[HistoryKind, HistoryLayout] = field(default_factory=dict)
    memory_bytes: int = 0


Wanted = Literal["running", "pausing", "cancelling"]
"""Request to whoever holds a claim: to go on, to hand it over for a pause, or to stop."""


@dataclass(frozen=True)
class DiagnosisClaim:
    """A diagnosis that this worker makes: of a terminal job, at `checkpoint` (`final`, `best`,
    `initial`, or a step's digits)."""

    job: JobRecord
    token: int
    checkpoint: str


@dataclass(frozen=True)
class UseClaim:
    """A use of weights that this worker makes."""

    use: UseRecord
    token: int
