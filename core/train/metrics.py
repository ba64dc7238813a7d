"""Metrics of an evaluation: taken in chunk by chunk, many runs at once.

Sums (accuracy, errors, cross-entropy) are kept on the device; what needs all rows at once
(rankings, per-class figures) is gathered and computed by scikit-learn, in float64.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from core.specs.losses import METRICS, EvaluationMetric, TopK
from core.train.losses import TargetForm

Column = NDArray[np.float64]
Outputs = NDArray[np.float64]
"""Numbers of one run: rows x outputs."""
Ids = NDArray[np.int64]
Table = list[list[int]]


class Measurement:
    """Metrics of the same rows for each of some runs.

    Args:
        metrics: which.
        form: of the targets.
        ignored: the class whose rows count for nothing.
    """

    def __init__(
        self,
        metrics: Sequence[EvaluationMetric],
        form: TargetForm,
        ignored: int | None = None,
    ) -> None:
        self._ignored = ignored
        self._metrics = metrics
        self._form = form
        self._sums: dict[str, Column] = {}
        self._gathers = any(each.kind not in _SUMS for each in metrics)
        self._outputs: list[NDArray[Any]] = []
        self._targets: list[NDArray[Any]] = []
        self._rows, self._runs = 0, 0

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in rows: outputs (runs, rows, outputs), targets (rows,) or (rows, outputs); of
        tokens outputs (runs, rows, time, outputs), targets (rows, time): each is a row."""
        if outputs.dim() == 4:
            outputs, targets = outputs.flatten(1, 2), targets.flatten()
        if self._ignored is not None:
            kept = targets != self._ignored
            outputs, targets = outputs[:, kept], targets[kept]
        self._rows, self._runs = self._rows + len(targets), len(outputs)
        for each in self._metrics:
            if (summed := _SUMS.get(each.kind)) is not None:
                found = summed[0](outputs, targets, self._form).cpu().numpy()
                before = self._sums.get(each.kind)
                self._sums[each.kind] = found if before is None else before + found
        if self._gathers:
            self._outputs.append(outputs.cpu().numpy())
            self._targets.append(targets.cpu().numpy())

    def values(self) -> dict[str, Column]:
        """Return each metric that is a number, one a run: NaN where it is not defined."""
        if not self._rows:
            numbers = [each.kind for each in self._metrics if METRICS[each.kind].goal is not None]
            return {name: np.full(self._runs, math.nan) for name in numbers}
        found: dict[str, Column] = {}
        for each in self._metrics:
            if each.kind in _SUMS:
                found[each.kind] = _SUMS[each.kind][1](self._sums[each.kind], self._rows)
            elif METRICS[each.kind].goal is not None:
                found[each.kind] = np.array(
                    [_measured(each, *one, self._ignored) for one in self._each()]
                )
        return found

    def confusion(self) -> list[Table | None]:
        """Return each run's confusion matrix."""
        return [_confusion(*one) for one in self._each()]

    def _each(self) -> Iterator[tuple[Outputs, NDArray[Any]]]:
        """Return each run's outputs of all rows and the targets, numbers in float64."""
        outputs, targets = np.concatenate(self._outputs, 1), np.concatenate(self._targets)
        if targets.ndim == 2:
            targets = targets.astype(np.float64)
        for of_run in outputs:
            yield of_run.astype(np.float64), targets


# Sums over rows, in float64: (outputs, targets, form) -> (runs,) or (runs, outputs).
def _right(outputs: Tensor, targets: Tensor, form: TargetForm) -> Tensor:
    """Count the rows that are right. A tie goes to the lower class; a logit of 0 counts as class 0;
    a row of NaN is never right."""
    if form == "class_ids":
        # Class by class in the last axis: over another one it takes three times as long. The
        # largest of a row with a NaN is a NaN.
        largest, chosen = outputs.contiguous().max(2)
        right = (chosen == targets) & (largest == largest)  # noqa: PLR0124 (a NaN is not itself)
    else:
        right = (((outputs > 0) == (targets > 0.5)) & ~outputs.isnan()).all(2)
    return right.sum(1).double()


def _absolute(outputs: Tensor, targets: Tensor, form: TargetForm) -> Tensor:
    return (outputs - targets).abs().double().mean(2).sum(1)


def _squared(outputs: Tensor, targets: Tensor, form: TargetForm) -> Tensor:
    return torch.sub(outputs.double(), targets).square_().sum(1)


