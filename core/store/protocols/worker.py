"""The calls that a worker makes to its store (sync): claims, rows and ends of jobs, tasks,
diagnoses.

What holds for every change: `core.store.protocols.api`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from core.jobs import AttemptEnd, JobRecord, Outcome, Status, TimelineEntry, Usage
from core.specs.base import Json
from core.store.history.layout import Columns, HistoryKind, HistoryMeta, RowCounts, Rows, RunRows
from core.store.history.samples import Samples
from core.store.history.times import RunTimes, Times
from core.store.protocols.types import (
    Claim,
    DiagnosisClaim,
    Layouts,
    Round,
    Runs,
    TaskClaim,
    Wanted,
    WorkerInfo,
)
from core.store.protocols.uses import WorkerUses
from core.store.protocols.webhooks import WorkerWebhooks
from core.studies import RunRecord, StudyRecord


class Diagnoses(Protocol):
    """Diagnoses asked for after a job's end, oldest first. Writes raise `StaleAttemptError` when
    the lease was lost or the job deleted. A lease that expires goes back to the queue by
    `WorkerStore.reap`, three times at most."""

    def claim(self, worker: str, devices: Sequence[str], lease_s: float) -> DiagnosisClaim | None:
        """Take the oldest that a worker with these devices is to make. One of a job that asks for
        a GPU is left to workers that have one, of a job for the CPU to those that have none, as
        long as such are alive, and for a few seconds only: they may be busy for long."""
        ...

    def renew(self, claim: DiagnosisClaim, lease_s: float) -> None: ...
    def finish(self, claim: DiagnosisClaim, found: Json) -> None:
        """Put `found` in the place of the job's diagnosis."""
        ...

    def fail(self, claim: DiagnosisClaim, reason: str) -> None:
        """Leave the job's diagnosis what it was; `reason` is for the user."""
        ...

    def hand_over(self, claim: DiagnosisClaim) -> None:
        """Leave the diagnosis to another worker."""
        ...


