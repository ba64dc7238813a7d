"""The calls that the API makes to its store (async); `core.store.protocols.worker` is a worker's
side (sync).

Both speak to the same Redis through the same Lua scripts. Every change of a job is one script:
it checks the move against `core.jobs.MOVES`, bumps the record's `version`, announces the id of a
job that has ended on the `ended` channel, and (workers only) refuses a stale fencing token.

A run's history is read through `ApiStore.status`, `history_meta`, `history_rows` and `history_pick`
(and the worker's `history_meta` and `read_columns`) under `core.studies.run_id`, as a job's under
its id.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.datasets import DatasetRecord
from core.jobs import JobRecord, Status
from core.keys import KeyRecord
from core.specs.base import Json
from core.store.history.layout import Columns, HistoryKind, HistoryMeta
from core.store.history.times import TimeLine
from core.store.protocols.types import (
    Changes,
    Created,
    CreatedStudy,
    DatasetPage,
    Idempotency,
    JobFilter,
    JobPage,
    LogPage,
    NewJob,
    NewStudy,
    QueuePlace,
    Runs,
    Snapshot,
    Stamp,
    StoreMemory,
    StudyPage,
    Totals,
    Used,
    WorkerInfo,
)
from core.store.protocols.uses import ApiUses
from core.store.protocols.webhooks import ApiWebhooks
from core.studies import StudyRecord

if TYPE_CHECKING:
    from core.specs.studies.extension import Extension


New_contra = TypeVar("New_contra", contravariant=True)
Record_co = TypeVar("Record_co", covariant=True)
Made_co = TypeVar("Made_co", covariant=True)
Page_co = TypeVar("Page_co", covariant=True)


class ListedRecords(Protocol[Record_co, Page_co]):
    """Calls that read records, of whatever kind. Every method may raise `StoreUnavailableError`;
    none is retried inside. All that name one raise `NotFoundError` where there is none."""

    async def get(self, id_: str, /) -> Record_co: ...
    async def owner(self, id_: str, /) -> str | None:
        """Read the record's owner alone."""
        ...

    async def version(self, id_: str, /) -> int:
        """Read the record's version alone."""
        ...

    async def stamp(self, id_: str, /) -> Stamp:
        """Read what tells whether the record has changed (for a 304 without it)."""
        ...

    async def list(self, where: JobFilter, limit: int, after_id: str | None) -> Page_co:
        """List records, the newest first, the filter applied before the limit; `after_id` need not
        exist any more."""
        ...


class Records(ListedRecords[Record_co, Page_co], Protocol[New_contra, Record_co, Made_co, Page_co]):
    """Calls that jobs and studies share; otherwise as `ListedRecords`."""

    async def create(self, new: New_contra, idempotency: Idempotency | None, /) -> Made_co:
        """Write the record and queue it, atomically, in one round trip, which those that come at
        once share.

        Raises `ConflictError("idempotency_key_reused")` when the key came with another body,
        `ConflictError("idempotent_job_deleted")` (or `…_study_…`) when what it made is gone,
        `DataGoneError` when a data set that it uses is not there or not ready, and
        `QueueFullError`.
        """
        ...

    async def status(self, id_: str, /) -> Status:
        """Read the status alone."""
        ...

    async def request_pause(self, id_: str, /) -> Record_co:
        """Ask for a pause: queued → paused; of a running one, whoever holds it is asked to hand it
        over. Of a study no more tasks are claimed, and it is paused once none is held. Asking again
        changes nothing.

        Raises `ConflictError` for one that is `cancelling` or terminal (`already_ended`).
        """
        ...

    async def request_resume(self, id_: str, /) -> Record_co:
        """End a pause: paused → queued, behind all that wait with its priority; one that was not
        reached is withdrawn. One without a pause is returned unchanged. Raises as `request_pause`,
        and `LimitReachedError` where as many wait as its key may have."""
        ...

    async def usage(
        self, since: str | None, label: str | None, owner: str | None = None
    ) -> Mapping[str | None, Used]:
        """Add up what the records made at that moment or later have used, by the value of a label,
        or without one by the key that made them (None: of those without it). It looks at all of
        them, or all of one owner, some at a time."""
        ...

    async def request_cancel(self, id_: str, /) -> Record_co:
        """Ask for a cancel: queued or paused → cancelled, running → cancelling; a terminal record
        is returned unchanged. Of a study, tasks that wait and their runs are cancelled at once, and
        those that train are asked to stop; where none is held the study is cancelled by this."""
        ...

    async def change(self, id_: str, version: int, changes: Changes, /) -> Record_co:
        """Make the changes to the record of this version. A new priority puts what waits elsewhere
        in its queue; labels are what lists are filtered by.

        Raises `ChangedError` where it has another version, and `ConflictError("not_waiting")` for a
        priority of what is neither queued nor paused.
        """
        ...

    async def delete(self, id_: str, version: int | None = None, /) -> None:
        """Put the record into the trash: it is gone for all readers at once.

        Raises `ConflictError("not_terminal")` unless terminal, `ConflictError("kept")` before its
        `keep_until`, and `ChangedError` where the record
        has another version than `version`. The caller then deletes its
        artifacts and calls `ApiStore.free`; a worker finishes what is cut off
        (`WorkerStore.trashed`).
        """
        ...


