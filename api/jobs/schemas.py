"""Schemas of the replies about jobs: the document shows these classes, and replies are made after
them (`View.build`)."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from api.http.schemas import (
    Counter,
    JobId,
    Mistake,
    Number,
    Page,
    Time,
    TimelineEntryView,
    UsageView,
    View,
    WaitingFor,
)
from core.jobs import AttemptEnd, Outcome, Status
from core.specs.job import JobSpec


class Progress(View):
    step: Counter
    """Number of updates applied."""
    max_steps: int | None
    fraction: float | None
    steps_per_s: Number | None
    eta_s: Number | None
    queue_position: int | None
    """The place in the queue: 0 is next; null unless queued."""
    waiting_for: WaitingFor | None
    """Reason why it waits: `no_worker` is alive, none of them has its `device`, others go first in
    the `queue`, or a `limit` on what may run at once is reached. Null unless it waits."""


class BestMetric(View):
    """The best value of `stop.metric`."""

    step: Counter
    metric: str
    """The metric's name, such as `eval.accuracy`."""
    value: Number
    """The metric's value."""


class LossAt(View):
    model_config = ConfigDict(extra="allow")
    step: Counter
    loss: Number


class AttemptView(View):
    number: int
    worker: str
    device: str | None
    started_at: Time
    ended_at: Time | None
    end: AttemptEnd | None


class HeldOutMetrics(View):
    """Metrics on the rows of the test, measured once, after training, each with the step of its
    weights."""

    best: dict[str, Number | list[list[Counter]]] | None
    """Metrics of the best weights, by evaluation where there is any; null without a best."""
    final: dict[str, Number | list[list[Counter]]]
    """Metrics of the final weights."""


class Result(View):
    model_config = ConfigDict(extra="allow")
    initial_loss: Number | None = None
    """L₀, from which a run is found to have diverged: row 0's loss, or with mini-batches the mean
    loss of the initial weights over the first 4,096 training rows."""
    final_loss: Number | None = None
    best_loss: Number | None = None
    num_steps: Counter | None = None
    train_s: float | None = None
    num_parameters: int | None = None
    eval: dict[str, Number | list[list[Counter]]] | None = None
    """The last evaluation: its step, loss and metrics; where it is asked for, the confusion
    matrix of the last weights."""
    test: HeldOutMetrics | None = None
    """Metrics on the rows that `data.split` holds out for the test; null without any, and of a job
    that was not at its end: one that failed, or was cancelled while it waited or was paused."""
    solution: dict[str, Number] | list[Number] | None = None
    value: Number | None = None


class Failure(View):
    code: str
    message: str
    param: str | None = None


class Finding(View):
    model_config = ConfigDict(extra="allow")
    rule: str
    status: Literal["triggered", "clear", "undetermined"]
    evidence: dict[str, Any]
    explanation: str
    source: str | None = None
    steps: Annotated[list[int], Field(min_length=2, max_length=2)] | None = None
    """First and last step of what it is about, where that has a place in the history: equal for a
    single row. null: it has none, is not triggered, or was found by an older version."""


class Remedy(View):
    model_config = ConfigDict(extra="allow")
    index: int
    patch: dict[str, Any]
    """A JSON merge patch (RFC 7396) on the spec."""
    reason: str
    expected: dict[str, Any] = Field(default={})


class Comparison(View):
    model_config = ConfigDict(extra="allow")
    verdict: Literal["improved", "no_change", "worse"]
    measure: str
    """The measure that decided: `outcome`, `loss`, `eval_loss` or `steps`."""
    reason: str
    before: dict[str, Any]
    """The value of the parent."""
    after: dict[str, Any]


class Diagnosis(View):
    model_config = ConfigDict(extra="allow")
    verdict: str
    confidence: float | None = None
    findings: list[Finding]
    remedies: list[Remedy]
    measured: dict[str, Any] | None = None
    """Measurements of a full diagnosis: of the weights of `checkpoint`, after `step` updates. null:
    it failed."""
    compared_to_parent: Comparison | None = None
    """The comparison of a job that tries a remedy with its parent. null: `not_compared` says
    why."""
    not_compared: str | None = None
    live: bool = False
    """The diagnosis of a job that still runs, by the rules on its history so far."""
    later_failed: str | None = None
    """The reason why a diagnosis that was asked for later was not made; this is the one before."""


class JobDiagnosis(Diagnosis):
    job_id: JobId


class DiagnosisLink(View):
    diagnosis: str


class AskedDiagnosis(View):
    job_id: JobId
    checkpoint: str | int
    links: DiagnosisLink


class Intervention(View):
    model_config = ConfigDict(extra="allow")
    step: Counter
    """The row that showed the divergence."""
    action: Literal["rollback", "skip", "clip"]
    reason: str
    loss: Number
    lr_before: Number
    lr_after: Number
    to_step: Counter | None = None
    """The step to which a rollback went back, and from which the rows were made anew."""
    max_norm: Number | None = None
    """The largest norm of gradients that a clip allows from then on."""


