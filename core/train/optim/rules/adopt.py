"""ADOPT: Adam that converges with any β₂ (Taniguchi et al. 2024, arXiv 2411.02853, algorithm 2).

    n = clip(g/max(√v, ε), ±(t−1)^e),    m ← β₁m + (1−β₁)n,    w ← w − lr·m,    v ← β₂v + (1−β₂)g²

The gradient is divided by the root of what came before it, so that both are independent, and then
averaged. The first update moves nothing: it sets v to g² (m is 0). Without `use_clipping` n is not
clipped (the paper's algorithm 1). Decoupled decay takes lr·λw off at each update but the first, as
in the authors' implementation; else λw is added to g.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
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
    """Averages of the divided gradient, and of the gradient's square."""

    mean: Tensor
    square: Tensor


class Coefficients(NamedTuple):
    weight_decay: Any
    decay: Any
    lr: Any
    eps: Any
    bound: Any
    take_mean: Any
    keep_square: Any
    take_square: Any


def init(params: Tensor, hyper: Mapping[str, Tensor], options: Options) -> State:
    return State(torch.zeros_like(params), torch.zeros_like(params))


def coefficients(
    hyper: Hyper, memory: Memory, t: int, options: Options
) -> tuple[Coefficients, Memory]:
    """Compute the coefficients. Those of the first update divide by an infinite ε: n is 0."""
    first = t == 1
    coupled, decoupled = split_decay(hyper, options)
    beta2 = hyper["beta2"]
    bound = float(t - 1) ** hyper["clip_exponent"]
    values = Coefficients(
        coupled,
        0.0 * decoupled if first else decoupled,
        hyper["lr"],
        np.full_like(hyper["eps"], np.inf) if first else hyper["eps"],
        bound if options.switches["use_clipping"] else np.full_like(bound, np.inf),
        1.0 - hyper["beta1"],
        0.0 * beta2 if first else beta2,
        np.ones_like(beta2) if first else 1.0 - beta2,
    )
    return values, memory


def update(gradient: Tensor, state: State, params: Tensor, c: Coefficients) -> Tensor:
    """Apply m ← β₁m + (1−β₁)·clip(g/max(√v, ε)), v ← β₂v + (1−β₂)g², p ← p − lr·m."""
    gradient = decayed(gradient, params, c.weight_decay)
    below = torch.sqrt(state.square).clamp_(min=c.eps)
    divided = torch.div(gradient, below, out=below).clamp_(-c.bound, c.bound)
    mean = average_(state.mean, divided, c.take_mean)
    average_of_squares_(state.square, gradient, c.keep_square, c.take_square)
    return shrunk(torch.mul(mean, -c.lr, out=divided), params, c.decay)


RULE: Final = Rule(init, coefficients, update)
