"""What the service asks of its store for studies: the API's side (async) and a worker's (sync).

A run's history is read through `ApiStore.status`, `history_meta`, `history_rows` and `history_pick`
(and the worker's `history_meta` and `read_columns`) under `core.studies.run_id`, as a job's under
its id.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from core.jobs import AttemptEnd, Status
from core.store.base import Idempotency, JobFilter
from core.store.layout import Columns, HistoryKind, HistoryLayout
from core.studies import RunRecord, StudyRecord, TaskRecord

Json = dict[str, Any]
Layouts = dict[HistoryKind, HistoryLayout]
Runs = list[RunRecord]


@dataclass(frozen=True)
class NewStudy:
    """A study about to be written. Its first task, a plan, is queued with it."""

    id: str
    spec: Json
    labels: dict[str, str]
    created_at: str
    priority: int
    max_attempts: int
    device: str
    num_runs: int
    max_updates: int


@dataclass(frozen=True)
class CreatedStudy:
    study: StudyRecord
    replayed: bool


@dataclass(frozen=True)
class StudyPage:
    studies: tuple[StudyRecord, ...]
    has_more: bool


@dataclass(frozen=True)
class TaskClaim:
    """A task that this worker holds: `token` fences all its writes, `attempt` counts the claims."""

    study: StudyRecord
    task: TaskRecord
    token: int
    attempt: int


@dataclass(frozen=True)
class RunRows:
    """Rows of one run's history, from `first_row` on. `truncate`: it is first cut down to there.
    `bundled`: they lie with other runs' rows, as do all before them (`core.store.bundles`)."""

    index: int
    kind: HistoryKind
    layout: HistoryLayout
    first_row: int
    columns: Columns
    truncate: bool = False
    bundled: bool = False


@dataclass(frozen=True)
class NewRun:
    """A run that has been planned, and how its histories will lie."""

    record: RunRecord
    layouts: Layouts


@dataclass(frozen=True)
class Round:
    """What a plan decides: tasks that may go side by side, and what becomes of the runs.

    Attributes:
        tasks: of kind `train`, all of the next round.
        new: runs that are there from now on.
        changed: records of runs that are written anew (stopped ones).
    """

    tasks: tuple[TaskRecord, ...]
    new: tuple[NewRun, ...] = ()
    changed: tuple[RunRecord, ...] = field(default=())


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


class WorkerStudies(Protocol):
    """`WorkerStore.studies`. Tasks are claimed by `WorkerStore.claim_next`, and `renew`,
    `hand_over` and `lose` of `WorkerStore` take their claims too. Writes raise
    `StaleAttemptError` when the token is stale; all may be repeated when the answer was lost."""

    def get(self, study_id: str) -> StudyRecord:
        """Raises `NotFoundError`."""
        ...

    def runs(self, study_id: str, indices: Sequence[int] | None = None) -> Runs:
        """As `ApiStudies.runs`."""
        ...

    def num_rows(self, study_id: str, indices: Sequence[int]) -> dict[int, dict[HistoryKind, int]]:
        """How many rows of each history of these runs are stored."""
        ...

    def layouts(self, study_id: str, indices: Sequence[int]) -> dict[int, Layouts]:
        """How the histories of these runs lie, as they were planned."""
        ...

    def write(
        self,
        claim: TaskClaim,
        *,
        rows: Sequence[RunRows] = (),
        runs: Sequence[RunRecord] = (),
        num_updates: int | None = None,
        device: str | None = None,
    ) -> None:
        """Append rows, replace runs' records, and say how many updates this task has applied (in
        all its attempts, and only its own). A terminal record is replaced by one of the same
        status only (its weights are known later than its end)."""
        ...

    def plan(self, claim: TaskClaim, round_: Round) -> None:
        """A plan is done: its tasks are queued (there must be at least one)."""
        ...

    def finish(self, claim: TaskClaim, status: Status, fields: Json) -> Status:
        """A plan is done and there is nothing more to do: the study becomes `succeeded` or
        `failed`, with `result` or `error` in `fields`. Returns its status (`cancelled` when that
        was asked for meanwhile)."""
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
    ) -> Status:
        """A train task is done (`succeeded`, `failed`, `cancelled`); rows and records as in
        `write`. Runs of a failed or cancelled task that have not ended become so too, without more
        words. The last task of a round to be closed queues the plan of the next; in a study that is
        `cancelling` the last one cancels it. Returns the study's status."""
        ...
