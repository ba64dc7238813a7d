"""What the service asks of its store: one protocol for the API (async), one for workers (sync).

Both speak to the same Redis through the same Lua scripts. Every change of a job is one script:
it checks the move against `core.jobs.MOVES`, bumps the record's `version`, announces the job's id
on the `changed` channel, and (workers only) refuses a stale fencing token.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from core.jobs import AttemptEnd, JobRecord, Outcome, Status

Json = dict[str, Any]
Columns = dict[str, NDArray[np.float64]]
HistoryKind = Literal["train", "eval"]


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
class HistoryLayout:
    """How a job's rows lie in Redis: one packed float64 column a series, in chunks.

    Row i holds step `first_step + i·every`; only the last row may fall between (its step is kept
    beside). `widths` maps each series but `step` to its numbers a row (1, or dim for `x`), in order.
    `expected_rows` pre-sizes the chunks (an upper bound; None when unknown).
    """

    every: int
    widths: dict[str, int]
    expected_rows: int | None
    first_step: int = 0


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
class HistoryMeta:
    """What is known of a history without reading its rows.

    `last_step` is the last row's step (None without rows). `first_nonfinite_step` is of `loss`.
    """

    layout: HistoryLayout
    num_rows: int
    last_step: int | None
    first_nonfinite_step: int | None


@dataclass(frozen=True)
class WorkerInfo:
    name: str
    devices: tuple[str, ...]
    queues: tuple[str, ...]
    current_job: str | None
    last_heartbeat: str
    started_at: str
    pid: int


class ApiStore(Protocol):
    """The API's side. Every method may raise `StoreUnavailableError`."""

    async def ping(self) -> None: ...
    async def create(self, job: NewJob, idempotency: Idempotency | None) -> Created:
        """Write the record and queue it, atomically.

        Raises `ConflictError("idempotency_key_reused")` when the key came with another body.
        """
        ...

    async def get(self, job_id: str) -> JobRecord:
        """Raises `NotFoundError`."""
        ...

    async def version(self, job_id: str) -> int:
        """The record's version alone (for a 304 without reading the job). Raises `NotFoundError`."""
        ...

    async def list(self, where: JobFilter, limit: int, after_id: str | None) -> JobPage:
        """Newest first, the filter applied before the limit; `after_id` need not exist any more."""
        ...

    async def queue_position(self, job_id: str) -> int | None:
        """0 is next; None when it is not queued."""
        ...

    async def request_cancel(self, job_id: str) -> JobRecord:
        """queued → cancelled, running → cancelling; a terminal job is returned unchanged."""
        ...

    async def delete(self, job_id: str) -> None:
        """Remove the record, its history and indexes. `ConflictError("not_terminal")` unless terminal."""
        ...

    async def history_meta(self, job_id: str, kind: HistoryKind) -> HistoryMeta: ...
    async def history_rows(
        self, job_id: str, kind: HistoryKind, meta: HistoryMeta, series: Sequence[str],
        first_row: int, num_rows: int,
    ) -> Columns:
        """Rows `first_row … first_row+num_rows−1` (fewer at the end), `step` included if asked for."""
        ...

    async def workers(self) -> Sequence[WorkerInfo]: ...
    def changes(self) -> AsyncIterator[str]:
        """Ids of jobs that have changed, from now on (one subscription a process)."""
        ...


@dataclass(frozen=True)
class Claim:
    """A job that this worker holds: `token` fences all its writes."""

    job: JobRecord
    token: int
    attempt: int


class WorkerStore(Protocol):
    """A worker's side. Writes raise `StaleAttemptError` when the token is stale and
    `StoreUnavailableError` when Redis is away (the caller decides what to keep and retry)."""

    def claim_next(self, worker: str, devices: Sequence[str], lease_s: float) -> Claim | None:
        """Take the queued job of highest priority, oldest first, that one of `devices` can run
        (`cpu`, `cuda:0`, …): queued → running, token + 1, a new attempt, a lease by Redis's clock."""
        ...

    def renew(self, claim: Claim, lease_s: float) -> Status:
        """Prolong the lease; returns the status now (`cancelling` asks the attempt to stop)."""
        ...

    def append_rows(
        self, claim: Claim, kind: HistoryKind, first_row: int, columns: Columns
    ) -> None: ...

    def truncate_rows(self, claim: Claim, kind: HistoryKind, num_rows: int) -> None:
        """Forget rows from `num_rows` on (a resumed attempt starts below them)."""
        ...

    def update(self, claim: Claim, fields: Json) -> None:
        """Set `phase`, `progress`, `latest`, `best`, `checkpoints`, `resolved`, the attempt's device."""
        ...

    def close(
        self, claim: Claim, status: Status, end: AttemptEnd, *, outcome: Outcome | None,
        fields: Json,
    ) -> Status:
        """running/cancelling → terminal, once; ends the attempt and the lease. `fields` as `update`,
        and `result`, `diagnosis`, `error`. Returns the status that the job has now."""
        ...

    def hand_over(self, claim: Claim) -> Status:
        """running → queued in good order (attempt `handed_over`, not counted); a job that is
        `cancelling` becomes `cancelled`."""
        ...

    def reap(self) -> Sequence[str]:
        """Requeue (or, at `max_attempts`, fail as `worker_lost`) every job whose lease has expired;
        an expired `cancelling` job becomes `cancelled`. Returns the ids."""
        ...

    def num_queued(self) -> int: ...
    def report_worker(self, info: WorkerInfo, ttl_s: float) -> None: ...
    def forget_worker(self, name: str) -> None: ...
