"""Rules of what is evaluated: the metrics must suit the targets."""

from typing import Final

from core.specs.job import FunctionProblem, Record, Supervised
from core.specs.losses import (
    DEFAULT_METRICS,
    METRICS,
    CrossEntropy,
    EvaluationMetric,
    Loss,
    Targets,
    TopK,
    chosen_of,
)
from core.specs.sizes.shapes import data_shape, output_width, targets_of
from core.specs.validation.errors import FieldErrorList, shown

_PATH: Final = "record.metrics"
_ARE: Final[dict[Targets, str]] = {
    "classes": "classes",
    "two_classes": "two classes, on one logit",
    "labels": "several labels",
    "values": "values",
}


def resolve_record(
    record: Record, problem: Supervised | FunctionProblem, faults: FieldErrorList
) -> Record:
    """Return the record with its metrics settled: those that are evaluated, in order."""
    if record.metrics is None:
        return record
    if isinstance(problem, FunctionProblem):
        if record.metrics not in (DEFAULT_METRICS, ()):
            faults.add(
                _PATH, "conflict",
                f"{_PATH}: a function has no rows to evaluate; {_listed(record.metrics)} was given:"
                " leave it out",
            )  # fmt: skip
        return record.model_copy(update={"metrics": ()})
    if problem.loss is None:
        raise ValueError("the loss must be settled before what is evaluated")
    shape = data_shape(problem.data)
    targets, outputs = targets_of(problem.loss, shape), output_width(problem.loss, shape)
    metrics = chosen_of(record.metrics, values=targets == "values")
    kinds = [each.kind for each in record.metrics]
    for place, each in enumerate(record.metrics):
        if each.kind in kinds[:place]:
            faults.add(
                f"{_PATH}.{place}", "duplicate",
                f"{_PATH}.{place}: {each.kind} is there already; name each metric once",
            )  # fmt: skip
    for each in metrics:
        _check(f"{_PATH}.{kinds.index(each.kind)}", each, problem.loss, targets, outputs, faults)
    return record if metrics == record.metrics else record.model_copy(update={"metrics": metrics})


def _check(
    path: str,
    metric: EvaluationMetric,
    loss: Loss,
    targets: Targets,
    outputs: int,
    faults: FieldErrorList,
) -> None:
    if not _suits(metric, targets):
        faults.add(
            path, "metric_does_not_fit",
            f"{path}: {metric.kind} does not suit targets that are {_ARE[targets]}; these do:"
            f" {', '.join(suitable(loss, targets))}",
        )  # fmt: skip
    elif metric.kind == "perplexity" and not isinstance(loss, CrossEntropy):
        faults.add(
            path, "metric_does_not_fit",
            f"{path}: perplexity is of the probabilities that cross_entropy gives, and the loss is"
            f" {loss.kind}; use cross_entropy, or another metric:"
            f" {', '.join(suitable(loss, targets))}",
        )  # fmt: skip
    elif isinstance(metric, TopK) and metric.k >= outputs:
        way_out = f"give at most {outputs - 1}" if outputs > 2 else "use accuracy"
        faults.add(
            f"{path}.k", "less_than",
            f"{path}.k must be less than the {outputs:,} classes, of which all would be right;"
            f" {metric.k:,} was given: {way_out}",
        )  # fmt: skip


def _suits(metric: EvaluationMetric, targets: Targets) -> bool:
    return targets in METRICS[metric.kind].suits


def suitable(loss: Loss, targets: Targets) -> list[str]:
    """Return the names of the metrics that suit a problem."""
    return [
        name
        for name, facts in METRICS.items()
        if targets in facts.suits and (name != "perplexity" or isinstance(loss, CrossEntropy))
    ]


def _listed(metrics: tuple[EvaluationMetric, ...]) -> str:
    return shown([each.model_dump(mode="json") for each in metrics])