class WorkerStore(Protocol):
    """A worker's side. Writes raise `StaleAttemptError` when the token is stale and
    `StoreUnavailableError` when Redis is away (the caller decides what to keep and retry: all but
    `claim_next` may be repeated when the answer was lost)."""

    @property
    def diagnoses(self) -> Diagnoses: ...

    @property
    def uses(self) -> WorkerUses: ...

    @property
    def studies(self) -> "WorkerStudies": ...

    @property
    def webhooks(self) -> WorkerWebhooks: ...

    def claim_next(
        self,
        worker: str,
        devices: Sequence[str],
        lease_s: float,
        memory_bytes: Mapping[str, int] = ...,
    ) -> Claim | TaskClaim | None:
        """Take the queued job or task of a study of highest priority, oldest first, that one of
        `devices` can run (`cpu`, `cuda:0`, …): queued → running, token + 1, a new attempt, a lease
        by Redis's clock.

        What asks for `auto` is left to workers with a GPU, and what asks for `cpu` to those
        without, as long as one of them takes work (`report_worker`). What does not fit, by its
        estimate, into the memory of its device (`memory_bytes`: by device, where it is known) is
        left to a worker that has reported more.

        Raises `NewerFormatError` once a newer version has opened the store."""
        ...

    def await_work(self, devices: Sequence[str], timeout_s: float) -> bool:
        """Wait until a job for one of `devices` may be queued; False when the time is up.

        Of the workers that wait, each new job wakes one. It is a hint: another may be faster, and
        one that is lost with a worker is not given again. Who waits also hears of a worker that
        somebody saw die (`Settings.lost_workers_key`), and does to its jobs, tasks and diagnoses
        what `reap` would once their leases had expired.
        """
        ...

    def renew(self, claim: Claim | TaskClaim, lease_s: float) -> Wanted | int:
        """Prolong the lease; returns what is wanted of the attempt now: a number asks it to leave a
        checkpoint that stays, and to say so (`checkpoints_kept`). The record's version does not
        show it."""
        ...

    def append_rows(
        self, claim: Claim, kind: HistoryKind, first_row: int, columns: Columns
    ) -> None:
        """Write rows `first_row …`; rows that are there already are written over.

        Raises `ValueError` for what cannot be: columns that do not fit the layout, rows that leave
        a gap, rows behind a last one off the grid (`truncate_rows` first).
        """
        ...

    def truncate_rows(
        self,
        claim: Claim,
        kind: HistoryKind,
        num_rows: int,
        rewinds: int | None = None,
        *,
        is_rewind: bool = False,
    ) -> None:
        """Forget rows from `num_rows` on (a resumed attempt starts below them).

        Args:
            rewinds: how often the run, as the attempt has it, has gone back (`on_divergence`); None
                where nobody counts.
            is_rewind: this cut is the last of these times: the rows that follow are others than
                those that were there (`HistoryMeta.rewinds`).
        """
        ...

    def update(
        self,
        claim: Claim,
        fields: Json,
        rows: Sequence[Rows] = (),
        times: Times = (),
        samples: Samples = (),
    ) -> None:
        """Set fields of the record (those that `core.jobs.JobRecord` marks as set by `update`), or
        the attempt's `device`; None removes. `timeline` holds entries (`TimelineEntry`) that are
        added to those that there are; one that is there already is not added again. Of `usage` the
        larger value stays. `rows` are appended first, in the same round trip, and before them
        `times`, which say when the job came to its steps (`core.messages.parts`), and `samples` of
        its process."""
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
        times: Times = (),
        num_rows: Mapping[HistoryKind, int] | None = None,
    ) -> Status:
        """Close the attempt: running/cancelling → terminal, once; ends the attempt and the lease.

        `fields`, `rows` and `times` as in `update`, and those marked as set by `close`. Returns the
        status that the job has now: when this attempt has closed it already, nothing is changed.
        Raises `ConflictError("illegal_move")` for a move that the table has not, and
        `LostRowsError`, nothing closed, where there are fewer rows of a kind than `num_rows` says.
        """
        ...

    def hand_over(self, claim: Claim | TaskClaim, result: Json | None = None) -> Status:
        """Give the job or task back in good order, which uses up no attempt: running → queued
        (attempt `handed_over`), or paused where a pause was asked for (`paused`); what is
        `cancelling` becomes `cancelled`.

        Args:
            result: that a job has if it is cancelled before anybody goes on with it.
        """
        ...

    def lose(self, claim: Claim | TaskClaim, how: str = "") -> Status:
        """Do at once what `reap` does when the lease has expired (the trainer died).

        Args:
            how: it died, for the error of a last attempt: a sentence without quotation marks.
        """
        ...

    def clock_s(self) -> float:
        """Return the store's clock, which leases run out by: seconds since 1970."""
        ...

    def reap(self, lease_s: float = ...) -> Sequence[str]:
        """Requeue (or, at `max_attempts`, fail as `worker_lost`) every job or task whose lease has
        expired; an expired `cancelling` one becomes `cancelled`, and one that was to pause
        `paused` instead of queued. Returns the ids.

        `lease_s`: of the leases that workers take. One that has longer to go was taken before the
        store's clock was set back, and has so long from now on."""
        ...

    def expire(self, age_s: float | None, count: int | None, limit: int) -> Sequence[str]:
        """Put terminal jobs and studies into the trash: those that ended more than `age_s` ago by
        the store's clock, and the earliest beyond `count` of them (None: no such rule). Returns
        their ids, at most `limit`."""
        ...

    def expire_datasets(self, limit: int) -> Sequence[str]:
        """Remove data sets past their age that no job or study which has not ended uses; returns
        their ids. The contents that nobody has any more go to the trash. Data sets whose check has
        lost its lease are refused."""
        ...

    def trashed(self, limit: int) -> Sequence[str]:
        """Return some of the jobs and studies in the trash, in any order: those of deletes and of
        `expire`."""
        ...

    def free(self, job_id: str) -> None:
        """Free the rows as `ApiStore.free` does."""
        ...

    def get(self, job_id: str) -> JobRecord:
        """Read a job's record. Raises `NotFoundError`."""
        ...

    def history_meta(self, job_id: str, kind: HistoryKind) -> HistoryMeta:
        """Read a history's meta as `ApiStore.history_meta` does."""
        ...

    def read_columns(self, job_id: str, kind: HistoryKind) -> Columns:
        """Read all rows of a history, `step` and every series of its layout. Raises
        `NotFoundError`."""
        ...

    def ping(self) -> None: ...
    def open(self) -> None:
        """Look at the store's format, and note ours where there is none or an older one.

        Raises `UnusableStoreError` when this version must not, or cannot, use the store.
        """
        ...

    def num_queued(self) -> int:
        """Count the jobs, tasks of studies, diagnoses and uses of weights that wait."""
        ...

    def requests_wait(self) -> bool:
        """Tell whether a diagnosis or a use of weights waits, be it for other workers."""
        ...

    def report_worker(self, info: WorkerInfo, ttl_s: float, *, takes_work: bool = True) -> None:
        """List the worker as alive for `ttl_s`. While one with a GPU `takes_work`, those without
        leave `auto` to it; once the last of its kind takes none, the others are woken."""
        ...

    def forget_worker(self, name: str) -> None:
        """Take the worker off the list."""
        ...

    def disconnect(self) -> None: ...


