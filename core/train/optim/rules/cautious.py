"""Cautious updates (Liang et al. 2024, arXiv 2411.16085).

Of a method's update u, the numbers that would go up the gradient are left out, and the others grow
by as much, parameter by parameter:

    u ← u·φ/max(mean φ, 1/1000),    φ = 1 where u·g < 0, else 0

g is the gradient with the decay that is added to it; decoupled decay is no part of u. The state is
the method's.
"""

from dataclasses import replace
from typing import Any, Final

from torch import Tensor

from core.train.optim.rules.base import Rule, decayed, shrunk

LEAST_SHARE: Final = 1e-3


def cautious(rule: Rule) -> Rule:
    """Return the rule with its updates masked, for one whose unit is the number."""

    def update(gradient: Tensor, state: Any, params: Tensor, c: Any) -> Tensor:
        gradient = decayed(gradient, params, c.weight_decay)
        own = c._replace(weight_decay=0.0, decay=0.0)
        step = rule.update(gradient.clone(), state, params, own)  # which may take its place
        return shrunk(masked(step, gradient), params, c.decay)

    return replace(rule, update=update, move=None, unit="parameter")


def masked(step: Tensor, gradient: Tensor) -> Tensor:
    """Write u·φ/max(mean φ, 1/1000) in the place of `step`; both are (rows, n), each row alone."""
    agrees = (step * gradient < 0.0).to(step.dtype)
    share = agrees.mean(dim=1, keepdim=True).clamp_(min=LEAST_SHARE)
    return step.mul_(agrees).div_(share)
