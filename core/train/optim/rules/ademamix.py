"""AdEMAMix: Adam with a second, slow mean of gradients (Pagliardini et al. 2024, arXiv 2409.03137).

    m₁ ← β₁m₁ + (1−β₁)g,    m₂ ← β₃m₂ + (1−β₃)g,    v ← β₂v + (1−β₂)g²
    w ← w − lr·((m₁/(1−β₁ᵗ) + α·m₂)/(√(v/(1−β₂ᵗ)) + ε) + λw)

While t < `alpha_warmup`, α rises from 0 along a line; while t < `beta3_warmup`, β₃ rises from β₁ so
that its half-life grows along a line (algorithm 1 and appendix A.1; there ½ = β^(h+1)). The state
are the three averages, which begin at 0. Decay that is not decoupled is added to g first.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.train.optim.rules.base import (
    Column,
    Hyper,
    Memory,
    Options,
    Rule,
    average_,
    average_of_squares_,
    decayed,
    mixed,
    shrunk,
    split_decay,
)


class State(NamedTuple):
    """Fast and slow average of the gradient, and the average of its square."""

    mean: Tensor
    slow: Tensor
    square: Tensor


class Coefficients(NamedTuple):
    """The bias corrections are taken into `from_mean`, `from_slow` and `eps`."""

    weight_decay: Any
    decay: Any
    take_mean: Any
    take_slow: Any
    keep_square: Any
    take_square: Any
    from_mean: Any
    from_slow: Any
    eps: Any


def init(params: Tensor, hyper: Mapping[str, Tensor], options: Options) -> State:
    return State(torch.zeros_like(params), torch.zeros_like(params), torch.zeros_like(params))


def coefficients(
    hyper: Hyper, memory: Memory, t: int, options: Options
) -> tuple[Coefficients, Memory]:
    lr, beta1, beta2 = hyper["lr"], hyper["beta1"], hyper["beta2"]
    alpha = hyper["alpha"] * _share(t, hyper["alpha_warmup"])
    share = _share(t, hyper["beta3_warmup"])
    halved = (1.0 - share) * _half_life(beta1) + share * _half_life(hyper["beta3"])
    beta3 = np.where(share < 1.0, 0.5 ** (1.0 / (halved + 1.0)), hyper["beta3"])
    root = np.sqrt(1.0 - beta2**t)
    coupled, decoupled = split_decay(hyper, options)
    values = Coefficients(
        coupled, decoupled, 1.0 - beta1, 1.0 - beta3, beta2, 1.0 - beta2,
        lr * root / (1.0 - beta1**t), lr * root * alpha, hyper["eps"] * root,
    )  # fmt: skip
    return values, memory


def _share(t: int, warmup: Column) -> Column:
    """Return how much of a warm-up is over: t/warmup, at most 1."""
    return np.where(t < warmup, t / np.maximum(warmup, 1.0), 1.0)


def _half_life(beta: Column) -> Column:
    life: Column = np.log(0.5) / np.log(beta + 1e-8) - 1.0
    return life


def update(gradient: Tensor, state: State, params: Tensor, c: Coefficients) -> Tensor:
    """Apply p ← p − lr·(m̂₁ + α·m₂)/(√v̂ + ε), after the averages have taken the gradient."""
    gradient = decayed(gradient, params, c.weight_decay)
    mean = average_(state.mean, gradient, c.take_mean)
    slow = average_(state.slow, gradient, c.take_slow)
    square = average_of_squares_(state.square, gradient, c.keep_square, c.take_square)
    below = torch.sqrt(square).add_(c.eps)
    step = mixed(mean, -c.from_mean, slow, -c.from_slow)
    return shrunk(torch.div(step, below, out=below), params, c.decay)


RULE: Final = Rule(init, coefficients, update)
