"""The job spec: a problem, an optimizer, and how to run it. Defaults live here and only here.

`None` marks a default that depends on the rest of the spec; `core.specs.parsing.job` writes it out.
"""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag
from pydantic.json_schema import SkipJsonSchema

from core.specs.base import (
    WHOLE,
    NonNegative,
    NonNegativeInt,
    Positive,
    PositiveInt,
    Seed,
    Spec,
    made,
)
from core.specs.data import Data
from core.specs.functions import Bounds, Function, Start
from core.specs.losses import DEFAULT_METRICS, EvaluationMetric, Loss
from core.specs.models import Model
from core.specs.optimizers.kinds import Optimizer
from core.specs.schedules import Constant, Schedule
from core.specs.tokenizers import Characters, Tokenizer
from core.specs.webhooks.fields import JobWebhook

MAX_WINDOW = 100_000
"""Longest stretch of tokens or rows that a model sees."""


class DataProblem(Spec):
    """Base of the problems that train a model on rows of data."""

    kind: str
    data: Data
    model: Model
    loss: Loss | None = None
    """Default: cross_entropy for classes and tokens, mse for values and for a reconstruction."""


class Supervised(DataProblem):
    """A model's mean loss over rows, each with its target."""

    kind: Literal["supervised"]


class Reconstruction(DataProblem):
    """A model's mean loss over rows whose targets are their own features, as they are before any
    augmentation: principal components by a linear autoencoder, a denoising one with `noise`."""

    kind: Literal["reconstruction"]


class LanguageModel(DataProblem):
    """Each token of a text is learned from those before it.

    The data are a text, whose end is for evaluation (a `tail` split). Each part is cut into
    stretches of `context` tokens, one behind the other, which are the rows; the targets are the
    tokens that follow each token. Losses are means over tokens, in nats.
    """

    kind: Literal["language_model"]
    tokenizer: Tokenizer = Characters()
    """The way from the text to tokens."""
    context: Annotated[int, Field(ge=1, le=MAX_WINDOW), WHOLE] = 64
    """Tokens that the model sees at most."""
    tokens: SkipJsonSchema[tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] | None] = Field(
        default=None, exclude_if=lambda value: value is None
    )


class Forecast(DataProblem):
    """The next values of a series are learned from those before them.

    The data are rows in the order of time, whose end is for evaluation (a `tail` split); a row's
    numbers are its features, then its targets. Each stretch of `window` rows, with the targets of
    the `horizon` rows after it, is a row of the training; none of these reaches into the part for
    evaluation.
    """

    kind: Literal["forecast"]
    window: Annotated[int, Field(ge=1, le=MAX_WINDOW), WHOLE] = 48
    """Rows that the model sees."""
    horizon: Annotated[int, Field(ge=1, le=MAX_WINDOW), WHOLE] = 12
    """Rows after them whose targets it gives: outputs are `horizon` x targets, row by row."""


class FunctionProblem(Spec):
    kind: Literal["function"]
    function: Function
    start: Start | None = None
    """Default: the function's customary start. A mapping by name for an expression."""
    bounds: Bounds | None = None


OfData = Supervised | Reconstruction | LanguageModel | Forecast
"""The kinds of `DataProblem`."""

Problem = Annotated[OfData | FunctionProblem, Field(discriminator="kind")]


class ClipNorm(Spec):
    """Scale all gradients together to a norm of at most `max_norm` (Pascanu et al. 2013)."""

    kind: Literal["norm"]
    max_norm: Positive
    norm_type: Positive = 2.0


class ClipValue(Spec):
    """Clamp each gradient component to ±`clip_value`."""

    kind: Literal["value"]
    clip_value: Positive


class ClipPerParameter(Spec):
    """Scale the gradient of each parameter by itself to a norm of at most `max_norm`."""

    kind: Literal["per_parameter"]
    max_norm: Positive
    norm_type: Positive = 2.0


class ClipAdaptive(Spec):
    """Scale the gradient of each output unit to at most `clipping` of its weights' norm (Brock et
    al. 2021, arXiv 2102.06171, section 4.1): rows of matrices and channels of convolutions, along
    the first axis; vectors as a whole."""

    kind: Literal["adaptive"]
    clipping: Positive = 0.01
    eps: Positive = 1e-3
    """Least norm of weights that counts, so that those of 0 can begin to move."""


