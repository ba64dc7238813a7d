"""Schedule-Free SGD and AdamW (Defazio et al. 2024, arXiv 2405.15682, algorithm 1 and section 2).

    z ← z − γ·d,    x ← (1 − c)·x + c·z,    y ← (1 − β)·z + β·x

d is the gradient at y plus λy (SGD), or g/(√(v/(1−β₂ᵗ)) + ε) + λy with v ← β₂v + (1−β₂)g² (AdamW).
A run's parameters are y, where gradients are taken; evaluations and results are of x, a mean of all
z: no schedule of the rate is needed. The step's share c in that mean is w/Σw with

    γ = lr·min(1, t/warmup_steps),    w = t^r · (the largest γ so far)^weight_lr_power.

As in the authors' `schedulefree`, which keeps z alone and finds x = (y − (1−β)z)/β when asked; here
both are kept, so that β may be 0, or change. Decay of AdamW that is not decoupled is added to g.
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
    split_decay,
)


class State(NamedTuple):
    """The points z and x, and (AdamW) the average of the gradient's square."""

    z: Tensor
    x: Tensor
    square: Tensor | None


class Coefficients(NamedTuple):
    """The bias correction is taken into `rate` and `eps`."""

    weight_decay: Any
    decay: Any
    rate: Any
    share: Any
    towards_x: Any
    keep_square: Any
    take_square: Any
    eps: Any


def init_sgd(params: Tensor, hyper: Mapping[str, Tensor], options: Options) -> State:
    return State(params.clone(), params.clone(), None)


def init_adamw(params: Tensor, hyper: Mapping[str, Tensor], options: Options) -> State:
    return State(params.clone(), params.clone(), torch.zeros_like(params))


def coefficients_of_sgd(
    hyper: Hyper, memory: Memory, t: int, options: Options
) -> tuple[Coefficients, Memory]:
    lr, share, memory = _rate_and_share(hyper, memory, t)
    none = np.zeros_like(lr)
    values = Coefficients(
        hyper["weight_decay"], none, lr, share, hyper["momentum"], none, none, none
    )
    return values, memory


def coefficients_of_adamw(
    hyper: Hyper, memory: Memory, t: int, options: Options
) -> tuple[Coefficients, Memory]:
    beta2 = hyper["beta2"]
    lr, share, memory = _rate_and_share(hyper, memory, t)
    root = np.sqrt(1.0 - beta2**t)
    coupled, decoupled = split_decay({**hyper, "lr": lr}, options)
    values = Coefficients(
        coupled, decoupled, lr * root, share, hyper["beta1"], beta2, 1.0 - beta2,
        hyper["eps"] * root,
    )  # fmt: skip
    return values, memory


def _rate_and_share(hyper: Hyper, memory: Memory, t: int) -> tuple[Column, Column, Memory]:
    """Return γ and c of update t, and the largest γ and the Σw after it."""
    warmup = hyper["warmup_steps"]
    lr = hyper["lr"] * np.where(t < warmup, t / np.maximum(warmup, 1.0), 1.0)
    largest = np.maximum(lr, memory["largest_lr"])
    weight = float(t) ** hyper["r"] * largest ** hyper["weight_lr_power"]
    total = memory["total"] + weight
    share = np.where(total > 0.0, weight / total, 0.0)
    return lr, share, {"largest_lr": largest, "total": total}


def update(gradient: Tensor, state: State, params: Tensor, c: Coefficients) -> Tensor:
    """Apply z ← z − γd, x ← (1−c)x + cz, and return (1−β)z + βx − y."""
    gradient = decayed(gradient, params, c.weight_decay)
    z, x, square = state
    if square is None:
        _moved_(z, gradient, c.rate)
    else:
        average_of_squares_(square, gradient, c.keep_square, c.take_square)
        below = torch.sqrt(square).add_(c.eps)
        _moved_(z, torch.div(gradient, below, out=below), c.rate)
        if not (isinstance(c.decay, float) and c.decay == 0.0):
            _moved_(z, params, c.decay)
    average_(x, z, c.share)
    return torch.lerp(z, x, c.towards_x).sub_(params)


def _moved_(point: Tensor, direction: Tensor, rate: Any) -> Tensor:
    """Write point − rate·direction in the place of `point`."""
    if isinstance(rate, float):
        return point.sub_(direction, alpha=rate)
    return point.addcmul_(direction, rate, value=-1.0)


def _memory(runs: int) -> Memory:
    return {"largest_lr": np.zeros(runs), "total": np.zeros(runs)}


SGD: Final = Rule(init_sgd, coefficients_of_sgd, update, _memory, evaluated="x")
ADAMW: Final = Rule(init_adamw, coefficients_of_adamw, update, _memory, evaluated="x")
