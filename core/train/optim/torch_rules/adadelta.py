"""Adadelta (Zeiler 2012, arXiv 1212.5701)."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from core.train.optim.rules.base import (
    Hyper,
    Memory,
    Options,
    Rule,
    average_of_squares_,
    decayed,
    shrunk,
    split_decay,
)


class State(NamedTuple):
    """Averages of the squared gradients and of the squared steps."""

    square: Tensor
    steps: Tensor


class Coefficients(NamedTuple):
    weight_decay: Any
    decay: Any
    lr: Any
    keep: Any
    take: Any
    eps: Any


def init(params: Tensor, hyper: Mapping[str, Tensor], options: Options) -> State:
    return State(torch.zeros_like(params), torch.zeros_like(params))


def coefficients(
    hyper: Hyper, memory: Memory, t: int, options: Options
) -> tuple[Coefficients, Memory]:
    rho = hyper["rho"]
    coupled, decoupled = split_decay(hyper, options)
    values = Coefficients(coupled, decoupled, hyper["lr"], rho, 1.0 - rho, hyper["eps"])
    return values, memory


def update(gradient: Tensor, state: State, params: Tensor, c: Coefficients) -> Tensor:
    """Apply v ← ρv + (1−ρ)g², d = √(u + ε)/√(v + ε)·g, u ← ρu + (1−ρ)d², p ← p − lr·d."""
    gradient = decayed(gradient, params, c.weight_decay)
    square = average_of_squares_(state.square, gradient, c.keep, c.take)
    below = (square + c.eps).sqrt_()
    step: Tensor = (state.steps + c.eps).sqrt_().div_(below).mul_(gradient)
    average_of_squares_(state.steps, step, c.keep, c.take)
    return shrunk(step.mul_(-c.lr), params, c.decay)


RULE: Final = Rule(init, coefficients, update)
