"""What the service asks of its store: one protocol for the API (async), one for workers (sync).

Both speak to the same Redis through the same Lua scripts. Every change of a job is one script:
it checks the move against `core.jobs.MOVES`, bumps the record's `version`, announces the id of a
job that has ended on the `ended` channel, and (workers only) refuses a stale fencing token.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from core.errors import StoreUnavailableError
from core.jobs import AttemptEnd, JobRecord, Outcome, Status
from core.store.layout import Columns, HistoryKind, HistoryLayout, HistoryMeta, Rows

if TYPE_CHECKING:
    from core.store.studies_base import ApiStudies, TaskClaim, WorkerStudies

Json = dict[str, Any]


class QueueFullError(StoreUnavailableError):
    """`max_queued_jobs` are waiting already: nothing was written; try later."""

    code: ClassVar[str] = "queue_full"


@dataclass(frozen=True)
class NewJob:
    """A job about to be written.

    `history` lays out its rows: see `HistoryLayout`.
    """

    id: str
    spec: Json
    labels: dict[str, str]
    created_at: str
    priority: int
    max_attempts: int
    device: str
    layouts: "dict[HistoryKind, HistoryLayout]"
    parent_id: str | None = None
    resolved: Json | None = None


@dataclass(frozen=True)
class Idempotency:
    """`key` as the client sent it (scoped by caller); `fingerprint` of the body it came with."""

    key: str
    fingerprint: str
    ttl_s: int


@dataclass(frozen=True)
class Created:
    """`replayed`: the key was known with the same fingerprint, and this is the earlier job."""

    job: JobRecord
    replayed: bool
    queue_position: int | None = None


@dataclass(frozen=True)
class JobFilter:
    statuses: tuple[Status, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    created_after: str | None = None


@dataclass(frozen=True)
class JobPage:
    jobs: tuple[JobRecord, ...]
    has_more: bool


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker says of itself. Times are RFC 3339 strings."""

    name: str
    devices: tuple[str, ...]
    queues: tuple[str, ...]
    current_job: str | None
    last_heartbeat: str
    started_at: str
    pid: int


