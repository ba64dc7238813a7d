"""Adamax (Kingma and Ba 2015, arXiv 1412.6980, section 7.1)."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from core.train.optim.rules.base import (
    Hyper,
    Memory,
    Options,
    Rule,
    average_,
    decayed,
    shrunk,
    split_decay,
)


class State(NamedTuple):
    """Average of the gradient; its decaying maximum norm."""

    mean: Tensor
    bound: Tensor


class Coefficients(NamedTuple):
    weight_decay: Any
    decay: Any
    take_mean: Any
    keep_bound: Any
    step: Any
    eps: Any


def init(params: Tensor, hyper: Mapping[str, Tensor], options: Options) -> State:
    return State(torch.zeros_like(params), torch.zeros_like(params))


def coefficients(
    hyper: Hyper, memory: Memory, t: int, options: Options
) -> tuple[Coefficients, Memory]:
    beta1 = hyper["beta1"]
    step = hyper["lr"] / (1.0 - beta1**t)
    coupled, decoupled = split_decay(hyper, options)
    values = Coefficients(coupled, decoupled, 1.0 - beta1, hyper["beta2"], step, hyper["eps"])
    return values, memory


def update(gradient: Tensor, state: State, params: Tensor, c: Coefficients) -> Tensor:
    """Apply m ← β₁m + (1−β₁)g, u ← max(β₂u, |g| + ε), p ← p − lr/(1−β₁ᵗ)·m/u."""
    gradient = decayed(gradient, params, c.weight_decay)
    mean = average_(state.mean, gradient, c.take_mean)
    bound = state.bound.mul_(c.keep_bound)
    torch.maximum(bound, gradient.abs().add_(c.eps), out=bound)
    return shrunk(torch.mul(mean, -c.step).div_(bound), params, c.decay)


RULE: Final = Rule(init, coefficients, update)
