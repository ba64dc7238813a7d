"""Rprop (Riedmiller and Braun 1993), as torch has it: iRprop⁻ (Igel and Hüsken 2000)."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from core.train.optim.rules.base import Hyper, Memory, Options, Rule, as_tensor


class State(NamedTuple):
    """The previous gradient (zero where it turned); each parameter's own step size."""

    previous: Tensor
    size: Tensor


class Coefficients(NamedTuple):
    shrink: Any
    grow: Any
    smallest: Any
    largest: Any


def init(params: Tensor, hyper: Mapping[str, Tensor], options: Options) -> State:
    return State(torch.zeros_like(params), hyper["lr"].expand_as(params).clone())


def coefficients(
    hyper: Hyper, memory: Memory, t: int, options: Options
) -> tuple[Coefficients, Memory]:
    names = ("eta_minus", "eta_plus", "step_min", "step_max")
    return Coefficients(*(hyper[name] for name in names)), memory


def update(gradient: Tensor, state: State, params: Tensor, c: Coefficients) -> Tensor:
    """Grow the step size by η⁺ where the gradient kept its sign, and shrink it by η⁻ where it
    turned; there the parameter waits. p ← p − size·sign(g)."""
    agreement = gradient * state.previous
    turned = agreement < 0
    factor = torch.ones_like(params)
    factor = torch.where(agreement > 0, as_tensor(c.grow, params), factor)
    factor = torch.where(turned, as_tensor(c.shrink, params), factor)
    size = factor.mul_(state.size)
    size = torch.minimum(
        torch.maximum(size, as_tensor(c.smallest, params)), as_tensor(c.largest, params)
    )
    state.size.copy_(size)
    state.previous.copy_(gradient).masked_fill_(turned, 0.0)
    return state.previous.sign().mul_(size).neg_()


RULE: Final = Rule(init, coefficients, update)