class ApiStore(Protocol):
    """The API's side. Every method may raise `StoreUnavailableError`; none is retried inside.

    The histories of a study's run are read under its name (`core.studies.run_id`) as those of a job
    under its id; `queue_position` and `free` take a study's id too.
    """

    @property
    def studies(self) -> "ApiStudies": ...

    async def aclose(self) -> None: ...
    async def ping(self) -> None: ...
    async def create(self, job: NewJob, idempotency: Idempotency | None) -> Created:
        """Write the record and queue it, atomically, in one round trip.

        Raises `ConflictError("idempotency_key_reused")` when the key came with another body,
        `ConflictError("idempotent_job_deleted")` when the job that it made is gone, and
        `QueueFullError`.
        """
        ...

    async def get(self, job_id: str) -> JobRecord:
        """Raises `NotFoundError`."""
        ...

    async def version(self, job_id: str) -> int:
        """The record's version alone (for a 304 without the job). Raises `NotFoundError`."""
        ...

    async def status(self, job_id: str) -> Status:
        """The status alone. Raises `NotFoundError`."""
        ...

    async def list(self, where: JobFilter, limit: int, after_id: str | None) -> JobPage:
        """Newest first, the filter applied before the limit; `after_id` need not exist any more."""
        ...

    async def queue_position(self, job_id: str) -> int | None:
        """0 is next; None when it is not queued. Counted are the jobs ahead that every worker
        able to run this one could take first."""
        ...

    async def queue_positions(self, ids: Sequence[str]) -> Sequence[int | None]:
        """`queue_position` of several jobs in one round trip."""
        ...

    async def request_cancel(self, job_id: str) -> JobRecord:
        """queued → cancelled, running → cancelling; a terminal job is returned unchanged."""
        ...

    async def request_diagnosis(self, job_id: str, checkpoint: str) -> None:
        """Have a worker diagnose a terminal job's checkpoint. Asking again while that is not done
        changes nothing.

        Raises `NotFoundError`, `ConflictError("not_terminal")`, and
        `ConflictError("diagnosis_pending")` while one of another checkpoint is not done.
        """
        ...

    async def delete(self, job_id: str) -> None:
        """Put the job into the trash: it is gone for all readers at once.

        Raises `ConflictError("not_terminal")` unless terminal. The caller then deletes its
        artifacts and calls `free`; a worker finishes what is cut off (`WorkerStore.trashed`).
        """
        ...

    async def free(self, job_id: str) -> None:
        """Free the rows of a job in the trash, and its place there. The artifacts must be gone:
        nothing knows of them afterwards. May be repeated."""
        ...

    async def history_meta(self, job_id: str, kind: HistoryKind) -> HistoryMeta:
        """Of a kind that the job has no layout for: no series, no rows. Raises `NotFoundError`."""
        ...

    async def history_rows(
        self,
        job_id: str,
        kind: HistoryKind,
        meta: HistoryMeta,
        series: Sequence[str],
        first_row: int,
        num_rows: int,
    ) -> Columns:
        """Rows `first_row … first_row+num_rows−1` (fewer at the end), `step` included if asked for.

        Each is (rows,), `x` is (rows, width); read-only. Raises `NotFoundError` when they are gone.
        """
        ...

    async def history_pick(
        self,
        job_id: str,
        kind: HistoryKind,
        meta: HistoryMeta,
        series: Sequence[str],
        rows: NDArray[np.int64],
    ) -> Columns:
        """These rows (numbers below `meta.num_rows`, in any order); otherwise as `history_rows`."""
        ...

    async def workers(self) -> Sequence[WorkerInfo]:
        """Those that have reported within their time to live, by name."""
        ...

    def ends(self) -> AsyncIterator[str]:
        """Ids of jobs and studies that have ended or are gone, from now on (one subscription a
        process). Other changes are not told: nobody waits for them, and every process would pay for
        hearing of them.

        Never ends and does not raise when the server goes away: it subscribes again. The empty
        string says that it has (also the first time): anything may have ended before it.
        """
        ...


@dataclass(frozen=True)
class Claim:
    """A job that this worker holds: `token` fences all its writes.

    `attempt` is the attempt's number; `layouts` those of the job's histories.
    """

    job: JobRecord
    token: int
    attempt: int
    layouts: dict[HistoryKind, HistoryLayout] = field(default_factory=dict)


@dataclass(frozen=True)
class DiagnosisClaim:
    """A diagnosis that this worker makes: of a terminal job, at `checkpoint` (`final`, `best`,
    `initial`, or a step's digits)."""

    job: JobRecord
    token: int
    checkpoint: str


class Diagnoses(Protocol):
    """Diagnoses asked for after a job's end, oldest first. Writes raise `StaleAttemptError` when
    the lease was lost or the job deleted. A lease that expires goes back to the queue by
    `WorkerStore.reap`, three times at most."""

    def claim(self, lease_s: float) -> DiagnosisClaim | None: ...
    def renew(self, claim: DiagnosisClaim, lease_s: float) -> None: ...
    def finish(self, claim: DiagnosisClaim, found: Json) -> None:
        """`found` takes the place of the job's diagnosis."""
        ...

    def fail(self, claim: DiagnosisClaim, reason: str) -> None:
        """The job's diagnosis stays what it was; `reason` is for the user."""
        ...

    def hand_over(self, claim: DiagnosisClaim) -> None:
        """Leave it to another worker."""
        ...


