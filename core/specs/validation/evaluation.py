"""Rules of what is evaluated, and of stopping by it: the metrics must suit the targets."""

from typing import Final

from core.specs.base import stored
from core.specs.job import DataProblem, FunctionProblem, LanguageModel, Record, Stop
from core.specs.losses import (
    DEFAULT_METRICS,
    EVAL,
    METRICS,
    Accuracy,
    CrossEntropy,
    EvaluationMetric,
    Loss,
    Perplexity,
    Targets,
    TopK,
    chosen_of,
)
from core.specs.sizes.extent import Extent
from core.specs.sizes.shapes import output_width, problem_shape, targets_of
from core.specs.validation.errors import FieldErrorList, shown

_PATH: Final = "record.metrics"
_ARE: Final[dict[Targets, str]] = {
    "classes": "classes",
    "two_classes": "two classes, on one logit",
    "labels": "several labels",
    "values": "values",
}


def resolve_record(
    record: Record, stop: Stop, problem: DataProblem | FunctionProblem, faults: FieldErrorList
) -> Record:
    """Return the record with its metrics settled: those that are evaluated, in order, the one of
    `stop` among them."""
    if isinstance(problem, FunctionProblem):
        if record.metrics not in (DEFAULT_METRICS, (), None):
            faults.add(
                _PATH, "conflict",
                f"{_PATH}: a function has no rows to evaluate; {_listed(record.metrics)} was given:"
                " leave it out",
            )  # fmt: skip
        return record if record.metrics is None else record.model_copy(update={"metrics": ()})
    if problem.loss is None:
        raise ValueError("the loss must be settled before what is evaluated")
    shape = problem_shape(problem)
    targets, outputs = targets_of(problem.loss, shape), output_width(problem.loss, shape)
    if isinstance(problem, LanguageModel):
        record = _of_tokens(record, faults)
    given = record.metrics or ()
    kinds = [each.kind for each in given]
    metrics = chosen = chosen_of(record.metrics, values=targets == "values")
    wanted = _numbered(stop.metric)
    if wanted is not None and wanted not in [each.kind for each in metrics]:
        metrics = (*metrics, stored(EvaluationMetric, wanted))
    elif record.metrics is None:
        return record
    for place, each in enumerate(given):
        if each.kind in kinds[:place]:
            first = given[kinds.index(each.kind)]
            faults.add(f"{_PATH}.{place}", "duplicate", _duplicate(f"{_PATH}.{place}", each, first))
    for each in metrics:
        own = record.metrics is not None and each in chosen
        path = f"{_PATH}.{kinds.index(each.kind)}" if own else "stop.metric"
        _check(path, each, problem.loss, targets, outputs, faults)
    return record if metrics == record.metrics else record.model_copy(update={"metrics": metrics})


def _duplicate(path: str, metric: EvaluationMetric, first: EvaluationMetric) -> str:
    """Say that a metric is named twice, and what to do instead."""
    if isinstance(metric, TopK) and isinstance(first, TopK) and metric.k != first.k:
        return (
            f"{path}: top_k stands there already, with k {first.k:,}, and a job has one number"
            f" {EVAL}top_k: keep one of both, and evaluate k {metric.k:,} in another job (a spec"
            " and seed train the same weights again)"
        )
    return f"{path}: {metric.kind} is there already; name each metric once"


OF_TOKENS: Final = (Perplexity(kind="perplexity"), Accuracy(kind="accuracy"))
"""Metrics of a model of language, where none are named."""


def _of_tokens(record: Record, faults: FieldErrorList) -> Record:
    """Return the record with the default metrics of tokens; others than these keep the outputs of
    all rows, of each token as many as there are tokens."""
    given = record.metrics or ()
    if all(each in given for each in DEFAULT_METRICS):
        # A study's metric stands behind the default ones.
        others = tuple(each for each in given if each not in (*DEFAULT_METRICS, *OF_TOKENS))
        record = record.model_copy(update={"metrics": (*OF_TOKENS, *others)})
    for place, each in enumerate(record.metrics or ()):
        if each.kind in METRICS and each.kind not in {known.kind for known in OF_TOKENS}:
            faults.add(
                f"{_PATH}.{place}", "metric_does_not_fit",
                f"{_PATH}.{place}: {each.kind} is not of models of language, whose rows are"
                " tokens; use perplexity or accuracy",
            )  # fmt: skip
    return record


def _numbered(name: str | None) -> str | None:
    """Return the metric in `eval.` and its name, where it is one that is a number."""
    metric = "" if name is None else name.removeprefix(EVAL)
    facts = METRICS.get(metric) if metric != name else None
    return metric if facts is not None and facts.goal is not None else None


def check_stop(
    stop: Stop,
    record: Record,
    problem: DataProblem | FunctionProblem,
    size: Extent,
    faults: FieldErrorList,
) -> None:
    """Check that there is something to look at where a run stops by evaluations. `record`: its
    metrics are settled."""
    if stop.metric is None:
        if stop.target is not None:
            faults.add(
                "stop.target", "conflict",
                f"stop.target {stop.target:g} is of stop.metric, which is not given: name one, such"
                " as eval.loss, or give stop.target_loss, of the training loss",
            )  # fmt: skip
        return
    if stop.target_loss is not None:
        faults.add(
            "stop.target_loss", "conflict",
            f"stop.target_loss {stop.target_loss:g} is of the training loss, and stop.metric"
            f" {shown(stop.metric)} of evaluations: give stop.target, or leave stop.metric out",
        )  # fmt: skip
    if isinstance(problem, FunctionProblem):
        faults.add(
            "stop.metric", "conflict",
            f"stop.metric: a function has no rows to evaluate; {shown(stop.metric)} was given:"
            " leave it out, and give stop.target_loss for its value",
        )  # fmt: skip
        return
    if stop.metric != f"{EVAL}loss" and _numbered(stop.metric) is None:
        assert problem.loss is not None
        assert size.shape is not None
        names = suitable(problem.loss, targets_of(problem.loss, size.shape))
        known = [f"{EVAL}{name}" for name in ("loss", *names) if name != "confusion_matrix"]
        faults.add(
            "stop.metric", "unknown_metric",
            f"stop.metric: {shown(stop.metric)} is none; one of: {', '.join(known)}",
        )  # fmt: skip
    elif size.eval_rows == 0:
        faults.add(
            "stop.metric", "no_evaluation_rows",
            f"stop.metric: {shown(stop.metric)} needs rows to evaluate, and none are held out: give"
            " problem.data.eval_fraction, or leave it out",
        )  # fmt: skip
    elif record.eval_every is None and (stop.target is not None or stop.patience is not None):
        faults.add(
            "record.eval_every", "conflict",
            f"record.eval_every is null, so that {stop.metric} is known at the end alone, and"
            " nothing stops by it; give eval_every, or leave stop.target and stop.patience out",
        )  # fmt: skip


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


def _listed(metrics: tuple[EvaluationMetric, ...] | None) -> str:
    return shown([each.model_dump(mode="json") for each in metrics or ()])
