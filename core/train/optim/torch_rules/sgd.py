"""Gradient descent with momentum (Polyak 1964; Nesterov 1983; Sutskever et al. 2013); with
decoupled decay SGDW (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 1)."""

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
    decayed,
    mix_,
    mixed,
    shrunk,
    split_decay,
)


class State(NamedTuple):
    """`velocity`: None when no run has a momentum."""

    velocity: Tensor | None


class Coefficients(NamedTuple):
    """v ← keep·v + take·g; the step is −lr·(from_gradient·g + from_velocity·v)."""

    weight_decay: Any
    decay: Any
    lr: Any
    keep: Any
    take: Any
    from_gradient: Any
    from_velocity: Any


def init(params: Tensor, hyper: Mapping[str, Tensor], options: Options) -> State:
    return State(torch.zeros_like(params) if options.uses_momentum else None)


def coefficients(
    hyper: Hyper, memory: Memory, t: int, options: Options
) -> tuple[Coefficients, Memory]:
    """Compute the coefficients as torch does: the first velocity is the gradient, undamped; while a
    run's momentum is 0, its velocity stays as it is and the gradient alone counts."""
    momentum, moved = hyper["momentum"], memory["moved"]
    still = momentum == 0
    nesterov = options.switches["nesterov"]
    coupled, decoupled = split_decay(hyper, options)
    values = Coefficients(
        weight_decay=coupled,
        decay=decoupled,
        lr=hyper["lr"],
        keep=np.where(still, 1.0, np.where(moved, momentum, 0.0)),
        take=np.where(still, 0.0, np.where(moved, 1.0 - hyper["dampening"], 1.0)),
        from_gradient=np.where(still | nesterov, 1.0, 0.0),
        from_velocity=np.where(still, 0.0, momentum if nesterov else 1.0),
    )
    return values, {"moved": moved | ~still}


def update(gradient: Tensor, state: State, params: Tensor, c: Coefficients) -> Tensor:
    """Apply p ← p − lr·d, where v ← μv + (1 − τ)g, and d is g, v, or g + μv (Nesterov)."""
    gradient = decayed(gradient, params, c.weight_decay)
    if state.velocity is None:
        return shrunk(torch.mul(gradient, -c.lr), params, c.decay)
    velocity = mix_(state.velocity, c.keep, gradient, c.take)
    direction = mixed(gradient, c.from_gradient, velocity, c.from_velocity)
    return shrunk(torch.mul(direction, -c.lr), params, c.decay)


def _memory(runs: int) -> Memory:
    return {"moved": np.zeros(runs, dtype=bool)}


RULE: Final = Rule(init, coefficients, update, _memory)
