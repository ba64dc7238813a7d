"""Reports of a trainer: a closed set of frozen types.

A report is also the event that leaves the training loop, so that each of its fields is named once.
Losses and values in here may be non-finite. `worker.trainer.protocol` says how messages travel.
The worker's main process reads this module: nothing of torch is in it.
"""

from dataclasses import dataclass, field

from core.jobs import Outcome
from core.messages.parts import (
    BestAt,
    CheckpointName,
    Columns,
    EndReason,
    Kind,
    LossAt,
    PausedRun,
    Phase,
    Reached,
    TaskWeights,
    Times,
)
from core.specs.base import Json


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