class RowCounts(View):
    train: Counter
    eval: Counter
    test: Counter


class DataView(View):
    """The data of a job as they were loaded."""

    num_rows: RowCounts
    num_features: Counter
    """Numbers in each row of features, categories coded."""
    classes: list[str] | None
    """The classes' names, in the order of the model's outputs; null for values."""


class Links(View):
    self: str
    history: str
    events: str
    model: str
    diagnosis: str


class Verdict(View):
    """The verdict of a diagnosis; the whole is in the job itself."""

    verdict: str
    confidence: float | None


class ListedJob(View):
    """A job as lists show it: of its diagnosis the verdict alone, and no timeline."""

    id: JobId
    status: Status
    outcome: Outcome | None
    phase: str | None
    spec: JobSpec
    """The spec, resolved: every default written out. POSTed again it repeats the job."""
    resolved: dict[str, Any]
    data: DataView | None
    """Rows, features and classes; null until they are loaded, and of functions."""
    progress: Progress
    latest: LossAt | None
    best: LossAt | BestMetric | None
    result: Result | None
    diagnosis: Verdict | None
    error: Failure | None
    attempts: list[AttemptView]
    labels: dict[str, str]
    name: str | None
    note: str | None
    priority: int
    keep_until: Time | None
    parent_id: JobId | None
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    cancel_requested_at: Time | None
    pause_requested_at: Time | None
    usage: UsageView | None = None
    links: Links
    interventions: list[Intervention] | None = None
    """Interventions of `on_divergence`, in order; only where it is not `stop`."""
    warnings: list[Mistake] | None = None
    """Doubts about what was allowed, where there are any."""


class Job(ListedJob):
    diagnosis: Diagnosis | None  # type: ignore[assignment]
    timeline: list[TimelineEntryView]
    """Events and their times, in order; at most 100 entries."""


class JobPage(Page):
    data: list[ListedJob]


class Change(View):
    """Differences from the baseline: this job's value less the baseline's."""

    final: Number
    """Difference of the last rows."""
    best: Number | None
    """Difference of the best values; null where one has none."""


class ComparedMetric(View):
    goal: Literal["min", "max"]
    """Direction in which it is better."""
    final: Number
    """The last row's value."""
    best: Number | None
    """The best of the finite rows, by the goal."""
    best_step: Counter | None
    """Step of the first best."""
    change: Change | None
    """Null without a baseline, and where the baseline has no such metric."""


class ComparedJob(View):
    id: JobId
    name: str | None
    status: Status
    outcome: Outcome | None
    verdict: str | None
    num_steps: Counter
    train_s: float | None
    differs: dict[str, Any]
    """Parts that are not the same in all resolved specs, by dotted path; long values as their size
    and digest."""
    metrics: dict[str, ComparedMetric]
    """`loss` of the training rows, `eval.loss` and the other metrics of evaluations."""


class Band(View):
    """A band over jobs, at each place of the axis: the least, the median and the largest of those
    that have a row there. Null where fewer than half have; what is not finite is worse than all
    else."""

    low: list[Number | None]
    """The least."""
    mid: list[Number | None]
    """The median."""
    high: list[Number | None]
    """The largest."""


class SeedGroup(View):
    jobs: list[JobId]
    """The jobs of the group."""
    band: Band
    """The band of their losses, at each place of the axis."""


class JobComparison(View):
    jobs: list[ComparedJob]
    """The jobs, in the order in which they were named; of a label the oldest first."""
    same: dict[str, Any]
    """Parts that all resolved specs have in common, by dotted path."""
    baseline: JobId | None
    """The job with which the metrics are compared."""
    axis: Literal["step", "epoch", "time_s"]
    """The unit of the common axis."""
    curves: dict[str, list[float] | dict[str, list[Number | None]]]
    """Common axis `x`, and of each metric by job the value of the last row at or before each place;
    null where it has none yet, and after its last one."""
    groups: list[SeedGroup]
    """Jobs whose resolved specs differ by nothing but the seed (labels, priority and the like
    apart), with the band of their losses."""


class EstimateView(View):
    num_parameters: int
    num_steps: int
    memory_bytes: int
    history_bytes: int


class LayerView(View):
    name: str
    """Beginning of its parameters' names."""
    kind: str
    output_shape: list[Counter]
    """Shape of one row."""
    num_parameters: Counter
    parameters: dict[str, list[Counter]]
    """Shape of each, by name: the names that the weights have."""


class Validated(View):
    spec: JobSpec
    estimate: EstimateView
    layers: list[LayerView] | None = None
    """The model, layer by layer, each before those in it; left out for functions."""
    warnings: list[Mistake] | None = None
    """Doubts about what is allowed, where there are any."""


class Checkpoint(View):
    name: str
    step: Counter
    metrics: dict[str, Any]
    """`loss` of the step's row and `eval`, each where it is known."""
    size_bytes: Counter
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class CheckpointPage(Page):
    data: list[Checkpoint]
