"""Prodigy: Adam that finds its own step size (Mishchenko and Defazio 2024, arXiv 2306.06101,
algorithm 4).

    n ← β₃n + (d/d₀)·γ·⟨g, w₀ − w⟩,    s ← β₃s + (d/d₀)·γ·g,    γ = lr·d
    m ← β₁m + (1−β₁)·d·g,    v ← β₂v + (1−β₂)·d²·g²
    d̂ = d_coef·n/‖s‖₁,    d ← min(max of all d̂ and d₀, d·growth_rate)
    w ← w − γ·(m/(√v + d·ε) + λw), with the γ of before

d, a lower bound of the distance from the first weights w₀ to a solution, grows from d₀; `lr` is a
factor on it, 1 with a schedule or without. The sums are over all parameters of a run. As in the
authors' `prodigyopt`: β₃ is √β₂ unless it is given, `use_bias_correction` multiplies γ by
√(1−β₂ᵗ)/(1−β₁ᵗ), `safeguard_warmup` takes lr out of s, and an update at rate 0 changes nothing.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.train.optim.rules.base import Hyper, Memory, Options, Rule, decayed, shrunk, split_decay


class State(NamedTuple):
    """m, v, s and w₀, rows of all parameters; d, the largest d̂ and n, a number a run: (runs, 1)."""

    mean: Tensor
    square: Tensor
    sums: Tensor
    start: Tensor
    d: Tensor
    largest: Tensor
    numerator: Tensor


class Coefficients(NamedTuple):
    """The bias correction is taken into `lr`; `s_lr` is the rate in s."""

    weight_decay: Any
    decay: Any
    lr: Any
    s_lr: Any
    d0: Any
    d_coef: Any
    growth_rate: Any
    keep_mean: Any
    take_mean: Any
    keep_square: Any
    take_square: Any
    keep_sums: Any
    eps: Any


def init(params: Tensor, hyper: Mapping[str, Tensor], options: Options) -> State:
    mean, square, sums = (torch.zeros_like(params) for _ in range(3))
    d = hyper["d0"].expand(len(params), 1).clone()
    return State(mean, square, sums, params.clone(), d, d.clone(), torch.zeros_like(d))


def coefficients(
    hyper: Hyper, memory: Memory, t: int, options: Options
) -> tuple[Coefficients, Memory]:
    beta1, beta2 = hyper["beta1"], hyper["beta2"]
    moves = hyper["lr"] > 0.0
    updates = memory["updates"] + moves
    lr, beta3 = hyper["lr"], hyper.get("beta3", np.sqrt(beta2))
    if options.switches["use_bias_correction"]:
        lr = lr * np.sqrt(1.0 - beta2**updates) / np.where(moves, 1.0 - beta1**updates, 1.0)
    coupled, decoupled = split_decay({**hyper, "lr": lr}, options)
    values = Coefficients(
        coupled, decoupled, lr,
        np.where(moves, 1.0, 0.0) if options.switches["safeguard_warmup"] else lr,
        hyper["d0"], hyper["d_coef"], hyper["growth_rate"],
        np.where(moves, beta1, 1.0), np.where(moves, 1.0 - beta1, 0.0),
        np.where(moves, beta2, 1.0), np.where(moves, 1.0 - beta2, 0.0),
        np.where(moves, beta3, 1.0), hyper["eps"],
    )  # fmt: skip
    return values, {"updates": updates}


def update(gradient: Tensor, state: State, params: Tensor, c: Coefficients) -> Tensor:
    """Apply the averages and the new d; return −γ·(m/(√v + d·ε) + λw)."""
    gradient = decayed(gradient, params, c.weight_decay)
    mean, square, sums, start, d, largest, numerator = state
    before = d.clone()
    share = before / c.d0
    # All numbers in between lie in one row after the other, which stays in the cache.
    between = torch.sub(start, params)
    along = between.mul_(gradient).sum(dim=1, keepdim=True)
    numerator.mul_(c.keep_sums).addcmul_(share * before * c.lr, along)
    mean.mul_(c.keep_mean).addcmul_(gradient, before * c.take_mean)
    torch.mul(gradient, before * before * c.take_square, out=between)
    square.mul_(c.keep_square).addcmul_(gradient, between)
    sums.mul_(c.keep_sums).addcmul_(gradient, share * before * c.s_lr)
    length = torch.abs(sums, out=between).sum(dim=1, keepdim=True)
    # Without a gradient so far nothing is known, and d stays.
    found = torch.where(length == 0.0, before, c.d_coef * numerator / length)
    torch.maximum(largest, found, out=largest)
    first = torch.where(before == c.d0, torch.maximum(before, found), before)
    torch.minimum(largest, first * c.growth_rate, out=d)
    below = torch.sqrt(square, out=between).add_(d * c.eps)
    step = torch.div(mean, below, out=below).mul_(-before * c.lr)
    return shrunk(step, params, before * c.decay)


def _memory(runs: int) -> Memory:
    return {"updates": np.zeros(runs)}


RULE: Final = Rule(init, coefficients, update, _memory, unit="run")
