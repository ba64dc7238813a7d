"""Messages between a worker and its trainer, requests and reports: two closed sets of frozen types.

A report is also the event that leaves the training loop, so that each of its fields is named once.
`worker.trainer.protocol` says how messages travel. The worker's main process reads this module:
nothing of torch is in it.
"""

from dataclasses import dataclass, field
from typing import Literal, TypedDict, final

import numpy as np
from numpy.typing import NDArray

from core.jobs import Outcome
from core.specs.base import Json
from core.uses.record import UseKind

Columns = dict[str, NDArray[np.float64]]
"""Series name -> one value a row (float64), or rows x dim for `x`. All of the same length.
`step` is always there."""
Kind = Literal["train", "eval"]
"""The kind of a history."""
Times = list[list[float]]
"""Times at which a run came to its steps: (step, seconds of training since step 0) each, in the
order of the seconds. One that has the step of an earlier one, or a smaller, says that the run went
back: the earlier ones from that step on hold no more."""
CheckpointName = Literal["initial", "best", "final", "raw", "kept", "resume"]
Phase = Literal["preparing", "training", "saving", "tuning", "diagnosing"]
"""The phase of a job. The loop's own are `preparing`, `training` and `saving`; the others are its
caller's."""
EndReason = Literal["finished", "cancelled", "handed_over"]


@final
class LossAt(TypedDict):
    """A recorded loss. It may be non-finite."""

    step: int
    loss: float


@final
class BestMetric(TypedDict):
    """The best value of the metric that `stop.metric` names (`eval.accuracy`)."""

    step: int
    metric: str
    value: float


BestAt = LossAt | BestMetric


class Reached(TypedDict):
    """The moment when a run first reached what its study asks for: its step, and its share of the
    time."""

    step: int
    seconds: float


class TaskWeights(TypedDict):
    """The places of the weights of a task's runs: the artifact, each run's row in its tensors, and
    the updates that its `initial`, `best` and `final` weights have seen. By the runs' indices."""

    file: str
    rows: dict[int, int]
    steps: dict[int, dict[str, int]]


class PausedRun(TypedDict):
    """The facts known of a run that has paused at a rung; its state is in the artifact `file`."""

    step: int
    initial_loss: float | None
    loss: float | None
    eval: Json | None
    best: BestAt | None
    share_s: float
    target: Reached | None
    file: str


# --- what a trainer is asked. `run`: a number that no other work of this trainer has.


@dataclass(frozen=True)
class TrainJob:
    """Train a job: its reports follow, the last of them `Ending` or `Failed`.

    Attributes:
        spec: resolved, but for what is "auto", which is settled first.
        artifacts: where the artifact store is.
        device: where to train.
        resume: go on after the latest usable checkpoint; without any, from the beginning.
        stored_rows: rows of each history that have arrived in the store: a checkpoint that
            presumes more is not used. None: all of them.
    """

    job_id: str
    spec: Json
    artifacts: str
    device: str
    resume: bool
    stored_rows: dict[Kind, int] | None
    run: int


@dataclass(frozen=True)
class TrainTask:
    """Train the runs of a study's task, whose models are alike: their reports follow, the last of
    them `TaskEnding` or `Failed`. Runs are named by their indices in the study.

    Attributes:
        stem: what the names of the task's artifacts begin with.
        stop_step: after so many updates, runs that have not ended pause; None: none does.
        resume: go on from the task's latest checkpoint; without any, from the beginning.
        stored_rows: by run, the rows of each history that have arrived: a checkpoint that presumes
            more is not used. None: all of them.
        base, configurations: of the resolved study, and the parameters of each.
        format: in which the study was stored (`core.formats`).
        runs: `[index in the study, place in configurations, seed]` each.
        sources: by run, the artifact with the state that a paused run goes on from.
        target: the study's metric, where it has a target: `name`, `goal`, `target`.
    """

    study_id: str
    stem: str
    artifacts: str
    device: str
    stop_step: int | None
    resume: bool
    stored_rows: dict[int, dict[Kind, int]] | None
    base: Json
    format: int
    configurations: list[Json]
    runs: list[list[int]]
    sources: dict[int, str]
    target: Json | None
    run: int


@dataclass(frozen=True)
class Measure:
    """Measure what a full diagnosis wants to know of a job's weights, in a share of `train_s`: the
    answer is `Measured` or `Failed`."""

    job_id: str
    spec: Json
    artifacts: str
    device: str
    checkpoint: str
    train_s: float
    run: int


