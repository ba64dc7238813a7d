"""RAdam: Adam that waits until its variance can be estimated (Liu et al. 2020, arXiv
1908.03265)."""

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
    """Averages of the gradient and of its square."""

    mean: Tensor
    square: Tensor


class Coefficients(NamedTuple):
    """The step is −m·(plain + adaptive/(√v + ε)); one of both numbers is 0."""

    weight_decay: Any
    decay: Any
    take_mean: Any
    keep_square: Any
    take_square: Any
    plain: Any
    adaptive: Any
    eps: Any


def init(params: Tensor, hyper: Mapping[str, Tensor], options: Options) -> State:
    return State(torch.zeros_like(params), torch.zeros_like(params))


def coefficients(
    hyper: Hyper, memory: Memory, t: int, options: Options
) -> tuple[Coefficients, Memory]:
    """Compute ρ∞ = 2/(1−β₂) − 1, ρₜ = ρ∞ − 2tβ₂ᵗ/(1−β₂ᵗ); adaptive once ρₜ > 5, rectified by
    √((ρₜ−4)(ρₜ−2)ρ∞ / ((ρ∞−4)(ρ∞−2)ρₜ))."""
    lr, beta1, beta2 = hyper["lr"], hyper["beta1"], hyper["beta2"]
    correction = 1.0 - beta2**t
    limit = 2.0 / (1.0 - beta2) - 1.0
    length = limit - 2.0 * t * beta2**t / correction
    adapts = length > 5.0
    at = np.where(adapts, length, 6.0)
    most = np.where(adapts, limit, 6.0)
    rectified = np.sqrt((at - 4) * (at - 2) * most / ((most - 4) * (most - 2) * at))
    rate = lr / (1.0 - beta1**t)
    coupled, decoupled = split_decay(hyper, options)
    values = Coefficients(
        coupled, decoupled, 1.0 - beta1, beta2, 1.0 - beta2,
        np.where(adapts, 0.0, rate),
        np.where(adapts, rate * rectified * np.sqrt(correction), 0.0),
        hyper["eps"],
    )  # fmt: skip
    return values, memory


def update(gradient: Tensor, state: State, params: Tensor, c: Coefficients) -> Tensor:
    """Apply m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², p ← p − lr·m̂·(1 or r·√(1−β₂ᵗ)/(√v + ε))."""
    gradient = decayed(gradient, params, c.weight_decay)
    mean = average_(state.mean, gradient, c.take_mean)
    square = average_of_squares_(state.square, gradient, c.keep_square, c.take_square)
    if isinstance(c.adaptive, float) and c.adaptive == 0.0:
        return shrunk(mean * -c.plain, params, c.decay)
    step = (mean * -c.adaptive).div_(square.sqrt().add_(c.eps)).sub_(mean * c.plain)
    return shrunk(step, params, c.decay)


RULE: Final = Rule(init, coefficients, update)
