"""Generators of sequences, flattened to one row each."""

import math

import torch
from torch import Tensor

from core.specs.data import AddingProblem, Parity, SineSequence


def sine_sequence(spec: SineSequence, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Ten samples a period, phase uniform; the target is the next value, without noise."""
    phase = 2 * math.pi * torch.rand((spec.num_samples, 1), generator=source, dtype=torch.float64)
    time = torch.arange(spec.length + 1, dtype=torch.float64)
    clean = torch.sin(2 * math.pi * time / 10 + phase)
    shape = (spec.num_samples, spec.length)
    noise = torch.randn(shape, generator=source, dtype=torch.float64)
    return clean[:, :-1] + spec.noise * noise, clean[:, -1]


def adding_problem(spec: AddingProblem, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Values uniform in [0, 1), then markers: one 1 in each half of the sequence; a row is
    value₁, marker₁, value₂, marker₂, …"""
    rows, half = spec.num_samples, spec.length // 2
    values = torch.rand((rows, spec.length), generator=source, dtype=torch.float64)
    early = torch.randint(half, (rows, 1), generator=source)
    late = torch.randint(half, spec.length, (rows, 1), generator=source)
    markers = torch.zeros_like(values).scatter_(1, torch.cat([early, late], dim=1), 1.0)
    features = torch.stack([values, markers], dim=2).reshape(rows, 2 * spec.length)
    return features, (values * markers).sum(dim=1)


def parity(spec: Parity, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Bits as +1 and −1 (a set bit); class 1 where an odd number is set."""
    bits = torch.randint(2, (spec.num_samples, spec.length), generator=source)
    return 1.0 - 2.0 * bits.double(), (bits.sum(dim=1) % 2).double()