GradientClip = Annotated[
    ClipNorm | ClipValue | ClipPerParameter | ClipAdaptive, Field(discriminator="kind")
]

MAX_STEPS = 100_000_000
DEVICE_PATTERN = r"^(auto|cpu|cuda(:\d{1,2})?)$"
JOB_PATTERN = r"^job_[0-9a-hjkmnp-tv-z]{26}$"
STUDY_PATTERN = r"^study_[0-9a-hjkmnp-tv-z]{26}$"
ONE_LINE_PATTERN = r"^[^\x00-\x1f\x7f]*$"
LABEL_PATTERN = r"^[A-Za-z0-9._/-]{1,63}$"


class Budget(Spec):
    """The first limit reached ends the run (`budget_exhausted`)."""

    max_steps: Annotated[int, Field(gt=0, le=MAX_STEPS), WHOLE] | None = None
    """Updates. Default: 2,000 (supervised) or 1,000 (function), unless another limit is given."""
    max_epochs: Annotated[int, Field(gt=0, le=MAX_STEPS), WHOLE] | None = None
    max_seconds: Annotated[float, Field(gt=0, le=30 * 86_400)] | None = None
    """Seconds of training."""


class Stop(Spec):
    """Criteria tested on each step's row, before its update. Where the optimizer maximizes, every
    comparison of losses turns round."""

    target_loss: float | None = None
    """`converged` once loss ≤ target_loss (≥ where the optimizer maximizes)."""
    gradient_norm: NonNegative | None = None
    """`converged` once grad_norm ≤ gradient_norm."""
    metric: Annotated[str, Field(max_length=80)] | None = None
    """`eval.loss`, or `eval.` and a metric, which is evaluated then: `target`, `patience` and
    `min_delta` look at it, by its better side, and so do `best` and the `best` weights. A value
    that is not defined counts for nothing."""
    target: float | None = None
    """`converged` once `metric` is as good as this."""
    patience: PositiveInt | None = None
    """`stalled` after this many steps in which the loss has not fallen more than `min_delta` below
    the best one before (risen above it where the optimizer maximizes); with `metric`, after this
    many evaluations in which it has not become better by more than that."""
    min_delta: NonNegative = 0.0
    max_loss: float | None = None
    """`diverged` once loss > max_loss (< where the optimizer maximizes)."""


class Record(Spec):
    every: PositiveInt = 1
    """Keep the rows of the steps divisible by this, and the last."""
    eval_every: PositiveInt | None = 100
    """Evaluate (where there is evaluation data) at 0, at each multiple of this and at the end;
    null: at the end only."""
    metrics: Annotated[tuple[EvaluationMetric, ...], Field(max_length=20)] | None = DEFAULT_METRICS
    """Metrics of each evaluation, beside the loss. Default: `accuracy` for classes, `rmse` for
    values; of a list with both, the one counts that suits the targets. null, of jobs stored before
    there was a choice: `accuracy` for classes, `mae` for values."""
    gradient_cosine: bool = False
    """Record `grad_cosine` too: the cosine between each step's gradient and that of the step before
    (whatever `every` is), before clipping. NaN in the first row."""


class CheckpointEvery(Spec):
    every_steps: PositiveInt | None = 500
    """null: none on the way; the initial, best and final weights are always kept."""


class StartFrom(Spec):
    """Go on from a checkpoint of another job, whose spec must be the same but for its budget and
    for what no number depends on. `POST /v1/jobs/{id}/continue` writes this."""

    job: Annotated[str, Field(pattern=JOB_PATTERN)]
    step: NonNegativeInt
    """Updates applied before the checkpoint. The budget counts from the origin, not from here."""


MaxTimes = Annotated[int, Field(ge=1, le=100), WHOLE]


class StopOnDivergence(Spec):
    """The run ends at the row that shows it."""

    action: Literal["stop"] = "stop"


