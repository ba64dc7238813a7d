"""Metrics against scikit-learn's functions as its users call them, and by hand."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn import metrics as sk
from torch import Tensor

from core.specs.base import stored
from core.specs.losses import METRICS, SUMS, EvaluationMetric
from core.train.losses import TargetForm
from core.train.metrics import _SUMS, Measurement

RNG = np.random.default_rng(7)
ROWS, CLASSES, RUNS = 90, 4, 3
Array = NDArray[Any]


def softmax(z: Array) -> Array:
    powers = np.exp(z - z.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


IDS = RNG.integers(0, CLASSES, ROWS)
TWO = RNG.integers(0, 2, ROWS)
LABELS = RNG.integers(0, 2, (ROWS, 3)).astype(float)
VALUES = RNG.normal(size=(ROWS, 2))
Score = Callable[[Array, Array], float]

CLASS_SCORES: dict[str, Score] = {
    "accuracy": lambda y, z: sk.accuracy_score(y, z.argmax(1)),
    "balanced_accuracy": lambda y, z: sk.balanced_accuracy_score(y, z.argmax(1)),
    "f1": lambda y, z: sk.f1_score(y, z.argmax(1), average="macro"),
    "top_k": lambda y, z: sk.top_k_accuracy_score(y, z, k=2),
    "auroc": lambda y, z: sk.roc_auc_score(y, softmax(z), multi_class="ovr"),
    "average_precision": lambda y, z: sk.average_precision_score(y, softmax(z)),
    "perplexity": lambda y, z: math.exp(sk.log_loss(y, softmax(z))),
}
LABEL_SCORES: dict[str, Score] = {
    "accuracy": lambda y, z: sk.accuracy_score(y, z > 0),
    "f1": lambda y, z: sk.f1_score(y, (z > 0).astype(float), average="macro"),
    "auroc": sk.roc_auc_score,
    "average_precision": sk.average_precision_score,
}
VALUE_SCORES: dict[str, Score] = {
    "mae": sk.mean_absolute_error,
    "rmse": sk.root_mean_squared_error,
    "r2": sk.r2_score,
    "mape": sk.mean_absolute_percentage_error,
}
TWO_CLASS_SCORES: dict[str, Score] = {
    "accuracy": lambda y, z: sk.accuracy_score(y, z[:, 1] > z[:, 0]),
    "balanced_accuracy": lambda y, z: sk.balanced_accuracy_score(y, z[:, 1] > z[:, 0]),
    "f1": lambda y, z: sk.f1_score(y, z.argmax(1), average="macro"),
    "auroc": lambda y, z: sk.roc_auc_score(y, softmax(z)[:, 1]),
    "average_precision": lambda y, z: sk.average_precision_score(y, softmax(z)[:, 1]),
    "perplexity": lambda y, z: math.exp(sk.log_loss(y, softmax(z))),
}
LOGIT_SCORES: dict[str, Score] = {
    "accuracy": lambda y, z: sk.accuracy_score(y[:, 0], z[:, 0] > 0),
    "balanced_accuracy": lambda y, z: sk.balanced_accuracy_score(y[:, 0], z[:, 0] > 0),
    "f1": lambda y, z: sk.f1_score(y[:, 0], z[:, 0] > 0, average="macro"),
    "auroc": lambda y, z: sk.roc_auc_score(y[:, 0], z[:, 0]),
    "average_precision": lambda y, z: sk.average_precision_score(y[:, 0], z[:, 0]),
}
PROBLEMS: dict[str, tuple[TargetForm, Array, int, dict[str, Score]]] = {
    "classes": ("class_ids", IDS, CLASSES, CLASS_SCORES),
    "two-classes": ("class_ids", TWO, 2, TWO_CLASS_SCORES),
    "one-logit": ("binary", TWO[:, None].astype(float), 1, LOGIT_SCORES),
    "labels": ("binary", LABELS, 3, LABEL_SCORES),
    "values": ("values", VALUES, 2, VALUE_SCORES),
}
CASES = [(problem, name) for problem, (*_, scores) in PROBLEMS.items() for name in scores]


def metric(kind: str, **options: Any) -> EvaluationMetric:
    found: EvaluationMetric = stored(EvaluationMetric, {"kind": kind, **options})
    return found


def measured(
    outputs: Array,
    targets: Array,
    form: TargetForm,
    *metrics: EvaluationMetric,
    chunk: int = 40,
    ignored: int | None = None,
) -> dict[str, Array]:
    """Outputs (runs, rows, outputs) as they come, in chunks."""
    measurement = Measurement(metrics, form, ignored)
    z, y = torch.tensor(outputs), torch.tensor(targets)
    for some, wanted in zip(torch.split(z, chunk, 1), torch.split(y, chunk), strict=True):
        measurement.add(some, wanted)
    return measurement.values()


@pytest.mark.parametrize(("problem", "name"), CASES, ids=["-".join(case) for case in CASES])
def test_a_metric_is_scikit_learns(problem: str, name: str) -> None:
    form, targets, width, scores = PROBLEMS[problem]
    outputs = 2 * RNG.normal(size=(RUNS, ROWS, width))

    found = measured(outputs, targets, form, metric(name))

    expected = [float(scores[name](targets, of_run)) for of_run in outputs]
    assert found[name].tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_every_number_has_a_case() -> None:
    numbers = {name for name, facts in METRICS.items() if facts.goal is not None}

    assert {name for _, name in CASES} == numbers
    for problem, targets in [("classes", "classes"), ("labels", "labels"), ("values", "values")]:
        suits = {n for n in numbers if targets in METRICS[n].suits}
        assert suits == set(PROBLEMS[problem][3])


def test_the_estimates_know_which_metrics_keep_all_outputs() -> None:
    assert set(_SUMS) == SUMS


@pytest.mark.parametrize("k", [1, 2, 3])
def test_top_k_counts_rows_whose_class_is_among_the_k_largest(k: int) -> None:
    outputs = np.array([[[4.0, 3, 2, 1]] * 4])

    found = measured(outputs, np.arange(4), "class_ids", metric("top_k", k=k))

    assert found["top_k"].tolist() == [k / 4]


def test_the_confusion_matrix_has_true_classes_down_and_chosen_ones_across() -> None:
    measurement = Measurement([metric("confusion_matrix")], "class_ids")
    outputs = torch.tensor([[[9.0, 0, 0], [9, 0, 0], [0, 9, 0], [9, 0, 0]]])
    measurement.add(outputs, torch.tensor([0, 0, 1, 1]))

    assert measurement.confusion() == [[[2, 0, 0], [1, 1, 0], [0, 0, 0]]]
    assert measurement.values() == {}


UNDEFINED = [
    ("auroc", [0, 0, 0]),
    ("auroc", [0, 1, 0]),
    ("average_precision", [0, 1, 1]),
]


@pytest.mark.parametrize(
    ("name", "ids"), UNDEFINED, ids=[f"{name}-{ids}" for name, ids in UNDEFINED]
)
def test_a_ranking_without_rows_of_each_class_is_not_defined(name: str, ids: list[int]) -> None:
    outputs = RNG.normal(size=(1, 3, 3))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measured(outputs, np.array(ids), "class_ids", metric(name))

    assert math.isnan(found[name][0])


@pytest.mark.parametrize("name", CLASS_SCORES)
@pytest.mark.parametrize("ignored", range(CLASSES))
def test_an_ignored_class_takes_no_metric_away(name: str, ignored: int) -> None:
    """Its rows count for nothing, and a mean over classes is one over the others."""
    outputs = RNG.normal(size=(ROWS, CLASSES))
    outputs[:, ignored] = -9.0  # not chosen, so that `f1` has no other class either
    kept = np.flatnonzero(ignored != IDS)
    others = [each for each in range(CLASSES) if each != ignored]
    if name in {"auroc", "average_precision"}:
        score = {"auroc": sk.roc_auc_score, "average_precision": sk.average_precision_score}[name]
        sides = (IDS[kept, None] == others).astype(int)
        expected = score(sides, softmax(outputs[kept])[:, others], average="macro")
    elif name == "top_k":
        expected = sk.top_k_accuracy_score(IDS[kept], outputs[kept], k=2, labels=np.arange(CLASSES))
    elif name == "perplexity":
        expected = math.exp(-np.log(softmax(outputs)[kept, IDS[kept]]).mean())
    else:
        expected = CLASS_SCORES[name](IDS[kept], outputs[kept])
    found = measured(outputs[None], IDS, "class_ids", metric(name), ignored=ignored)
    assert found[name][0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize(("problem", "name"), CASES, ids=["-".join(case) for case in CASES])
def test_outputs_that_are_not_finite_spoil_their_own_run_alone(
    problem: str, name: str, bad: float
) -> None:
    form, targets, width, _ = PROBLEMS[problem]
    outputs = RNG.normal(size=(2, ROWS, width))
    healthy = measured(outputs, targets, form, metric(name))[name][1]
    outputs[0, 0, 0] = bad

    found = measured(outputs, targets, form, metric(name))[name]

    assert found[1] == healthy
    if name != "accuracy":  # which counts such a row as wrong, or by its largest output
        assert not math.isfinite(found[0])


def _tensor(rows: list[list[float]]) -> Tensor:
    return torch.tensor([rows], dtype=torch.float64)


def one(outputs: Tensor, targets: Tensor, form: TargetForm, name: str) -> float:
    measurement = Measurement([metric(name)], form)
    measurement.add(outputs, targets)
    return float(measurement.values()[name][0])


def test_accuracy_counts_the_rows_whose_largest_output_is_the_target() -> None:
    outputs = _tensor([[2, 1, 0], [0, 1, 3], [1, 1, 0], [float("nan"), 0, 0]])

    assert one(outputs, torch.tensor([0, 1, 0, 0]), "class_ids", "accuracy") == 2 / 4


def test_a_single_logit_above_zero_means_class_one() -> None:
    outputs = _tensor([[0.5], [-0.5], [0.0], [float("nan")]])
    targets = _tensor([[1.0], [1.0], [0.0], [0.0]])[0]

    assert one(outputs, targets, "binary", "accuracy") == 2 / 4


def test_mae_is_the_mean_over_all_targets_of_a_row() -> None:
    outputs, targets = _tensor([[1, 2], [0, 0]]), _tensor([[0, 0], [3, -3]])[0]

    assert one(outputs, targets, "values", "mae") == (1.5 + 3.0) / 2
