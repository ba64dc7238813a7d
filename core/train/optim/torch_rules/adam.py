"""Adam (Kingma and Ba 2015, arXiv 1412.6980) and AdamW (Loshchilov and Hutter 2019, arXiv
1711.05101), with AMSGrad (Reddi et al. 2018, arXiv 1904.09237)."""

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
    """Averages of the gradient and of its square; the largest of the latter (AMSGrad only)."""

    mean: Tensor
    square: Tensor
    largest: Tensor | None


class Coefficients(NamedTuple):
    """The bias corrections are taken into `step` and `eps`:
    lr/(1−β₁ᵗ)·m/(√(v/(1−β₂ᵗ)) + ε) = step·m/(√v + eps)."""

    weight_decay: Any
    decay: Any
    take_mean: Any
    keep_square: Any
    take_square: Any
    step: Any
    eps: Any


def init(params: Tensor, hyper: Mapping[str, Tensor], options: Options) -> State:
    largest = torch.zeros_like(params) if options.switches["amsgrad"] else None
    return State(torch.zeros_like(params), torch.zeros_like(params), largest)


def coefficients(
    hyper: Hyper, memory: Memory, t: int, options: Options
) -> tuple[Coefficients, Memory]:
    lr, beta1, beta2 = hyper["lr"], hyper["beta1"], hyper["beta2"]
    root = np.sqrt(1.0 - beta2**t)
    coupled, decoupled = split_decay(hyper, options)
    values = Coefficients(
        coupled, decoupled, 1.0 - beta1, beta2, 1.0 - beta2,
        lr * root / (1.0 - beta1**t), hyper["eps"] * root,
    )  # fmt: skip
    return values, memory


def update(gradient: Tensor, state: State, params: Tensor, c: Coefficients) -> Tensor:
    """Apply m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², p ← p − lr·m̂/(√v̂ + ε)."""
    gradient = decayed(gradient, params, c.weight_decay)
    mean = average_(state.mean, gradient, c.take_mean)
    square = average_of_squares_(state.square, gradient, c.keep_square, c.take_square)
    largest = state.largest
    if largest is not None:
        torch.maximum(largest, square, out=largest)
    # Its last use: the next numbers take the gradient's place, which is at hand in the cache.
    below = torch.sqrt(square if largest is None else largest, out=gradient).add_(c.eps)
    step = torch.div(mean, below, out=below).mul_(-c.step)
    return shrunk(step, params, c.decay)


RULE: Final = Rule(init, coefficients, update)