class ApiStudies(Records[NewStudy, StudyRecord, CreatedStudy, StudyPage], Protocol):
    """The calls about studies, `ApiStore.studies`."""

    async def runs(self, study_id: str, indices: Sequence[int] | None = None) -> Runs:
        """Read the runs that have been planned, in order of index; of `indices`, those that are."""
        ...

    async def inherited(self, study_id: str) -> Runs:
        """Read the runs that it has from the study that it was begun from."""
        ...

    async def extend(self, study_id: str, num_extensions: int, change: "Extension") -> StudyRecord:
        """Add runs to a study that has been extended this many times: a plan that would end it is
        decided anew.

        Raises `ChangedError` where it has been extended since, and `ConflictError` for one that is
        `cancelling` or terminal (`already_ended`).
        """
        ...


LOG: Final = "events"
"""The name of the log in `ApiEvents.changed`."""


class ApiEvents(Protocol):
    """The calls of those who follow changes, `ApiStore.events`. Each is one round trip, and all may
    raise `StoreUnavailableError`."""

    async def changed(self, stamps: Mapping[str, str]) -> Mapping[str, Snapshot | str | None]:
        """Read what has changed of these jobs, studies and runs since it had this stamp (empty:
        never seen), and nothing of the others; None for what is not there (any more). Of the log
        (`LOG`) the number of its last entry, which is its stamp."""
        ...

    async def log(self, after: int, limit: int) -> LogPage:
        """Read the entries after this number, at most `limit`. At least the last 10,000 are
        kept."""
        ...

    async def present(self, num_ended: int, owner: str | None = None) -> Sequence[str]:
        """List the ids of all jobs and studies that have not ended, and of the `num_ended` that
        ended last, those made first before the others, jobs before studies; with an owner, of its
        own alone (and of the last 10,000 that ended)."""
        ...

    async def ended_runs(self, study_id: str, first: int, limit: int) -> Sequence[int]:
        """List the indices of runs that have ended, in the order of their ends, from the
        `first`th on. Runs that ended before the order was kept stand in no such list."""
        ...


class ApiDatasets(ListedRecords[DatasetRecord, DatasetPage], Protocol):
    """The calls about data sets, `ApiStore.datasets`."""

    async def add(
        self,
        record: DatasetRecord,
        idempotency: Idempotency | None,
        file: str | None,
        lease_s: float,
        /,
    ) -> tuple[DatasetRecord, bool]:
        """Write the record of a data set that is `ready`, with its stored content `file`, or
        `checking`, with a lease. Returns it, with the content that it has: where the same is there
        already, that one, and then nobody needs `file`. True with it: the key had made it before.

        Raises `ConflictError` as `create` does, and `StorageFullError`.
        """
        ...

    async def reserve(self, file: str, /) -> None:
        """Note that a content of this name is about to be stored: workers remove it, unless a data
        set has it within the hour."""
        ...

    async def settle(self, record: DatasetRecord, file: str | None, /) -> str | None:
        """Write the end of a check: `record` is `ready`, with its contents, or `refused`, with its
        error. Returns the content that it has (see `add`; empty of a refused one), or None where
        nobody waits for this end any more: it was deleted, or its lease had run out."""
        ...

    async def renew_checks(self, ids: Sequence[str], lease_s: float, /) -> None:
        """Renew the leases of checks."""
        ...

    async def reap_checks(self) -> None:
        """Refuse the data sets whose check has lost its lease: who did it has died."""
        ...

    async def update(
        self, id_: str, version: int | None, labels: Json | None, changes: Json, /
    ) -> DatasetRecord:
        """Change fields of the record (None removes one), and its labels unless None. Raises
        `ChangedError` where it has another version than `version`."""
        ...

    async def remove(self, id_: str, version: int | None, /) -> str | None:
        """Remove a data set; returns its stored content where that was the last that had it: the
        content lies in the trash, as `delete` puts things there.

        Raises `ConflictError` (`in_use` by a job or study that has not ended, `kept`) and
        `ChangedError`.
        """
        ...