@dataclass(frozen=True)
class TrySteps:
    """Take the first steps of specs that remedies make of a job's: the answer is `Measured`, its
    `first_steps` what `core.train.measure.trial_steps.first_steps` returns, or `Failed`."""

    job_id: str
    specs: list[Json]
    device: str
    run: int
    uploads: str = ""
    """Location of the artifact store, which has the data sets that the specs name."""


@dataclass(frozen=True)
class UseWeights:
    """Predict rows, or export a model: the answer is `Measured`, its `size_bytes` those of the
    artifact that was written and the rest what the use's record says of it, or `Failed`.

    Attributes:
        job_id: of the use (`core.uses.record.UseRecord`), whose artifacts these are.
        weights, model, rows: as of that record.
    """

    job_id: str
    kind: UseKind
    weights: Json
    model: Json
    rows: Json | None
    artifacts: str
    device: str
    run: int


@dataclass(frozen=True)
class Cancel:
    """Stop the run between two steps; for a run that has ended it means nothing."""

    run: int


@dataclass(frozen=True)
class HandOver:
    """Stop the run as `Cancel` does, and leave a checkpoint for another worker to go on from."""

    run: int


@dataclass(frozen=True)
class KeepCheckpoint:
    """Leave a checkpoint at the next step, which stays: the answer to the request of this number.
    The run goes on."""

    run: int
    number: int


Work = TrainJob | TrainTask | Measure | TrySteps | UseWeights
Order = Cancel | HandOver | KeepCheckpoint
Request = Work | Order

# --- what a trainer reports. Losses and values in here may be non-finite.


@dataclass(frozen=True)
class Ready:
    """The trainer can take work.

    Attributes:
        devices: what it found, best first.
        memory_bytes: all that each of them has; 0 where nobody tells.
    """

    devices: list[str]
    memory_bytes: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class HistoryRows:
    """Rows `first_row …` of a history, in order; the same row may come again after a resume. The
    arrays are the receiver's to keep."""

    kind: Kind
    first_row: int
    columns: Columns
    times: Times = field(default_factory=list)
    """Times at which the run came to these rows and to those before them."""


@dataclass(frozen=True)
class Progress:
    """The progress of a run: updates applied, steps a second since the last such report, the last
    row's loss and the best one, and the loss that the run began at (None while there is none)."""

    step: int
    steps_per_s: float | None
    latest: LossAt | None
    best: BestAt | None
    initial_loss: float | None = None
    device_percent: float | None = None
    """Share of the last moments in which the GPU was at work; None: it has none, or was not
    looked at."""
    device_memory_bytes: int | None = None
    """Memory of the GPU that the process holds."""


@dataclass(frozen=True)
class PhaseBegun:
    """The run has begun a phase, in which it is from now on."""

    name: Phase


@dataclass(frozen=True)
class DataLoaded:
    """The data are in memory.

    Attributes:
        data: the record's: rows of each part, features, classes.
        examined: what `core.train.data.examine.examine` found in them, where a diagnosis follows.
    """

    data: Json
    examined: Json | None = None


@dataclass(frozen=True)
class Settled:
    """The spec has no "auto" any more; `resolved` is the record's."""

    spec: Json
    resolved: Json


@dataclass(frozen=True)
class SavedCheckpoint:
    """A file that the loop has had written, complete and checksummed.

    Attributes:
        name: `initial`, `best`, `final`, `kept` (it was asked for), or `resume` (to go on from).
        step: updates applied to these weights.
        path: the artifact's name below the job's folder.
        metrics: what was known of these weights (`loss`, `accuracy`, …).
        size_bytes: the file's size.
        sha256: hex digest of the file.
        dropped: paths of older `resume` checkpoints that were removed to make room for this one.
    """

    name: CheckpointName
    step: int
    path: str
    metrics: Json
    size_bytes: int
    sha256: str
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Intervened:
    """`on_divergence` has acted.

    Attributes:
        interventions: all of the job's so far, in order (also sent when a run is resumed).
        rewound: how many rows of each history stay: those after them are of steps that will be
            made anew. None: all stay.
        dropped: paths of checkpoints of such steps, which have been deleted.
    """

    interventions: list[Json]
    rewound: dict[Kind, int] | None
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class Restarted:
    """A checkpoint could not be read.

    Attributes:
        detail: what the work goes on from instead, and why, for the record.
    """

    detail: str


