"""RMSprop (Tieleman and Hinton 2012), centered (Graves 2013, arXiv 1308.0850), with momentum."""

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
    average_of_squares_,
    decayed,
    shrunk,
    split_decay,
)


class State(NamedTuple):
    """Averages of the squared gradient and (centered only) of the gradient; the velocity (None
    when no run has a momentum)."""

    square: Tensor
    mean: Tensor | None
    velocity: Tensor | None


class Coefficients(NamedTuple):
    weight_decay: Any
    decay: Any
    lr: Any
    keep: Any
    take: Any
    eps: Any
    momentum: Any


def init(params: Tensor, hyper: Mapping[str, Tensor], options: Options) -> State:
    return State(
        torch.zeros_like(params),
        torch.zeros_like(params) if options.switches["centered"] else None,
        torch.zeros_like(params) if options.uses_momentum else None,
    )


def coefficients(
    hyper: Hyper, memory: Memory, t: int, options: Options
) -> tuple[Coefficients, Memory]:
    alpha = hyper["alpha"]
    coupled, decoupled = split_decay(hyper, options)
    values = Coefficients(
        coupled, decoupled, hyper["lr"], alpha, 1.0 - alpha, hyper["eps"], hyper["momentum"]
    )
    return values, memory


def update(gradient: Tensor, state: State, params: Tensor, c: Coefficients) -> Tensor:
    """Apply v ← αv + (1−α)g², d = g/(√(v − ḡ²) + ε) (ḡ = 0 unless centered), b ← μb + d, p ← p −
    lr·b."""
    gradient = decayed(gradient, params, c.weight_decay)
    square = average_of_squares_(state.square, gradient, c.keep, c.take)
    mean = None if state.mean is None else average_(state.mean, gradient, c.take)
    spread = square if mean is None else torch.addcmul(square, mean, mean, value=-1.0)
    step = gradient / spread.sqrt().add_(c.eps)
    velocity = None if state.velocity is None else state.velocity.mul_(c.momentum).add_(step)
    moved = step if velocity is None else velocity
    return shrunk(torch.mul(moved, -c.lr), params, c.decay)


RULE: Final = Rule(init, coefficients, update)
