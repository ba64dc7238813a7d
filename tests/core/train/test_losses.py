"""The losses and metrics, against their formulas worked out in NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from scipy.special import expit, logsumexp
from sklearn.metrics import mean_pinball_loss

from core.specs.losses import Loss
from core.train.losses import (
    build_loss,
    twice_differentiable,
)

Array = NDArray[np.float64]
OUTPUTS = np.array([[2.0, -1.0, 0.5], [0.1, 0.2, 3.0], [-1.0, 4.0, 0.0]])
IDS = np.array([0, 2, 0])
VALUES = np.array([[1.0, 0.5, 0.5], [0.1, 3.0, -3.0], [0.0, 4.0, 0.2]])
BITS = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])


def _cross_entropy(smoothing: float) -> float:
    logs = OUTPUTS - logsumexp(OUTPUTS, axis=1, keepdims=True)
    chosen = logs[np.arange(3), IDS]
    return float(-((1 - smoothing) * chosen + smoothing * logs.mean(axis=1)).mean())


def _hinge(p: int, margin: float) -> float:
    total = 0.0
    for row, target in zip(OUTPUTS, IDS, strict=True):
        total += sum(
            max(0.0, margin - row[target] + other) ** p / 3
            for index, other in enumerate(row)
            if index != target
        )
    return total / 3


def _huber(delta: float) -> float:
    gap = np.abs(OUTPUTS - VALUES)
    return float(np.where(gap < delta, gap**2 / 2, delta * (gap - delta / 2)).mean())


BCE = -(BITS * np.log(expit(OUTPUTS)) + (1 - BITS) * np.log(expit(-OUTPUTS))).mean()

CASES: list[tuple[dict[str, Any], Array, float]] = [
    ({"kind": "cross_entropy"}, IDS, _cross_entropy(0.0)),
    ({"kind": "cross_entropy", "label_smoothing": 0.2}, IDS, _cross_entropy(0.2)),
    ({"kind": "binary_cross_entropy"}, BITS, float(BCE)),
    ({"kind": "multi_margin"}, IDS, _hinge(1, 1.0)),
    ({"kind": "multi_margin", "p": 2, "margin": 0.5}, IDS, _hinge(2, 0.5)),
    ({"kind": "mse"}, VALUES, float(((OUTPUTS - VALUES) ** 2).mean())),
    ({"kind": "l1"}, VALUES, float(np.abs(OUTPUTS - VALUES).mean())),
    ({"kind": "smooth_l1", "beta": 0.5}, VALUES, _huber(0.5) / 0.5),
    ({"kind": "huber", "delta": 2.0}, VALUES, _huber(2.0)),
    (
        {"kind": "quantile", "quantile": 0.8},
        VALUES,
        mean_pinball_loss(VALUES, OUTPUTS, alpha=0.8),
    ),
]


def _parsed(spec: dict[str, Any]) -> Loss:
    adapter: TypeAdapter[Loss] = TypeAdapter(Loss)
    return adapter.validate_python(spec)


@pytest.mark.parametrize(("spec", "targets", "expected"), CASES)
def test_a_loss_is_the_mean_of_its_formula(
    spec: dict[str, Any], targets: Array, expected: float
) -> None:
    loss = build_loss(_parsed(spec))

    value = loss(torch.tensor(OUTPUTS), torch.tensor(targets))

    assert value.shape == ()
    assert value.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("spec", "targets", "expected"), CASES)
def test_a_loss_has_a_second_derivative_where_curvature_is_measured(
    spec: dict[str, Any], targets: Array, expected: float
) -> None:
    outputs, wanted = torch.tensor(OUTPUTS, requires_grad=True), torch.tensor(targets)
    loss, usual = twice_differentiable(_parsed(spec)), build_loss(_parsed(spec))

    value = loss(outputs, wanted)
    (slope,) = torch.autograd.grad(value, outputs, create_graph=True)
    torch.autograd.grad(slope.square().sum(), outputs, allow_unused=True)

    assert value.item() == pytest.approx(expected, rel=1e-12)
    (usual_slope,) = torch.autograd.grad(usual(outputs, wanted), outputs)
    torch.testing.assert_close(slope, usual_slope, rtol=1e-12, atol=1e-15)


def test_the_cases_cover_every_kind() -> None:
    schema = TypeAdapter(Loss).json_schema()

    assert {spec["kind"] for spec, _, _ in CASES} == set(schema["discriminator"]["mapping"])
