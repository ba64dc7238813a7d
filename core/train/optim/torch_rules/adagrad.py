"""Adagrad (Duchi et al. 2011)."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from core.train.optim.rules.base import (
    Hyper,
    Memory,
    Options,
    Rule,
    decayed,
    shrunk,
    split_decay,
)


class State(NamedTuple):
    """Sum of the squared gradients."""

    total: Tensor


class Coefficients(NamedTuple):
    weight_decay: Any
    decay: Any
    step: Any
    eps: Any


def init(params: Tensor, hyper: Mapping[str, Tensor], options: Options) -> State:
    return State(hyper["initial_accumulator_value"].expand_as(params).clone())


def coefficients(
    hyper: Hyper, memory: Memory, t: int, options: Options
) -> tuple[Coefficients, Memory]:
    step = hyper["lr"] / (1.0 + (t - 1) * hyper["lr_decay"])
    coupled, decoupled = split_decay({**hyper, "lr": step}, options)
    return Coefficients(coupled, decoupled, step, hyper["eps"]), memory


def update(gradient: Tensor, state: State, params: Tensor, c: Coefficients) -> Tensor:
    """Apply s ← s + g², p ← p − lr/(1 + (t−1)·lr_decay)·g/(√s + ε)."""
    gradient = decayed(gradient, params, c.weight_decay)
    total = state.total.addcmul_(gradient, gradient)
    step = torch.mul(gradient, -c.step).div_(total.sqrt().add_(c.eps))
    return shrunk(step, params, c.decay)


RULE: Final = Rule(init, coefficients, update)
