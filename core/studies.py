"""The records of a study: the study itself, its runs, and the tasks in which workers do its work.

A study's status moves along `core.jobs.MOVES`, and so does each task's. A task is what a worker
claims, with a lease and a fencing token, as it claims a job: `plan` decides which runs come next,
`train` trains some runs together. Runs are not claimed by themselves.
"""

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from core.formats import STORE
from core.jobs import (
    APART,
    JSON,
    NO_TIMELINE,
    NUMBER,
    TERMINAL,
    TEXT,
    Outcome,
    Status,
    Stored,
    Timeline,
    Usage,
    priority_of,
)
from core.specs.base import Json

TaskKind = Literal["plan", "train"]

RUN_COUNTS: Final = ("queued", "running", "succeeded", "failed", "cancelled", "diverged")
"""Counts of a study's runs in its record: by status, and of those that succeeded the diverged."""


@dataclass(frozen=True)
class StudyRecord:
    """All that is stored of a study, but for its runs. As of `core.jobs.JobRecord`, this is the one
    place that names its fields.

    Attributes:
        spec: the resolved study as JSON.
        num_runs: how many there will be.
        counts: runs by the names of `RUN_COUNTS`, of those that have been planned.
        num_updates: applied so far, over all runs.
        max_updates: as many as the runs' budgets allow.
        result: of a study that has ended, written by its last plan.
        num_extensions: how often runs have been added to it: a plan that ends it must know of all.
        round: number of the round at hand; each plan makes one of tasks that may go side by side.
        warnings: what was found doubtful when it was posted: `{"param", "code", "message"}` each.
        timeline: as of a job; each round of tasks is a `phase`.
        usage: the largest of its tasks.
        idle_ms: from pauses to when work went on, of those that are over.
        parent_id: the study of whose spec this one's was made.
        name, note, keep_until, priority, owner, key_id: as of a job.
        version: grows with every change of the record.
        format: in which it was written (`core.formats`): what a run's spec lacks is read by it.
    """

    id: Annotated[str, TEXT]
    status: Annotated[Status, TEXT]
    spec: Annotated[Json, Stored("spec")]
    created_at: Annotated[str, TEXT]
    num_runs: Annotated[int, NUMBER]
    max_updates: Annotated[int, NUMBER]
    counts: Annotated[dict[str, int], APART] = field(default_factory=dict)
    num_updates: Annotated[int, Stored("number", key="updates")] = 0
    num_extensions: Annotated[int, NUMBER] = 0
    round: Annotated[int, NUMBER] = 0
    result: Annotated[Json | None, JSON] = None
    error: Annotated[Json | None, JSON] = None
    labels: Annotated[dict[str, str], JSON] = field(default_factory=dict)
    started_at: Annotated[str | None, TEXT] = None
    finished_at: Annotated[str | None, TEXT] = None
    cancel_requested_at: Annotated[str | None, TEXT] = None
    pause_requested_at: Annotated[str | None, TEXT] = None
    idle_ms: Annotated[int, NUMBER] = 0
    parent_id: Annotated[str | None, TEXT] = None
    name: Annotated[str | None, TEXT] = None
    note: Annotated[str | None, TEXT] = None
    keep_until: Annotated[str | None, TEXT] = None
    priority: Annotated[int | None, NUMBER] = None
    warnings: Annotated[tuple[Json, ...], Stored("list")] = ()
    timeline: Annotated[Timeline, Stored("timeline")] = NO_TIMELINE
    usage: Annotated[Usage | None, Stored("usage")] = None
    owner: Annotated[str | None, TEXT] = None
    key_id: Annotated[str | None, TEXT] = None
    request_id: Annotated[str | None, TEXT] = None
    """Id of the request that created it, for the log."""
    traceparent: Annotated[str | None, TEXT] = None
    webhook_url: Annotated[str | None, Stored("text", key="hook:url")] = field(
        default=None, repr=False
    )
    """The whole URL of its webhook, as of a job."""
    version: Annotated[int, NUMBER] = 0
    format: Annotated[int, APART] = STORE

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def current_priority(self) -> int:
        """The priority that its tasks wait with."""
        return priority_of(self.spec["base"]) if self.priority is None else self.priority

    @property
    def current_spec(self) -> Json:
        """The spec with the priority that it has now, as it is shown."""
        if self.priority is None:
            return self.spec
        return {**self.spec, "base": {**self.spec["base"], "priority": self.priority}}


@dataclass(frozen=True)
class RunRecord:
    """The stored record of one run, but for its history and weights.

    Attributes:
        index: configuration · repeats + repeat.
        params: dotted paths of the job spec and their values: what its configuration is.
        seed: of this run; runs of one repeat share it.
        result: as of a job, once it has ended.
        best: `{"step", "loss"}` as of a job.
        metric: the study's metric; None while unknown, and where the run has none.
        target: `{"step", "seconds"}` at which the metric first reached the study's target; None:
            not reached (so far).
        share_s: its share of the training time.
        fused: whether it trained in a stack with others.
        paused: between two rungs of a stopper: `{"step", "loss", "eval", "file"}`, what was known
            there, and the artifact that holds its state.
        stopped: by a stopper: `{"by", "step", "rank", "of"}`; the status is `cancelled`.
        weights: the artifact that holds its weights, and the run's row in its tensors:
            `{"file", "row", "steps": {"initial", "best", "final"}}`; `best` may be missing. Until
            it has ended, those of the last rung that it paused at.
        error: as of a job, when it failed.
        bracket: with a stopper, the first of the configurations that compete with this one.
        enqueued: whether the study was given its configuration, rather than its strategy choosing
            it; None: no.
        inherited: of a run of another study that this one was begun from: `{"study_id",
            "configuration", "is_known"}`; by `is_known` this study does not train it again. Its
            `configuration` and `index` are below 0.
    """

    index: int
    configuration: int
    repeat: int
    seed: int
    params: Json
    status: Status = "queued"
    outcome: Outcome | None = None
    result: Json | None = None
    best: Json | None = None
    metric: float | None = None
    target: Json | None = None
    share_s: float | None = None
    fused: bool | None = None
    paused: Json | None = None
    stopped: Json | None = None
    weights: Json | None = None
    error: Json | None = None
    bracket: int | None = None
    enqueued: bool | None = None
    inherited: Json | None = None

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL


@dataclass(frozen=True)
class TaskRecord:
    """The stored record of a task.

    Attributes:
        number: of the task in its round.
        runs: indices of the runs that it trains; none for a plan.
        stop_step: where they pause unless they end before (a rung); None: they go to their end.
    """

    study_id: str
    round: int
    number: int
    kind: TaskKind
    runs: tuple[int, ...] = ()
    stop_step: int | None = None

    @property
    def id(self) -> str:
        return task_id(self.study_id, self.round, self.number)

    @property
    def stem(self) -> str:
        """The beginning of its artifacts' names."""
        return f"{self.round}_{self.number}"


def task_id(study_id: str, round_: int, number: int) -> str:
    """Return a task's name in the store: `study_…/2.0`."""
    return f"{study_id}/{round_}.{number}"


def run_id(study_id: str, index: int) -> str:
    """Return the id under which a run's record and history are stored: `study_…:17`."""
    return f"{study_id}:{index}"


def study_of(name: str) -> str | None:
    """Return the study's id in a task's or run's name; None for a job's id."""
    return name[:_ID_LENGTH] if name.startswith("study_") else None


_ID_LENGTH: Final = len("study_") + 26
