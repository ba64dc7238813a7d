"""The loss of the best constant output, as far as the spec alone tells it. No torch."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from core.specs.data import Builtin, Inline
from core.specs.job import DataProblem, Forecast, LanguageModel, Reconstruction
from core.specs.losses import L1, MSE, BinaryCrossEntropy, CrossEntropy
from core.specs.sizes.shapes import data_shape

_CLASSES: Final = {
    "iris": (50, 50, 50),
    "wine": (59, 71, 48),
    "breast_cancer": (212, 357),
    "digits": (178, 182, 177, 183, 181, 182, 181, 179, 174, 180),
}
"""Rows of each class (scikit-learn's documentation)."""
_DIABETES: Final = (5929.88, 65.04)
"""Variance of the targets, and their mean distance from the median."""


def constant_loss(problem: DataProblem) -> float | None:
    """Return the least mean loss that the same output for every row has; None where it is not
    known.

    Cross-entropy: the entropy of the classes' shares (of smoothed ones, if the labels are), at most
    ln C; not known with weights. MSE: the targets' variance. L1: their mean distance from the
    median. Known for rows of built-in and inline data; generators draw their
    classes about equally often.
    """
    if isinstance(problem, Forecast | LanguageModel):
        return None
    match problem.loss:
        case CrossEntropy(label_smoothing=smoothing, class_weights=None, ignore_index=None):
            return _entropy(_shares(problem), smoothing)
        case BinaryCrossEntropy(pos_weight=None) if data_shape(problem.data).num_classes:
            return _entropy(_shares(problem), 0.0)
        case MSE():
            return _of_values(problem, 0)
        case L1():
            return _of_values(problem, 1)
        case _:
            return None


def _shares(problem: DataProblem) -> Sequence[int]:
    data = problem.data
    if isinstance(data, Builtin) and data.name in _CLASSES:
        return _CLASSES[data.name]
    if isinstance(data, Inline):
        return list(Counter(str(each) for each in data.given_targets).values())
    return [1] * (data_shape(data).num_classes or 0)


def _entropy(counts: Sequence[int], smoothing: float) -> float | None:
    total = sum(counts)
    if len(counts) < 2 or total == 0:
        return None
    shares = [(1 - smoothing) * each / total + smoothing / len(counts) for each in counts]
    return -sum(each * math.log(each) for each in shares if each > 0)


def _of_values(problem: DataProblem, which: int) -> float | None:
    data = problem.data
    if isinstance(problem, Reconstruction):
        return None
    if isinstance(data, Builtin) and data.name == "diabetes":
        return _DIABETES[which]
    if not isinstance(data, Inline):
        return None
    targets = np.array(data.given_targets, dtype=np.float64).reshape(data.num_rows, -1)
    if which == 0:
        return float(targets.var(axis=0).mean())
    return float(np.abs(targets - np.median(targets, axis=0)).mean())
