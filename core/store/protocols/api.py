"""What the API asks of its store (async); `core.store.protocols.worker` is a worker's side (sync).

Both speak to the same Redis through the same Lua scripts. Every change of a job is one script:
it checks the move against `core.jobs.MOVES`, bumps the record's `version`, announces the id of a
job that has ended on the `ended` channel, and (workers only) refuses a stale fencing token.

A run's history is read through `ApiStore.status`, `history_meta`, `history_rows` and `history_pick`
(and the worker's `history_meta` and `read_columns`) under `core.studies.run_id`, as a job's under
its id.
"""

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from core.jobs import JobRecord, Status
from core.store.history.layout import Columns, HistoryKind, HistoryMeta
from core.store.protocols.types import (
    Created,
    CreatedStudy,
    Idempotency,
    JobFilter,
    JobPage,
    NewJob,
    NewStudy,
    Runs,
    StudyPage,
    WorkerInfo,
)
from core.studies import StudyRecord


class ApiStudies(Protocol):
    """`ApiStore.studies`. Every method may raise `StoreUnavailableError`; none is retried inside.
    All that name a study raise `NotFoundError` where there is none."""

    async def create(self, study: NewStudy, idempotency: Idempotency | None) -> CreatedStudy:
        """As `ApiStore.create`; the same errors."""
        ...

    async def get(self, study_id: str) -> StudyRecord: ...
    async def version(self, study_id: str) -> int: ...
    async def list(self, where: JobFilter, limit: int, after_id: str | None) -> StudyPage:
        """Newest first, the filter applied before the limit."""
        ...

    async def request_cancel(self, study_id: str) -> StudyRecord:
        """Queued tasks and runs are cancelled at once; those that train are asked to stop. A study
        none of whose tasks is held is cancelled by this."""
        ...

    async def delete(self, study_id: str) -> None:
        """As `ApiStore.delete`; then the caller deletes the artifacts and calls `ApiStore.free`,
        which takes a study's id too."""
        ...

    async def runs(self, study_id: str, indices: Sequence[int] | None = None) -> Runs:
        """The runs that have been planned, in order of index; of `indices`, those that are."""
        ...


if TYPE_CHECKING:
    from core.store.protocols.api import ApiStudies


class ApiStore(Protocol):
    """The API's side. Every method may raise `StoreUnavailableError`; none is retried inside.

    The histories of a study's run are read under its name (`core.studies.run_id`) as those of a job
    under its id; `queue_position` and `free` take a study's id too.
    """

    @property
    def studies(self) -> "ApiStudies": ...

    async def aclose(self) -> None: ...
    async def ping(self) -> None: ...
    async def open(self) -> None:
        """Look at the store's format, and note ours where there is none or an older one.

        Raises `NewerFormatError` when this version must not use the store.
        """
        ...

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
