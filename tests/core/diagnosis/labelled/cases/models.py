"""Supervised runs: rates far from the best, tiny data, small batches."""

from collections.abc import Iterator

import torch

from core.train.determinism import generator
from tests.core.diagnosis.labelled.case import (
    TOO_LARGE,
    Case,
    Json,
    adam,
    sgd,
    supervised,
    synthetic,
)

# Clusters that overlap: no rate can fit them to the last row.
BLOBS = synthetic("blobs", num_samples=600, num_features=8, num_classes=4, std=6.0)


def rates() -> Iterator[Case]:
    """Rates from 10⁻⁵ to 10² of the best one on a grid (found once by training: 0.003 for Adam,
    0.3 for SGD on digits; 0.01 and 0.3 on blobs)."""
    problems: list[tuple[str, Json | str, list[int], Json, float, int]] = [
        ("digits, Adam", "digits", [32], adam(1.0), 3e-3, 300),
        ("digits, SGD", "digits", [32], sgd(1.0), 0.3, 300),
        ("blobs, Adam", BLOBS, [16], adam(1.0), 0.01, 300),
        ("blobs, SGD", BLOBS, [16], sgd(1.0), 0.3, 300),
    ]  # fmt: skip
    for name, data, hidden, optimizer, best, steps in problems:
        for power in (-5, -4, -3, -1, 0):
            slow = power <= -3
            yield Case(
                f"{name} at 1e{power} of the best rate",
                "rates",
                "too_slow" if slow else "healthy",
                "A thousand times too short a step covers a thousandth of the way in 300 steps."
                if slow
                else "The best rate or a tenth of it: the loss falls well.",
                supervised(data, hidden, {**optimizer, "lr": best * 10.0**power}, steps),
                frozenset() if slow else frozenset({"converged"}),
            )
        yield Case(
            f"{name} at 1e2 of the best rate",
            "rates",
            "oscillating",
            "A hundred times the best rate throws the weights about.",
            supervised(data, hidden, {**optimizer, "lr": best * 100.0}, steps),
            TOO_LARGE,
        )
    full = synthetic("linear_regression", num_samples=200, num_features=5)
    for lr, label, also in (
        (1e-5, "too_slow", frozenset[str]()),
        (1e-3, "too_slow", frozenset()),
        (0.2, "converged", frozenset({"healthy"})),
        (5.0, "diverging", frozenset()),
    ):
        yield Case(
            f"least squares, all rows, rate {lr}",
            "rates",
            label,
            "Standardized columns: L is about 2, so rates above about 1 diverge and 0.2 arrives.",
            supervised(full, [], sgd(lr), 300, batch_size="full"),
            also,
        )


def overfitting() -> Iterator[Case]:
    why = "Far more weights than rows, and steps enough to fit them, not to come to rest: the"
    why += " evaluation loss turns while the training loss falls."
    sets: list[tuple[str, Json, list[int], Json, int]] = [
        (
            "digits, 72 rows",
            {"kind": "builtin", "name": "digits", "eval_fraction": 0.96},
            [64],
            adam(0.01),
            1500,
        ),
        (
            "overlapping blobs",
            synthetic("blobs", 1, 0.5, num_samples=120, num_features=4, std=6.0),
            [64],
            adam(0.01),
            800,
        ),
        (
            "noisy moons",
            synthetic("moons", 2, 0.5, num_samples=120, noise=0.6),
            [64, 64],
            adam(0.01),
            800,
        ),
        (
            "noisy circles",
            synthetic("circles", 3, 0.5, num_samples=120, noise=0.3),
            [64, 64],
            adam(0.01),
            800,
        ),
        (
            "Friedman, 40 rows",
            synthetic("friedman1", 4, 0.5, num_samples=80, noise=4.0),
            [64],
            adam(0.01),
            400,
        ),
        (
            "a noisy sine",
            synthetic("sinusoid", 5, 0.5, num_samples=50, noise=0.8, frequency=0.5),
            [128, 128],
            adam(0.005),
            1500,
        ),
        (
            "parity of ten bits, half of the rows",
            synthetic("parity", 6, 0.5, num_samples=120, length=10),
            [64],
            adam(0.01),
            800,
        ),
        (
            "diabetes",
            {"kind": "builtin", "name": "diabetes", "eval_fraction": 0.7},
            [64, 64],
            adam(0.005),
            1500,
        ),
    ]
    for name, data, hidden, optimizer, steps in sets:
        yield Case(
            f"overfitting: {name}",
            "overfitting",
            "overfitting",
            why,
            supervised(data, hidden, optimizer, steps, batch_size=16),
        )
    for seed in (1, 2):
        source = generator(seed, "data")
        rows = torch.randn(80, 6, generator=source, dtype=torch.float64).tolist()
        ids = torch.randint(0, 2, (80,), generator=source).tolist()
        inline: Json = {"kind": "inline", "features": rows, "targets": ids, "eval_fraction": 0.4}
        yield Case(
            f"overfitting: random labels {seed}",
            "overfitting",
            "overfitting",
            "Labels that do not depend on the features can be learned by heart only.",
            supervised(
                inline, [64], adam(0.01), 600, batch_size=16, loss={"kind": "cross_entropy"}
            ),
        )


def noisy() -> Iterator[Case]:
    why = "A constant rate and tiny batches: the loss stops where each step's noise undoes the gain"
    regression = synthetic("linear_regression", 1, num_samples=400, num_features=10, noise=1.0)
    runs: list[tuple[str, Json | str, list[int], Json, int, int]] = [
        ("least squares, batch 1", regression, [], sgd(0.03), 1, 1500),
        ("least squares, batch 2", regression, [], sgd(0.06), 2, 1500),
        ("least squares, momentum", regression, [], sgd(0.01, momentum=0.8), 2, 1500),
        ("diabetes, batch 1", "diabetes", [], sgd(0.02), 1, 1500),
        ("Friedman, batch 1", synthetic("friedman1", 2, num_samples=400), [], sgd(0.03), 1, 1500),
        (
            "wide regression, batch 4",
            synthetic("linear_regression", 3, num_samples=600, num_features=30, noise=2.0),
            [],
            sgd(0.03),
            4,
            1500,
        ),
        (
            "overlapping blobs, batch 1",
            synthetic("blobs", 5, num_samples=800, num_features=6, std=5.0, num_classes=4),
            [],
            sgd(0.2),
            1,
            1500,
        ),
        ("sine, batch 1", synthetic("sinusoid", 4, num_samples=400, noise=0.5), [], sgd(0.1), 1,
         1200),
    ]  # fmt: skip
    for name, data, hidden, optimizer, batch, steps in runs:
        yield Case(
            f"noise: {name}",
            "noise",
            "noise_limited",
            why,
            supervised(data, hidden, optimizer, steps, batch_size=batch),
        )


def cases() -> Iterator[Case]:
    yield from rates()
    yield from overfitting()
    yield from noisy()