def _surprise(outputs: Tensor, targets: Tensor, form: TargetForm) -> Tensor:
    """Sum the cross-entropy."""
    logs = torch.log_softmax(outputs.double(), 2)
    ids = targets.expand(len(outputs), -1).unsqueeze(2)
    return -logs.gather(2, ids).squeeze(2).sum(1)


def _mean(sums: Column, rows: int) -> Column:
    return sums / rows


def _root(sums: Column, rows: int) -> Column:
    roots = np.sqrt(sums / rows)
    return roots[:, 0] if roots.shape[1] == 1 else np.asarray(roots.mean(1))


def _exponential(sums: Column, rows: int) -> Column:
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(sums / rows))


_Sum = tuple[Callable[[Tensor, Tensor, TargetForm], Tensor], Callable[[Column, int], Column]]
_SUMS: Final[dict[str, _Sum]] = {
    "accuracy": (_right, _mean),
    "mae": (_absolute, _mean),
    "rmse": (_squared, _root),
    "perplexity": (_surprise, _exponential),
}
"""Metrics that are made of sums over rows, and how."""


# Of all rows of one run, by scikit-learn.
def _measured(
    metric: EvaluationMetric, outputs: Outputs, targets: NDArray[Any], ignored: int | None
) -> float:
    """Return NaN where the metric is not defined: an output that is not finite, a class (or a
    label's side) without a row to rank. `ignored`: a class that has none in any case."""
    if not np.isfinite(outputs).all():
        return math.nan
    from sklearn import metrics as sk  # a second and a half to import, for those who ask

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        match metric.kind:
            case "r2":
                return float(sk.r2_score(targets, outputs))
            case "mape":
                return float(sk.mean_absolute_percentage_error(targets, outputs))
            case "top_k":
                assert isinstance(metric, TopK)
                labels = np.arange(outputs.shape[1])
                return float(sk.top_k_accuracy_score(targets, outputs, k=metric.k, labels=labels))
            case "balanced_accuracy":
                return float(sk.balanced_accuracy_score(*_classes(outputs, targets)))
            case "f1":
                true, chosen = _classes(outputs, targets)
                return float(sk.f1_score(true, chosen, average="macro", zero_division=0))
            case "auroc":
                return _mean_of_ranks(
                    sk.roc_auc_score, outputs, targets, both_sides=True, ignored=ignored
                )
            case "average_precision":
                return _mean_of_ranks(
                    sk.average_precision_score, outputs, targets, both_sides=False, ignored=ignored
                )
            case _:
                raise ValueError(f"{metric.kind} is no number of gathered rows")


def _mean_of_ranks(
    score: Callable[..., float],
    outputs: Outputs,
    targets: NDArray[Any],
    *,
    both_sides: bool,
    ignored: int | None,
) -> float:
    """Return the mean over classes but the ignored one, each against the rest, or over labels, of
    how well the outputs rank the rows. `both_sides`: it wants rows of the rest too; of a class
    without a row it is not defined in any case.

    Two classes have one ranking: by the second one's logit above the first one's.
    """
    if targets.ndim == 1 and outputs.shape[1] == 2:
        ranks, sides = outputs[:, 1:] - outputs[:, :1], targets[:, None] == 1
    elif targets.ndim == 1:
        classes = np.arange(outputs.shape[1])
        classes = classes[classes != ignored]
        ranks = functional.softmax(torch.from_numpy(outputs), 1).numpy()[:, classes]
        sides = targets[:, None] == classes
    else:
        ranks, sides = outputs, targets > 0.5
    there = sides.any(0) & (~sides).any(0) if both_sides else sides.any(0)
    if not there.all():
        return math.nan
    found = [float(score(side, rank)) for side, rank in zip(sides.T, ranks.T, strict=True)]
    return math.fsum(found) / len(found)


def _classes(outputs: Outputs, targets: NDArray[Any]) -> tuple[Ids, Ids]:
    """Return the true and the chosen classes; of several labels 0 or 1 each: (rows, labels)."""
    if targets.ndim == 1:
        return targets, outputs.argmax(1)
    both = (targets > 0.5).astype(np.int64), (outputs > 0).astype(np.int64)
    return both if outputs.shape[1] > 1 else (both[0][:, 0], both[1][:, 0])


def _confusion(outputs: Outputs, targets: NDArray[Any]) -> Table | None:
    """Return how many rows of each class were taken for each; None: an output is not finite."""
    if not np.isfinite(outputs).all():
        return None
    from sklearn.metrics import confusion_matrix

    labels = np.arange(max(2, outputs.shape[1]))
    table: Table = confusion_matrix(*_classes(outputs, targets), labels=labels).tolist()
    return table
