"""Lion: the sign of a mean of gradients (Chen et al. 2023, arXiv 2302.06675, algorithm 2).

    u = sign(β₁m + (1−β₁)g),    m ← β₂m + (1−β₂)g,    w ← w − lr·(u + λw)

The mean m begins at 0 and is the only state. Every number moves by lr, whatever the size of its
gradient: a constant rate goes to and fro about a minimum, a falling one comes to rest. Decay that
is not decoupled is added to g first.
"""

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
    """Mean of the gradients."""

    mean: Tensor


class Coefficients(NamedTuple):
    weight_decay: Any
    decay: Any
    lr: Any
    ahead: Any
    take: Any


def init(params: Tensor, hyper: Mapping[str, Tensor], options: Options) -> State:
    return State(torch.zeros_like(params))


def coefficients(
    hyper: Hyper, memory: Memory, t: int, options: Options
) -> tuple[Coefficients, Memory]:
    coupled, decoupled = split_decay(hyper, options)
    values = Coefficients(
        coupled, decoupled, hyper["lr"], 1.0 - hyper["beta1"], 1.0 - hyper["beta2"]
    )
    return values, memory


def update(gradient: Tensor, state: State, params: Tensor, c: Coefficients) -> Tensor:
    """Apply u = sign(β₁m + (1−β₁)g), m ← β₂m + (1−β₂)g, p ← p − lr·u."""
    gradient = decayed(gradient, params, c.weight_decay)
    step = torch.lerp(state.mean, gradient, c.ahead)
    average_(state.mean, gradient, c.take)
    # torch's sign of what is not a number is 0, which would hide that a run has diverged.
    signs = torch.sign(step).add_(step, alpha=0.0)
    return shrunk(signs.mul_(-c.lr), params, c.decay)


RULE: Final = Rule(init, coefficients, update)