class WorkerStudies(Protocol):
    """The calls about studies, `WorkerStore.studies`. Tasks are claimed by
    `WorkerStore.claim_next`, and `renew`, `hand_over` and `lose` of `WorkerStore` take their claims
    too. Writes raise `StaleAttemptError` when the token is stale; all may be repeated when the
    answer was lost."""

    def get(self, study_id: str) -> StudyRecord:
        """Read a study's record. Raises `NotFoundError`."""
        ...

    def runs(self, study_id: str, indices: Sequence[int] | None = None) -> Runs:
        """Read runs as `ApiStudies.runs` does."""
        ...

    def inherited(self, study_id: str) -> Runs:
        """Read runs as `ApiStudies.inherited` does."""
        ...

    def num_rows(self, study_id: str, indices: Sequence[int]) -> dict[int, dict[HistoryKind, int]]:
        """Count the rows of each history of these runs that are stored."""
        ...

    def layouts(self, study_id: str, indices: Sequence[int]) -> dict[int, Layouts]:
        """Read how the histories of these runs lie, as they were planned."""
        ...

    def write(
        self,
        claim: TaskClaim,
        *,
        rows: Sequence[RunRows] = (),
        runs: Sequence[RunRecord] = (),
        num_updates: int | None = None,
        device: str | None = None,
        usage: Usage | None = None,
        times: Mapping[int, Times] | None = None,
        timed: Mapping[int, RunTimes] | None = None,
        num_rows: RowCounts | None = None,
    ) -> None:
        """Append rows, replace runs' records, and say how many updates this task has applied (in
        all its attempts, and only its own). `times` say when the groups of the task's runs came to
        their steps, `timed` of runs which group they are in; both are written first. `usage` counts
        as in `close`. A terminal record is replaced by one of the same status only (its weights are
        known later than its end). Raises `LostRowsError`, and writes none of the records, where one
        of the runs has fewer rows than `num_rows` says."""
        ...

    def tell(self, claim: TaskClaim, entry: TimelineEntry) -> None:
        """Add an entry to the study's timeline; one that is there already is not added again."""
        ...

    def plan(self, claim: TaskClaim, round_: Round) -> None:
        """Close a plan that is done: its tasks are queued (there must be at least one)."""
        ...

    def finish(self, claim: TaskClaim, status: Status, fields: Json) -> Status | None:
        """Close a plan that is done where there is nothing more to do: the study becomes
        `succeeded` or `failed`, with `result` or `error` in `fields`. Returns its status
        (`cancelled` when that was asked for meanwhile); None, and nothing done, where runs were
        added to the study since the claim's record of it was read: then the plan is to be decided
        anew."""
        ...

    def close(
        self,
        claim: TaskClaim,
        status: Status,
        end: AttemptEnd,
        *,
        rows: Sequence[RunRows] = (),
        runs: Sequence[RunRecord] = (),
        num_updates: int | None = None,
        usage: Usage | None = None,
        times: Mapping[int, Times] | None = None,
        timed: Mapping[int, RunTimes] | None = None,
        num_rows: RowCounts | None = None,
    ) -> Status:
        """Close a train task that is done (`succeeded`, `failed`, `cancelled`); rows, records and
        times as in `write`. Of `usage` the larger of this and the study's stays in the study's
        record. Runs of a failed or cancelled task that have not ended become so too, without more
        words. The last task of a round to be closed queues the plan of the next; in a study that
        is `cancelling` the last one cancels it. Returns the study's status."""
        ...
