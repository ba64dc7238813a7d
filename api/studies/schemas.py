"""Schemas of the replies about studies, for the OpenAPI document; see `api.jobs.schemas`."""

from typing import Any

from pydantic import ConfigDict

from api.history.schemas import Rows
from api.http.schemas import (
    Counter,
    Mistake,
    Number,
    Page,
    StudyId,
    Time,
    TimelineEntryView,
    UsageView,
    View,
    WaitingFor,
)
from api.jobs.schemas import BestMetric, Failure, LossAt, Result
from core.jobs import Outcome, Status
from core.specs.job import JobSpec
from core.specs.study import Metric, StudySpec


class RunCounts(View):
    queued: Counter
    running: Counter
    succeeded: Counter
    """Runs that succeeded, the diverged among them."""
    failed: Counter
    cancelled: Counter
    """Runs cancelled by the user, or by a stopper."""
    diverged: Counter


class StudyProgress(View):
    num_runs: Counter
    num_finished_runs: Counter
    runs: RunCounts
    step: Counter
    """Updates applied, over all runs."""
    max_steps: Counter
    """The most steps that the runs' budgets allow."""
    fraction: float | None
    steps_per_s: Number | None
    """The mean since the study began, pauses left out; null while it waits."""
    eta_s: Number | None
    queue_position: int | None
    """The place in the queue: 0 is next; null unless queued."""
    waiting_for: WaitingFor | None
    """Reason why it waits: `no_worker` is alive, none of them has its `device`, others go first in
    the `queue`, or a `limit` on what may run at once is reached. Null unless it waits."""


class BestConfiguration(View):
    model_config = ConfigDict(extra="allow")
    configuration: int
    """The configuration's number; below 0: one of those that were inherited."""
    params: dict[str, Any]
    """Parameters by dotted path of the job's spec."""
    metric: Number | None
    """The mean of the metric over the repeats that have one."""


class StudyLinks(View):
    self: str
    runs: str
    events: str
    best: str
    comparison: str
    importance: str
    """Shares of the metric's variation by parameter."""
    plot: str


class ListedStudy(View):
    """A study as lists show it: without its timeline, and with the best configuration once it has
    succeeded."""

    id: StudyId
    status: Status
    spec: StudySpec
    """The spec, resolved: every default written out. POSTed again it repeats the study."""
    progress: StudyProgress
    best: BestConfiguration | None
    """The best configuration so far. Null in a list, and in a large study, until that has
    succeeded."""
    result: dict[str, Any] | None
    error: Failure | None
    labels: dict[str, str]
    name: str | None
    note: str | None
    priority: int
    keep_until: Time | None
    parent_id: StudyId | None
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    cancel_requested_at: Time | None
    pause_requested_at: Time | None
    warnings: list[Mistake]
    """Doubts about what was allowed."""
    usage: UsageView | None = None
    links: StudyLinks


class Study(ListedStudy):
    timeline: list[TimelineEntryView]
    """Events and their times, in order; at most 100 entries."""


class StudyPage(Page):
    data: list[ListedStudy]


class StudyEstimate(View):
    num_configurations: Counter
    num_runs: Counter
    num_steps: Counter
    """The most steps that all runs take together."""
    memory_bytes: Counter
    """Memory that the largest run takes."""
    history_bytes: Counter
    """Bytes of the histories of all runs."""


class ValidatedStudy(View):
    spec: StudySpec
    estimate: StudyEstimate
    warnings: list[Mistake]
    """Doubts about what was allowed."""


class Target(View):
    model_config = ConfigDict(extra="allow")
    step: Counter
    seconds: Number


class Pause(View):
    step: Counter
    loss: Number | None
    eval: dict[str, Any] | None


class Stopped(View):
    model_config = ConfigDict(extra="allow")
    by: str
    step: Counter
    rank: Counter | None = None
    of: Counter | None = None


class RunLinks(View):
    self: str
    study: str
    history: str
    model: str


class Run(View):
    study_id: StudyId
    index: Counter
    """The run's number: configuration · repeats + repeat."""
    configuration: Counter
    repeat: Counter
    params: dict[str, Any]
    """Parameters that this configuration has of its own, by dotted path of the job's spec."""
    seed: int
    status: Status
    outcome: Outcome | None
    metric: Number | None
    """The value of the study's metric for this run."""
    target: Target | None
    """The step and the seconds at which the metric first reached the study's target; null: it has
    not."""
    best: LossAt | BestMetric | None
    result: Result | None
    fused: bool | None
    """True when the run trained in a stack with others."""
    share_s: Number | None
    """The run's share of the training time, in seconds."""
    paused: Pause | None
    """Values that were known when the run paused between two rungs of a stopper. The status is
    `queued`."""
    stopped: Stopped | None
    """The stopper that stopped the run, and the step; the status is `cancelled`."""
    error: Failure | None
    enqueued: bool
    """True when the study was given its configuration, rather than its strategy choosing it."""
    links: RunLinks


