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
    mix_,
    shrunk,
    split_decay,
)
from core.train.tensors.packing import LINE_BYTES


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


def _takes_fused(gradient: Tensor, state: State, c: Coefficients) -> bool:
    """Tell whether torch's kernel for Adam serves: everything but the rate is the same in all runs,
    and float32 numbers on a CPU fill whole lines, so that the place of none matters: what is left
    beyond its vectors the kernel computes to other last bits."""
    numbers = (c.take_mean, c.keep_square, c.eps)
    same = state.largest is None and all(isinstance(number, float) for number in numbers)
    plain = gradient.dtype == torch.float32 and gradient.device.type == "cpu"
    whole = gradient.is_contiguous() and state.mean.is_contiguous()
    return same and plain and whole and gradient.shape[1] % (LINE_BYTES // 4) == 0


def move(gradient: Tensor, state: State, params: Tensor, c: Coefficients) -> None:
    """Apply `update`, by torch's kernel for Adam where that serves: one pass over the averages, and
    one over the parameters, instead of nine.

    The kernel moves parameters by a rate that is one number. It is given the rate 1, so late a step
    that its own bias corrections are 1, and as parameters the gradient, of which a decoupled decay
    of 1 leaves nothing: −m/(√v + eps) takes its place.
    """
    if not _takes_fused(gradient, state, c):
        params.add_(update(gradient, state, params, c))
        return
    gradient = decayed(gradient, params, c.weight_decay)
    torch._fused_adamw_(
        [gradient], [gradient], [state.mean], [state.square], [], [_LATE],
        lr=1.0, beta1=1.0 - c.take_mean, beta2=c.keep_square, weight_decay=1.0, eps=c.eps,
        amsgrad=False, maximize=False,
    )  # fmt: skip
    mix_(params, 1.0, params, -c.decay)
    mix_(params, 1.0, gradient, c.step)


_LATE: Final = torch.tensor(1e9)
"""A number of updates after which β to its power is 0."""

RULE: Final = Rule(init, coefficients, update, move=move)
