"""Losses, by torch.nn.functional's names and options: the mean over the rows of a batch; and the
metrics that an evaluation computes beside them."""

from typing import Annotated, Final, Literal, NamedTuple

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_serializer

from core.specs.base import WHOLE, Fraction, NonNegative, Positive, PositiveInt, Spec


def _word_or_list(value: object) -> str:
    return "~balanced" if isinstance(value, str) else "~list"


def _number_or_list(value: object) -> str:
    return "~list" if isinstance(value, list | tuple) else "~number"


_Weights = Annotated[tuple[NonNegative, ...], Field(min_length=1, max_length=100_000)]
ClassWeights = Annotated[
    Annotated[Literal["balanced"], Tag("~balanced")] | Annotated[_Weights, Tag("~list")],
    Discriminator(_word_or_list),
]
PosWeight = Annotated[
    Annotated[Positive, Tag("~number")]
    | Annotated[
        Annotated[tuple[Positive, ...], Field(min_length=1, max_length=100_000)], Tag("~list")
    ],
    Discriminator(_number_or_list),
]


class CrossEntropy(Spec):
    """Softmax cross-entropy of class ids 0 … C−1 (logits: rows × C)."""

    kind: Literal["cross_entropy"]
    label_smoothing: Fraction = 0.0
    class_weights: ClassWeights | None = None
    """A weight for each class, by which its rows count in the mean; `balanced`: so that all classes
    count the same, rows / (classes · rows of the class), of the training rows."""
    ignore_index: Annotated[int, Field(ge=-(2**31), lt=2**31), WHOLE] | None = None
    """The target of rows that count for nothing, in losses and metrics: a class, or a negative
    number that is none."""


class BinaryCrossEntropy(Spec):
    """Sigmoid cross-entropy of targets in {0, 1}: on one logit a row, or on one for each label
    (torch's binary_cross_entropy_with_logits)."""

    kind: Literal["binary_cross_entropy"]
    pos_weight: PosWeight | None = None
    """Factor on the loss of targets that are 1: a number, or one for each label."""


class MultiMargin(Spec):
    """Multi-class hinge loss of class ids (multi_margin_loss)."""

    kind: Literal["multi_margin"]
    p: Annotated[int, Field(ge=1, le=2), WHOLE] = 1
    margin: NonNegative = 1.0


class MSE(Spec):
    kind: Literal["mse"]


class L1(Spec):
    kind: Literal["l1"]


class SmoothL1(Spec):
    kind: Literal["smooth_l1"]
    beta: NonNegative = 1.0


class Huber(Spec):
    kind: Literal["huber"]
    delta: Positive = 1.0


class Quantile(Spec):
    """Quantile (pinball) loss: the mean of max(q·e, (q − 1)·e), e the target less the output
    (Koenker and Bassett 1978); outputs come to be the quantile q of the targets."""

    kind: Literal["quantile"]
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """q: the share of targets that are to lie below the outputs."""


Loss = Annotated[
    CrossEntropy | BinaryCrossEntropy | MultiMargin | MSE | L1 | SmoothL1 | Huber | Quantile,
    Field(discriminator="kind"),
]


# What an evaluation computes beside the loss.
class _Plain(Spec):
    """A metric without options: in JSON its name alone."""

    @model_serializer
    def _name(self) -> str:
        return str(getattr(self, "kind"))  # noqa: B009 (each kind has its own)


class Accuracy(_Plain):
    """The share of rows whose class is right (of several labels: all of them)."""

    kind: Literal["accuracy"]


class TopK(Spec):
    """The share of rows whose class is among the `k` with the largest outputs."""

    kind: Literal["top_k"]
    k: PositiveInt = 2


class BalancedAccuracy(_Plain):
    """The mean over classes of the share of their rows that are right."""

    kind: Literal["balanced_accuracy"]


class F1(_Plain):
    """The mean over classes (or labels) of the harmonic mean of precision and recall."""

    kind: Literal["f1"]


class AUROC(_Plain):
    """The area under the receiver operating characteristic; of several classes the mean of each
    against the rest."""

    kind: Literal["auroc"]


class AveragePrecision(_Plain):
    """The mean precision, weighted by the gain in recall; of several classes the mean of each
    against the rest."""

    kind: Literal["average_precision"]


class ConfusionMatrix(_Plain):
    """The number of rows of each class (down) that were taken for each class (across), at the end
    of a run: `result.eval` shows it, and no row of a history."""

    kind: Literal["confusion_matrix"]


class MAE(_Plain):
    """The mean absolute error."""

    kind: Literal["mae"]


class RMSE(_Plain):
    """The root of the mean squared error, the mean over outputs."""

    kind: Literal["rmse"]