@dataclass(frozen=True)
class Concluded:
    """End of the descent of a finished job, told while its last files are on their way to the
    disk; all its rows have been sent. The `Ending` that follows says the same.

    Attributes:
        outcome, result: as in `Ending`.
    """

    outcome: Outcome | None
    result: Json


@dataclass(frozen=True)
class RowsOfRuns:
    """Rows of several runs of a task: `lengths[i]` rows of `runs[i]` from `first_rows[i]` on. The
    columns hold them run after run. After a resume rows come again, the same to the bit.

    Attributes:
        truncate: what is stored from these rows on is of steps that were taken back.
        times: when they came to these rows, together: seconds since they began to train together.
        unit: which of the task's groups of runs they are, each of which has times of its own.
        earlier_s: of each run, the seconds of training before that.
    """

    kind: Kind
    runs: list[int]
    first_rows: list[int]
    lengths: list[int]
    columns: Columns
    truncate: bool = False
    times: Times = field(default_factory=list)
    unit: int = 0
    earlier_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class PopulationProgress:
    """Updates made over all runs (of a task: in all its attempts); how many train at the moment."""

    num_updates: int
    num_running: int


@dataclass(frozen=True)
class RunEnded:
    """A run of a task has ended. All its rows came before; after a resume it comes again.

    Attributes:
        fused: whether it trained in a stack with others' arithmetic.
        share_s: its share of the time: each step's, divided by the runs that took it.
        target: when it first reached what the study asks for.
    """

    run: int
    reason: EndReason
    outcome: Outcome | None
    result: Json
    best: BestAt | None
    fused: bool
    share_s: float
    target: Reached | None


@dataclass(frozen=True)
class RunFailed:
    """A run of a task could not be computed; the others go on. After a resume it comes again.

    Attributes:
        error: the record's `error`: a published code and a message that is safe to show.
        fused: as of `RunEnded`.
    """

    run: int
    error: Json
    fused: bool


@dataclass(frozen=True)
class Ending:
    """The end of a run.

    Attributes:
        reason: `finished` (an outcome is set), `cancelled`, `handed_over`.
        outcome: only when finished.
        result: the contract's `result` object.
        best: the contract's `best`; None when no finite loss was seen.
        peak_memory_bytes: see `core.train.peak_memory`; the trainer's server sets it.
        cpu_s: processor time of the trainer for this work; its server sets it.
    """

    reason: EndReason
    outcome: Outcome | None
    result: Json
    best: BestAt | None
    peak_memory_bytes: int | None = None
    cpu_s: float | None = None


@dataclass(frozen=True)
class TaskEnding:
    """The end of a task.

    Attributes:
        reason: `finished`, `cancelled` (what had not ended by then keeps what it has) or
            `handed_over`.
        weights: of the runs that ended or paused; None without any.
        paused: the runs that paused, by their indices.
        peak_memory_bytes, cpu_s: as of `Ending`.
    """

    reason: EndReason
    weights: TaskWeights | None
    paused: dict[int, PausedRun]
    peak_memory_bytes: int | None = None
    cpu_s: float | None = None


@dataclass(frozen=True)
class Measured:
    """The measurements of a job's weights, or of first steps; or what was made of weights."""

    measured: Json


@dataclass(frozen=True)
class Failed:
    """The work came to no end: a published code and a message that is safe to show.

    Attributes:
        fatal: asks the worker for a fresh trainer: after a CUDA error this one is of no more use.
        peak_memory_bytes, cpu_s: as of `Ending`.
    """

    code: str
    message: str
    param: str | None
    fatal: bool
    peak_memory_bytes: int | None = None
    cpu_s: float | None = None


JobReport = (
    HistoryRows
    | Progress
    | PhaseBegun
    | DataLoaded
    | Settled
    | SavedCheckpoint
    | Intervened
    | Restarted
    | Concluded
)
"""Reports of a job's training on the way."""
TaskReport = RowsOfRuns | PopulationProgress | RunEnded | RunFailed | Restarted
"""Reports of a task's training on the way."""
Answer = Ending | TaskEnding | Measured | Failed
"""The last word on a piece of work."""
Report = Ready | JobReport | TaskReport | Answer