class RunPage(Page):
    data: list[Run]


class RunWithSpec(Run):
    spec: JobSpec
    """The spec, resolved: POST it as a job to repeat the run alone."""


class RunHistory(Rows):
    """Rows of a run's history; of a run that is not planned yet, `step` alone."""

    study_id: StudyId
    run: Counter
    """The index of the run."""


class Reached(View):
    """Counts and times of the runs of a configuration that came to the study's target."""

    model_config = ConfigDict(extra="allow")
    by_repeat: list[Any]
    num_reached: Counter
    num_never: Counter
    """Number of runs that ended without reaching the target."""
    num_censored: Counter
    """Number of runs that were cut off before: they might have reached it."""
    median: Number | None
    """Kaplan and Meier's estimate of the median."""


class MeanHeldOutMetrics(View):
    """Means over the repeats that came to their end without diverging."""

    num: Counter
    """Number of these repeats."""
    best: dict[str, Number]
    """Means of the best weights' metrics."""
    final: dict[str, Number]
    """Means of the final weights' metrics."""


class ConfigurationOrigin(View):
    study_id: StudyId
    configuration: int


class ComparedConfiguration(View):
    """A configuration, its repeats folded; the best comes first."""

    model_config = ConfigDict(extra="allow")
    configuration: int
    """The configuration's number; below 0: one of those that were inherited."""
    rank: int
    inherited: bool
    """True when the study that this one was begun from trained it."""
    origin: ConfigurationOrigin | None
    """The study and the configuration that an inherited one comes from."""
    params: dict[str, Any]
    num_runs: Counter
    num_succeeded: Counter
    """Number of runs that succeeded, the diverged among them."""
    num_diverged: Counter
    num_failed: Counter
    num_cancelled: Counter
    """Number of cancelled runs, those that a stopper stopped among them."""
    num_stopped: Counter
    num_pending: Counter
    mean: Number | None
    """Mean of the metric; null where runs were lost or stopped, lest survivors speak for them."""
    ci95: list[Number] | None
    """The 95 % interval of the mean; null for one repeat."""
    survivors: dict[str, Any] | None
    values: list[Number | None]
    """The metric of each repeat, as it was recorded."""
    test: MeanHeldOutMetrics | None = None
    """Means of the metrics on the rows of the test; no place follows from them."""
    difference_to_leader: dict[str, Any] | None
    """The difference repeat by repeat: mean, interval, p-value."""
    steps_to_target: Reached | None
    seconds_to_target: Reached | None
    num_updates: Counter
    seconds: Number
    stopped: Stopped | None


class Importance(View):
    """The share of the metric's variation that each swept path explains."""

    study_id: StudyId
    metric: Metric
    method: str
    """`ped_anova`: Watanabe et al. 2023, arXiv 2304.10255, by Optuna."""
    options: dict[str, Any]
    """Options of the method."""
    num_configurations: Counter
    """Number of configurations that it was computed from."""
    num_inherited: Counter
    """Number of these that were inherited."""
    num_left_out: Counter
    """Number of configurations that diverged, failed or were stopped."""
    importance: dict[str, float] | None
    """Share by path, the largest first; together they are 1. Null: `reason` says why."""
    reason: str | None


class StudyComparison(View):
    """The comparison of a study's configurations; of what is known so far, while the study runs."""

    model_config = ConfigDict(extra="allow")
    study_id: StudyId
    metric: Metric
    complete: bool
    """True when the study has ended."""
    num_runs: Counter
    level: float
    """Level of the intervals."""
    configurations: list[ComparedConfiguration]
    leader: int | None
    """Number of the leading configuration."""
    winner: int | None
    """The configuration that differs from all others by more than chance; null: `reason` says
    why."""
    reason: str
    problems: list[dict[str, Any]] | None
    """The same comparison for each problem, where configurations train different ones."""
    minima: dict[str, Any] | None
    """The distinct minima of a function that were found."""
    profile: dict[str, Any] | None
    """Performance profiles (Dolan and Moré 2002) and their scores; null: `profile_reason`."""
    profile_reason: str | None
    tuning_budget: dict[str, Any]
