"""NAdam: Adam with Nesterov's momentum (Dozat 2016)."""

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
    weight_decay: Any
    decay: Any
    take_mean: Any
    keep_square: Any
    take_square: Any
    from_gradient: Any
    from_mean: Any
    eps: Any


def init(params: Tensor, hyper: Mapping[str, Tensor], options: Options) -> State:
    return State(torch.zeros_like(params), torch.zeros_like(params))


def coefficients(
    hyper: Hyper, memory: Memory, t: int, options: Options
) -> tuple[Coefficients, Memory]:
    """Compute μₜ = β₁(1 − ½·0.96^(ψt)). Their product is kept in float32, as torch keeps it."""
    lr, beta1, beta2, psi = (hyper[name] for name in ("lr", "beta1", "beta2", "momentum_decay"))
    mu = beta1 * (1.0 - 0.5 * 0.96 ** (t * psi))
    mu_next = beta1 * (1.0 - 0.5 * 0.96 ** ((t + 1) * psi))
    product = memory["product"] * mu.astype(np.float32)
    so_far = product.astype(np.float64)
    root = np.sqrt(1.0 - beta2**t)
    coupled, decoupled = split_decay(hyper, options)
    values = Coefficients(
        coupled, decoupled, 1.0 - beta1, beta2, 1.0 - beta2,
        lr * (1.0 - mu) / (1.0 - so_far) * root,
        lr * mu_next / (1.0 - so_far * mu_next) * root,
        hyper["eps"] * root,
    )  # fmt: skip
    return values, {"product": product}


def update(gradient: Tensor, state: State, params: Tensor, c: Coefficients) -> Tensor:
    """Apply p ← p − lr·((1−μₜ)/(1−Πμ)·g + μₜ₊₁/(1−μₜ₊₁Πμ)·m)/(√v̂ + ε)."""
    gradient = decayed(gradient, params, c.weight_decay)
    mean = average_(state.mean, gradient, c.take_mean)
    square = average_of_squares_(state.square, gradient, c.keep_square, c.take_square)
    below = square.sqrt().add_(c.eps)
    step = (gradient * -c.from_gradient).sub_(mean * c.from_mean).div_(below)
    return shrunk(step, params, c.decay)


def _memory(runs: int) -> Memory:
    return {"product": np.ones(runs, dtype=np.float32)}


RULE: Final = Rule(init, coefficients, update, _memory)