class R2(_Plain):
    """The share of the targets' variance that is explained, the mean over outputs."""

    kind: Literal["r2"]


class MAPE(_Plain):
    """The mean of |error| / |target|; arbitrarily large where a target is 0."""

    kind: Literal["mape"]


class Perplexity(_Plain):
    """The exponential of the mean cross-entropy, without weights or smoothing."""

    kind: Literal["perplexity"]


def _name_as_kind(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


_Kinds = Annotated[
    Accuracy
    | TopK
    | BalancedAccuracy
    | F1
    | AUROC
    | AveragePrecision
    | ConfusionMatrix
    | MAE
    | RMSE
    | R2
    | MAPE
    | Perplexity,
    Field(discriminator="kind"),
]
MetricName = Literal[
    "accuracy", "top_k", "balanced_accuracy", "f1", "auroc", "average_precision",
    "confusion_matrix", "mae", "rmse", "r2", "mape", "perplexity",
]  # fmt: skip
EvaluationMetric = Annotated[
    _Kinds, BeforeValidator(_name_as_kind, json_schema_input_type=MetricName | _Kinds)
]
"""`"f1"` is short for `{"kind": "f1"}`; a resolved spec shows those without options by name."""

Targets = Literal["classes", "two_classes", "labels", "values"]
"""Targets of a problem: ids of classes; one class of two, on one logit; several labels, a logit
each; values."""


class MetricFacts(NamedTuple):
    """Facts about a metric: the better side (None: it is no number) and what it is for."""

    goal: Literal["min", "max"] | None
    suits: frozenset[Targets]


_CLASSES: Final = frozenset[Targets]({"classes", "two_classes"})
_CLASSES_AND_LABELS: Final = frozenset[Targets]({*_CLASSES, "labels"})
_VALUES: Final = frozenset[Targets]({"values"})

METRICS: Final[dict[str, MetricFacts]] = {
    "accuracy": MetricFacts("max", _CLASSES_AND_LABELS),
    "top_k": MetricFacts("max", frozenset({"classes"})),
    "balanced_accuracy": MetricFacts("max", _CLASSES),
    "f1": MetricFacts("max", _CLASSES_AND_LABELS),
    "auroc": MetricFacts("max", _CLASSES_AND_LABELS),
    "average_precision": MetricFacts("max", _CLASSES_AND_LABELS),
    "confusion_matrix": MetricFacts(None, _CLASSES),
    "mae": MetricFacts("min", _VALUES),
    "rmse": MetricFacts("min", _VALUES),
    "r2": MetricFacts("max", _VALUES),
    "mape": MetricFacts("min", _VALUES),
    "perplexity": MetricFacts("min", frozenset({"classes"})),
}
"""The metrics by name, in the order of the catalogue."""

DEFAULT_METRICS: Final = (Accuracy(kind="accuracy"), RMSE(kind="rmse"))
"""The one of both counts that suits the targets."""

EVAL: Final = "eval."
"""Begins the name of an evaluation's number where it stands beside those of training."""


def ignored_class(loss: Loss) -> int | None:
    """Return the target of rows that count for nothing; None: there is none."""
    return loss.ignore_index if isinstance(loss, CrossEntropy) else None


def classes_among(values: tuple[int, ...], ignored: int | None) -> tuple[int, ...]:
    """Return the whole numbers of a column that are classes: not a negative one that is ignored."""
    return tuple(value for value in values if value != ignored or value >= 0)


def chosen_of(
    metrics: tuple[EvaluationMetric, ...] | None, *, values: bool
) -> tuple[EvaluationMetric, ...]:
    """Return what is evaluated where targets are values, or are not. None: of a spec that was
    stored before there was a choice."""
    if metrics is None:
        return (MAE(kind="mae"),) if values else DEFAULT_METRICS[:1]
    if {each.kind for each in metrics} >= {"accuracy", "rmse"}:
        other = "accuracy" if values else "rmse"
        return tuple(each for each in metrics if each.kind != other)
    return metrics


SUMS: Final = frozenset({"accuracy", "mae", "rmse", "perplexity"})
"""Metrics that are made of sums over rows; for the others all rows' outputs are kept."""


def gathers(metrics: tuple[EvaluationMetric, ...] | None) -> bool:
    """Tell whether an evaluation keeps the outputs of all its rows."""
    return any(each.kind not in SUMS for each in metrics or ())


def columns_of(metrics: tuple[EvaluationMetric, ...] | None, *, values: bool) -> tuple[str, ...]:
    """Return the numbers of an evaluation beside the loss, in order."""
    chosen = chosen_of(metrics, values=values)
    return tuple(each.kind for each in chosen if METRICS[each.kind].goal is not None)
