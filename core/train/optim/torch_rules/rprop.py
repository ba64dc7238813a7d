"""Rprop (Riedmiller and Braun 1993), as torch has it: iRprop⁻ (Igel and Hüsken 2000)."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from core.train.optim.rules.base import Hyper, Memory, Options, Rule, Scalar, mix_


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
    sign, size = _turned(gradient, state, c)
    return sign.mul_(size).neg_()


def move(gradient: Tensor, state: State, params: Tensor, c: Coefficients) -> None:
    """Apply `update`, to the same bits: each step is a size as it is, or 0."""
    sign, size = _turned(gradient, state, c)
    params.addcmul_(sign, size, value=-1.0)


def _turned(gradient: Tensor, state: State, c: Coefficients) -> tuple[Tensor, Tensor]:
    """Update the state, and return the signs and sizes of the steps down.

    Choices are products with 0 and 1, of which each number has one 1: `torch.where` and
    `masked_fill_` take forty times as long."""
    agreement = state.previous.mul_(gradient).sign_()
    turned = agreement.clamp(max=0.0)  # −1 where the sign did
    factor = 1.0 - agreement.abs()
    mix_(factor, 1.0, turned, -c.shrink)
    mix_(factor, 1.0, agreement.clamp_(min=0.0), c.grow)
    size = state.size.mul_(factor)
    if isinstance(c.smallest, float) and isinstance(c.largest, float):
        size.clamp_(c.smallest, c.largest)
    else:
        _at_most_(_at_least_(size, c.smallest), c.largest)
    # Where an infinite gradient turned this is no number, whose sign is 0 too.
    previous = torch.mul(gradient, turned.add_(1.0), out=state.previous)
    return previous.sign(), size


def _at_least_(x: Tensor, bound: Scalar) -> Tensor:
    return x.clamp_(min=bound) if isinstance(bound, float) else torch.maximum(x, bound, out=x)


def _at_most_(x: Tensor, bound: Scalar) -> Tensor:
    return x.clamp_(max=bound) if isinstance(bound, float) else torch.minimum(x, bound, out=x)


RULE: Final = Rule(init, coefficients, update, move=move)