class WorkerStore(Protocol):
    """A worker's side. Writes raise `StaleAttemptError` when the token is stale and
    `StoreUnavailableError` when Redis is away (the caller decides what to keep and retry: all but
    `claim_next` may be repeated when the answer was lost)."""

    @property
    def diagnoses(self) -> Diagnoses: ...

    @property
    def studies(self) -> "WorkerStudies": ...

    def claim_next(
        self, worker: str, devices: Sequence[str], lease_s: float
    ) -> "Claim | TaskClaim | None":
        """Take the queued job or task of a study of highest priority, oldest first, that one of
        `devices` can run (`cpu`, `cuda:0`, …): queued → running, token + 1, a new attempt, a lease
        by Redis's clock."""
        ...

    def await_work(self, devices: Sequence[str], timeout_s: float) -> bool:
        """Wait until a job for one of `devices` may be queued; False when the time is up.

        Of the workers that wait, each new job wakes one. It is a hint: another may be faster, and
        one that is lost with a worker is not given again.
        """
        ...

    def renew(self, claim: "Claim | TaskClaim", lease_s: float) -> Status:
        """Prolong the lease; returns the job's or task's status now (`cancelling` asks the attempt
        to stop). The record's version does not show it."""
        ...

    def append_rows(
        self, claim: Claim, kind: HistoryKind, first_row: int, columns: Columns
    ) -> None:
        """Write rows `first_row …`; rows that are there already are written over.

        Raises `ValueError` for what cannot be: columns that do not fit the layout, rows that leave
        a gap, rows behind a last one off the grid (`truncate_rows` first).
        """
        ...

    def truncate_rows(self, claim: Claim, kind: HistoryKind, num_rows: int) -> None:
        """Forget rows from `num_rows` on (a resumed attempt starts below them)."""
        ...

    def update(self, claim: Claim, fields: Json, rows: Sequence[Rows] = ()) -> None:
        """Set `phase`, `progress`, `latest`, `best`, `checkpoints`, `interventions`, `diagnosis`,
        `resolved`, `spec`, or the attempt's `device`; None removes. `rows` are appended first, in
        the same round trip."""
        ...

    def close(
        self,
        claim: Claim,
        status: Status,
        end: AttemptEnd,
        *,
        outcome: Outcome | None,
        fields: Json,
        rows: Sequence[Rows] = (),
    ) -> Status:
        """running/cancelling → terminal, once; ends the attempt and the lease.

        `fields` and `rows` as in `update`, and `result`, `error`. Returns the status
        that the job has now: when this attempt has closed it already, nothing is changed.
        Raises `ConflictError("illegal_move")` for a move that the table has not.
        """
        ...

    def hand_over(self, claim: "Claim | TaskClaim") -> Status:
        """running → queued in good order (attempt `handed_over`, not counted); a job that is
        `cancelling` becomes `cancelled`."""
        ...

    def lose(self, claim: "Claim | TaskClaim") -> Status:
        """At once what `reap` does when the lease has expired (the trainer died)."""
        ...

    def reap(self) -> Sequence[str]:
        """Requeue (or, at `max_attempts`, fail as `worker_lost`) every job or task whose lease has
        expired; an expired `cancelling` one becomes `cancelled`. Returns the ids."""
        ...

    def expire(self, age_s: float | None, count: int | None, limit: int) -> Sequence[str]:
        """Put terminal jobs and studies into the trash: those that ended more than `age_s` ago by
        the store's clock, and the earliest beyond `count` of them (None: no such rule). Returns
        their ids, at most `limit`."""
        ...

    def trashed(self, limit: int) -> Sequence[str]:
        """Some of the jobs and studies in the trash, in any order: those of deletes and of
        `expire`."""
        ...

    def free(self, job_id: str) -> None:
        """As `ApiStore.free`."""
        ...

    def get(self, job_id: str) -> JobRecord:
        """Raises `NotFoundError`."""
        ...

    def history_meta(self, job_id: str, kind: HistoryKind) -> HistoryMeta:
        """As `ApiStore.history_meta`."""
        ...

    def read_columns(self, job_id: str, kind: HistoryKind) -> Columns:
        """All rows of a history, `step` and every series of its layout. Raises `NotFoundError`."""
        ...

    def ping(self) -> None: ...
    def num_queued(self) -> int:
        """Jobs, tasks of studies and diagnoses that wait for a worker."""
        ...

    def report_worker(self, info: WorkerInfo, ttl_s: float) -> None: ...
    def forget_worker(self, name: str) -> None: ...
    def disconnect(self) -> None: ...
