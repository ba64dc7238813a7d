"""Muon for many runs at once: `core.train.optim.muon` says what it is.

The products are batched over the runs, and the norms are each run's own, so that a run's numbers do
not depend on the others' (where its matrices may lie: `core.train.fused.problems.compaction`).
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from core.specs.optimizers.kinds import rate_factor
from core.train.optim.muon import orthogonalized
from core.train.optim.rules.base import Hyper, Memory, Options, Rule, Scalar, average_, shrunk
from core.train.optim.torch_rules import adam

ADAMW: Final = {"amsgrad": False, "decoupled_weight_decay": True}


class State(NamedTuple):
    """A hidden layer's: the average of its gradients, (runs, rows, columns). The other parameters'
    is `adam.State`."""

    average: Tensor


class Coefficients(NamedTuple):
    """Muon's, then AdamW's in the order of `adam.Coefficients`."""

    shrink: Any
    rate: Any
    take: Any
    ahead: Any
    a: Any
    b: Any
    c: Any
    eps: Any
    weight_decay: Any
    decay: Any
    take_mean: Any
    keep_square: Any
    take_square: Any
    step: Any
    adamw_eps: Any


ADAMW_FROM: Final = Coefficients._fields.index("weight_decay")


def init(params: Tensor, hyper: Mapping[str, Tensor], options: Options) -> State | adam.State:
    if options.matrix is None:
        return adam.init(params, hyper, options._replace(switches=ADAMW))
    return State(params.new_zeros(len(params), *options.matrix))


def coefficients(
    hyper: Hyper, memory: Memory, t: int, options: Options
) -> tuple[Coefficients, Memory]:
    lr, momentum = hyper["lr"], hyper["momentum"]
    others, memory = adam.coefficients(
        {
            "lr": lr * hyper["adamw_lr_scale"],
            "beta1": hyper["adamw_beta1"],
            "beta2": hyper["adamw_beta2"],
            "eps": hyper["adamw_eps"],
            "weight_decay": hyper["weight_decay"],
        },
        memory,
        t,
        options._replace(switches=ADAMW),
    )
    values = Coefficients(
        lr * hyper["weight_decay"], lr, 1.0 - momentum, momentum,
        hyper["ns_a"], hyper["ns_b"], hyper["ns_c"], hyper["eps"], *others,
    )  # fmt: skip
    return values, memory


def update(
    gradient: Tensor,
    state: State | adam.State,
    params: Tensor,
    c: Coefficients,
    *,
    nesterov: bool,
    ns_steps: int,
    adjust_lr_fn: str | None,
) -> Tensor:
    """Apply B ← μB + (1−μ)G, p ← (1 − lr·λ)p − lr·f·NS(D), where D is B, or μB + (1−μ)G
    (Nesterov)."""
    if isinstance(state, adam.State):
        return adam.update(gradient, state, params, adam.Coefficients._make(c[ADAMW_FROM:]))
    runs, rows, columns = state.average.shape
    whole = average_(state.average.view(runs, -1), gradient, c.take)
    direction = torch.lerp(gradient, whole, c.ahead) if nesterov else whole
    found = orthogonalized(
        direction.view(runs, rows, columns), (_deep(c.a), _deep(c.b), _deep(c.c)), ns_steps,
        _deep(c.eps),
    )  # fmt: skip
    step = found.reshape(runs, -1) * (c.rate * -rate_factor(rows, columns, adjust_lr_fn))
    return shrunk(step, params, c.shrink)


def _deep(scalar: Scalar) -> Scalar:
    """Return the column for matrices: (runs, 1, 1)."""
    return scalar.unsqueeze(-1) if isinstance(scalar, torch.Tensor) else scalar


def rule(*, nesterov: bool, ns_steps: int, adjust_lr_fn: str | None) -> Rule:
    """Return the rule of runs that have these in common."""
    move = partial(update, nesterov=nesterov, ns_steps=ns_steps, adjust_lr_fn=adjust_lr_fn)
    return Rule(init, coefficients, move, unit="parameter")
