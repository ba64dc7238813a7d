"""Generators of data sets. Each draws on the CPU in float64 from one keyed generator, in a fixed
order, so that the same spec gives the same bits for every precision, device and thread count."""

import math
from typing import assert_never

import torch
from torch import Tensor

from core.specs.data import Synthetic
from core.specs.generators import (
    AddingProblem,
    Blobs,
    Circles,
    Friedman1,
    LinearRegressionData,
    Moons,
    Parity,
    SineSequence,
    Sinusoid,
    Spirals,
)
from core.train.data.rows import Rows, numbered
from core.train.determinism import generator, one_thread


# Generators of sequences, flattened to one row each.
def sine_sequence(spec: SineSequence, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw ten samples a period, phase uniform; the target is the next value, without noise."""
    phase = 2 * math.pi * torch.rand((spec.num_samples, 1), generator=source, dtype=torch.float64)
    time = torch.arange(spec.length + 1, dtype=torch.float64)
    clean = torch.sin(2 * math.pi * time / 10 + phase)
    shape = (spec.num_samples, spec.length)
    noise = torch.randn(shape, generator=source, dtype=torch.float64)
    return clean[:, :-1] + spec.noise * noise, clean[:, -1]


def adding_problem(spec: AddingProblem, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw values uniform in [0, 1), then markers: one 1 in each half of the sequence; a row is
    value₁, marker₁, value₂, marker₂, …"""
    rows, half = spec.num_samples, spec.length // 2
    values = torch.rand((rows, spec.length), generator=source, dtype=torch.float64)
    early = torch.randint(half, (rows, 1), generator=source)
    late = torch.randint(half, spec.length, (rows, 1), generator=source)
    markers = torch.zeros_like(values).scatter_(1, torch.cat([early, late], dim=1), 1.0)
    features = torch.stack([values, markers], dim=2).reshape(rows, 2 * spec.length)
    return features, (values * markers).sum(dim=1)


def parity(spec: Parity, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw bits as +1 and −1 (a set bit); class 1 where an odd number is set."""
    bits = torch.randint(2, (spec.num_samples, spec.length), generator=source)
    return 1.0 - 2.0 * bits.double(), (bits.sum(dim=1) % 2).double()


Draw = tuple[Tensor, Tensor]
"""Features (rows x columns) and targets (rows,), float64."""


def load_synthetic(spec: Synthetic) -> Rows:
    """Draw the rows that `spec.generator` names from `spec.seed`."""
    with one_thread():
        features, targets = _draw(spec, generator(spec.seed, "data"))
    count = _num_classes(spec)
    return Rows(
        features.numpy(),
        targets.reshape(-1, 1).numpy(),
        feature_names=numbered("x", features.shape[1]),
        class_names=None if count is None else numbered("", count, first=0),
    )


def _draw(spec: Synthetic, source: torch.Generator) -> Draw:
    match spec.generator:
        case Blobs() as made:
            return blobs(made, source)
        case Moons() as made:
            return moons(made, source)
        case Circles() as made:
            return circles(made, source)
        case Spirals() as made:
            return spirals(made, source)
        case LinearRegressionData() as made:
            return linear_regression(made, source)
        case Friedman1() as made:
            return friedman1(made, source)
        case Sinusoid() as made:
            return sinusoid(made, source)
        case SineSequence() as made:
            return sine_sequence(made, source)
        case AddingProblem() as made:
            return adding_problem(made, source)
        case Parity() as made:
            return parity(made, source)
        case _ as never:
            assert_never(never)


def _num_classes(spec: Synthetic) -> int | None:
    match spec.generator:
        case Blobs() | Spirals() as made:
            return made.num_classes
        case Moons() | Circles() | Parity():
            return 2
        case LinearRegressionData() | Friedman1() | Sinusoid() | SineSequence() | AddingProblem():
            return None
        case _ as never:
            assert_never(never)


def _uniform(shape: tuple[int, ...], source: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=source, dtype=torch.float64)


def _gaussian(shape: tuple[int, ...], source: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=source, dtype=torch.float64)


def _classes(num_samples: int, num_classes: int) -> Tensor:
    """Return the ids 0, 1, …, 0, 1, …: as even as can be, and mixed, so that no order of rows is
    one-sided."""
    return torch.arange(num_samples) % num_classes


def blobs(spec: Blobs, source: torch.Generator) -> Draw:
    """Draw centers uniform in [−10, 10) a coordinate, as scikit-learn's `make_blobs` has them."""
    centers = _uniform((spec.num_classes, spec.num_features), source) * 20 - 10
    ids = _classes(spec.num_samples, spec.num_classes)
    noise = _gaussian((spec.num_samples, spec.num_features), source)
    return centers[ids] + spec.std * noise, ids.double()


def moons(spec: Moons, source: torch.Generator) -> Draw:
    """Draw the upper half of the unit circle at the origin, and the lower half of the one at (1,
    ½)."""
    ids = _classes(spec.num_samples, 2)
    angle = math.pi * _uniform((spec.num_samples,), source)
    sign = 1.0 - 2.0 * ids
    clean = torch.stack([ids + sign * angle.cos(), 0.5 * ids + sign * angle.sin()], dim=1)
    return clean + spec.noise * _gaussian((spec.num_samples, 2), source), ids.double()


def circles(spec: Circles, source: torch.Generator) -> Draw:
    """Draw class 0 on the unit circle, class 1 on the circle of radius `factor`."""
    ids = _classes(spec.num_samples, 2)
    angle = 2 * math.pi * _uniform((spec.num_samples,), source)
    radius = 1.0 - (1.0 - spec.factor) * ids
    clean = radius[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    return clean + spec.noise * _gaussian((spec.num_samples, 2), source), ids.double()


def spirals(spec: Spirals, source: torch.Generator) -> Draw:
    """Draw radius r uniform in [0, 1), angle 2π·(class / classes) + 3/2·π·r; noise on the angle."""
    ids = _classes(spec.num_samples, spec.num_classes)
    radius = _uniform((spec.num_samples,), source)
    angle = 2 * math.pi * ids / spec.num_classes + 1.5 * math.pi * radius
    angle = angle + spec.noise * _gaussian((spec.num_samples,), source)
    return radius[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1), ids.double()


def orthogonal(dim: int, source: torch.Generator) -> Tensor:
    """Return a random orthogonal matrix, uniform by Haar measure, dim x dim, float64.

    QR of a Gaussian matrix with the signs of R's diagonal moved into Q (Mezzadri 2007,
    arXiv math-ph/0609050).
    """
    q, r = torch.linalg.qr(_gaussian((dim, dim), source))
    signs = torch.where(torch.diagonal(r) < 0, -1.0, 1.0).to(q.dtype)
    drawn: Tensor = q * signs
    return drawn


def linear_regression(spec: LinearRegressionData, source: torch.Generator) -> Draw:
    """Draw X = Z·diag(√λ)·Qᵀ with Z Gaussian, Q orthogonal, λ log-spaced from 1 to
    1/condition_number; weights and intercept Gaussian."""
    shape = (spec.num_samples, spec.num_features)
    part = torch.linspace(0, 1, spec.num_features, dtype=torch.float64)
    scale = (-0.5 * math.log(spec.condition_number) * part).exp()
    features = (_gaussian(shape, source) * scale) @ orthogonal(spec.num_features, source).T
    weights = _gaussian((spec.num_features,), source)
    intercept = _gaussian((1,), source)
    noise = _gaussian((spec.num_samples,), source)
    return features, features @ weights + intercept + spec.noise * noise


def friedman1(spec: Friedman1, source: torch.Generator) -> Draw:
    """Draw the data of Friedman 1991, Multivariate adaptive regression splines; features uniform in
    [0, 1)."""
    x = _uniform((spec.num_samples, spec.num_features), source)
    clean = (
        10 * torch.sin(math.pi * x[:, 0] * x[:, 1])
        + 20 * (x[:, 2] - 0.5) ** 2
        + 10 * x[:, 3]
        + 5 * x[:, 4]
    )
    return x, clean + spec.noise * _gaussian((spec.num_samples,), source)


def sinusoid(spec: Sinusoid, source: torch.Generator) -> Draw:
    """Draw y = sin(2π·frequency·x) + noise, x uniform in [−1, 1)."""
    x = _uniform((spec.num_samples,), source) * 2 - 1
    noise = _gaussian((spec.num_samples,), source)
    return x[:, None], torch.sin(2 * math.pi * spec.frequency * x) + spec.noise * noise