class ApiKeys(Protocol):
    """The calls about API keys, `ApiStore.keys`. All may raise `StoreUnavailableError`."""

    async def find(self, digest: str, /) -> KeyRecord | None:
        """Read the key whose token has this digest, whether or not it is taken."""
        ...

    async def state(self) -> tuple[int, bool]:
        """Return how many keys were made, and whether one of them is taken now."""
        ...

    async def used(self, key_id: str, /) -> None:
        """Note that the key was used now."""
        ...


class ApiStore(Records[NewJob, JobRecord, Created, JobPage], Protocol):
    """The API's side: jobs, and what is neither a job's nor a study's alone.

    The histories and the status of a study's run are read under its name (`core.studies.run_id`) as
    those of a job under its id; `queue_places` and `free` take a study's id too.
    """

    @property
    def studies(self) -> ApiStudies: ...
    @property
    def datasets(self) -> ApiDatasets: ...

    @property
    def uses(self) -> ApiUses: ...

    @property
    def events(self) -> ApiEvents: ...

    @property
    def keys(self) -> ApiKeys: ...

    @property
    def webhooks(self) -> ApiWebhooks: ...

    async def aclose(self) -> None: ...
    async def open(self) -> None:
        """Look at the store's format, and note ours where there is none or an older one.

        Raises `UnusableStoreError` when this version must not, or cannot, use the store.
        """
        ...

    async def queue_places(self, ids: Sequence[str]) -> Sequence[QueuePlace | None]:
        """Return the place of each in the queue; None when it is not queued. Counted are the jobs
        ahead that every worker able to run this one could take first; of other keys' about as many
        as have their turn before it."""
        ...

    async def request_checkpoint(self, job_id: str) -> JobRecord:
        """Ask whoever holds a running job to leave a checkpoint that stays.

        Raises `NotFoundError`, and `ConflictError("not_running")`.
        """
        ...

    async def request_diagnosis(self, job_id: str, checkpoint: str) -> None:
        """Have a worker diagnose a terminal job's checkpoint. Asking again while that is not done
        changes nothing.

        Raises `NotFoundError`, `ConflictError("not_terminal")`, and
        `ConflictError("diagnosis_pending")` while one of another checkpoint is not done.
        """
        ...

    async def free(self, job_id: str) -> None:
        """Free the rows of a job in the trash, and its place there. The artifacts must be gone:
        nothing knows of them afterwards. May be repeated."""
        ...

    async def history_meta(self, job_id: str, kind: HistoryKind) -> HistoryMeta:
        """Read a history's meta; of a kind that the job has no layout for: no series, no rows.
        Raises `NotFoundError`."""
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
        """Read the rows `first_row … first_row+num_rows−1` (fewer at the end), `step` included if
        asked for.

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
        """Read these rows (numbers below `meta.num_rows`, in any order); otherwise as
        `history_rows`."""
        ...

    async def history_times(self, job_id: str) -> TimeLine:
        """Read when the job, or the run, came to which step; empty where that was not noted."""
        ...

    async def samples(self, job_id: str) -> Columns:
        """Read the samples of the job's process (`core.store.history.samples`), the oldest first;
        NaN: not known. None are there of a job that there is not."""
        ...

    async def check_writes(self) -> None:
        """Check that the server lets this user write: raises `StoreUnavailableError` where it is a
        read-only replica, or the user may only read. One that is full now passes: it can be read,
        and recovers."""
        ...

    async def workers(self) -> Sequence[WorkerInfo]:
        """List the workers that have reported within their time to live, by name."""
        ...

    async def totals(self) -> Totals:
        """Read the state of the whole service: one call, its cost bounded by the statuses, the
        queues and what is at work, however much is stored."""
        ...

    async def memory(self) -> StoreMemory | None:
        """Read the memory of the store's server; None where it does not tell (its `INFO` may be
        forbidden to callers)."""
        ...

    def ends(self) -> AsyncIterator[str]:
        """Yield the ids of jobs and studies that have ended or are gone, from now on (one
        subscription a process). Other changes are not told: nobody waits for them, and every
        process would pay for hearing of them.

        Never ends and does not raise when the server goes away: it subscribes again. The empty
        string says that it has (also the first time): anything may have ended before it.
        """
        ...