class RollBackOnDivergence(Spec):
    """Go back to the latest good snapshot, kept every 100 steps, and on from there at a lower rate.

    Acts on a loss or gradient that is not finite, a loss above `stop.max_loss`, and a loss that
    stays far above where it began (the rule by which a finite run is called diverged). The rows
    from the snapshot on are written anew.
    """

    action: Literal["rollback"]
    lr_factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Each time, the learning rate of all later steps is multiplied by this, beside the
    schedule."""
    max_times: MaxTimes = 3
    """Number of interventions; after the last, the run ends as with `stop`."""


class SkipOnDivergence(Spec):
    """Leave out the update of a step whose loss or gradient is not finite, or whose loss is above
    `stop.max_loss`; its row stays."""

    action: Literal["skip"]
    lr_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Each time, the learning rate of all later steps is multiplied by this, beside the
    schedule."""
    max_times: MaxTimes = 3
    """Number of interventions; after the last, the run ends as with `stop`."""


class ClipOnDivergence(Spec):
    """Scale gradients, from the divergence on, to at most the run's own norm: the median of the
    last 100 (Pascanu et al. 2013 take such a statistic for the threshold). Each further time halves
    it.

    Acts as `rollback` does. A gradient that is not finite has no direction: its update is left
    out.
    """

    action: Literal["clip"]
    lr_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Each time, the learning rate of all later steps is multiplied by this, beside the
    schedule."""
    max_times: MaxTimes = 3
    """Number of interventions; after the last, the run ends as with `stop`."""


OnDivergence = Annotated[
    StopOnDivergence | RollBackOnDivergence | SkipOnDivergence | ClipOnDivergence,
    Field(discriminator="action"),
]


def _batch_size_tag(value: object) -> str:
    return "~word" if isinstance(value, str) else "~number"


BatchSize = Annotated[
    Annotated[PositiveInt, Tag("~number")] | Annotated[Literal["full"], Tag("~word")],
    Discriminator(_batch_size_tag),
]

Labels = Annotated[
    dict[Annotated[str, Field(pattern=LABEL_PATTERN)], Annotated[str, Field(max_length=255)]],
    Field(max_length=64),
]


Precision = Literal["float32", "float64", "bfloat16"]


class JobSpec(Spec):
    problem: Problem
    optimizer: Optimizer
    schedule: Schedule = Constant()
    batch_size: BatchSize | None = None
    """Default: 64 for supervised (all rows if there are fewer; "full" for lbfgs and rprop, which
    need exact gradients), "full" for functions. An explicit order replaces it: it stays null."""
    accumulate: Annotated[int, Field(ge=1, le=100_000), WHOLE] = 1
    """Micro batches of a step: each is `batch_size` / `accumulate` rows, and the step's loss and
    gradient are those of the whole batch."""
    gradient_clip: GradientClip | None = None
    budget: Budget = Budget()
    stop: Stop = Stop()
    record: Record = Record()
    checkpoint: CheckpointEvery = CheckpointEvery()
    seed: Seed = 0
    device: Annotated[str, Field(pattern=DEVICE_PATTERN)] = "auto"
    precision: Precision | None = None
    """Default: float32 for supervised, float64 for functions. `bfloat16` computes a model's forward
    pass by autocast, and keeps weights, losses and optimizer in float32."""
    threads: Annotated[int, Field(ge=1, le=64), WHOLE] | None = None
    """Threads of a CPU. Default: one for small models and batches, two for large ones. Another
    number changes the last bits, and has the run train by itself."""
    priority: Annotated[int, Field(ge=0, le=9), WHOLE] = 5
    max_attempts: Annotated[int, Field(ge=1, le=100), WHOLE] = 3
    diagnose: Literal["off", "history", "full"] = "history"
    """`full` also measures the final weights (curvature, layers), before the job is terminal."""
    on_divergence: OnDivergence = StopOnDivergence()
    start_from: StartFrom | None = None
    labels: Labels = {}  # noqa: RUF012 (pydantic copies it)
    webhook: JobWebhook | None = None


Name = Annotated[str, Field(min_length=1, max_length=200, pattern=ONE_LINE_PATTERN)]
Note = Annotated[str, Field(min_length=1, max_length=10_000)]


_OWN = frozenset({"name", "note"})


class PostedJob(JobSpec):
    """A job's spec as it is posted: what stands beside it is the job's, and no part of the spec."""

    name: Name | None = None
    """The name to show for it; one line."""
    note: Note | None = None
    """Words about it."""

    @property
    def spec(self) -> JobSpec:
        """The spec alone, in a third of the time that `model_construct` takes: this is on the way
        of every job."""
        fields = {name: value for name, value in self.__dict__.items() if name not in _OWN}
        return made(JobSpec, fields, self.model_fields_set - _OWN)
