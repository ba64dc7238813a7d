"""Preconditioners of adaptive methods, by which they divide the gradient, and the threshold that
goes with them.

On a quadratic an adaptive method with a frozen preconditioner P is stable while λ_max(P⁻¹H) is
below a threshold over η (Cohen et al. 2022, arXiv 2207.14484). As v shrinks with the gradient the
ratio drifts, so it is evidence of the moment, not a verdict.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from core.specs.job import JobSpec
from core.specs.optimizers.kinds import Adagrad, Adam, Adamax, AdamW, Adopt, RMSprop, follows_torch
from core.train.measure.objective import Objective, flat


class Preconditioner(NamedTuple):
    """Attributes:
    diagonal: P, one positive number a parameter.
    threshold: stable while η·λ_max(P⁻¹H) is below it.
    source: `optimizer_state`, or `reconstructed` from gradients at this point.
    """

    diagonal: Tensor
    threshold: float
    source: str


def preconditioner(
    spec: JobSpec, objective: Objective, state: Any, squares: Tensor | None
) -> Preconditioner | None:
    """Return P of Adam, AdamW, Adamax, ADOPT, RMSprop or Adagrad; None for other methods or when
    unknown.

    Args:
        state: the optimizer's part of a resume checkpoint (`StateCopy.optimizer`), or None.
        squares: E[g²] of the run's own batches at this point: what Adam's and RMSprop's averages
            tend to while the weights stand still, taken where there is no state.
    """
    optimizer = spec.optimizer
    if not isinstance(optimizer, Adam | AdamW | Adamax | Adopt | RMSprop | Adagrad):
        return None
    if getattr(optimizer, "cautious", False) or optimizer.wrap or optimizer.groups:
        return None  # its steps are no fixed multiple of the gradient
    by_rule = not isinstance(optimizer, Adopt) and not follows_torch(optimizer)
    parts = None if state is None else _parts(objective, state.get("state", {}), by_rule=by_rule)
    source = "optimizer_state" if parts is not None else "reconstructed"
    if parts is not None:
        diagonal = flat([_of_state(optimizer, p) for p in parts])
    elif squares is not None and isinstance(optimizer, Adam | AdamW | RMSprop):
        diagonal = squares.sqrt() + optimizer.eps
    else:
        return None
    if not bool((diagonal > 0).all()) or not bool(torch.isfinite(diagonal).all()):
        return None
    return Preconditioner(diagonal, threshold(optimizer), source)


def threshold(optimizer: Adam | AdamW | Adamax | Adopt | RMSprop | Adagrad) -> float:
    """Return the largest stable η·λ(P⁻¹H): (2+2β₁)/(1−β₁) where momentum is an average, 2+2β where
    a sum."""
    match optimizer:
        case Adam() | AdamW() | Adamax() | Adopt():
            beta = optimizer.betas[0]
            return (2.0 + 2.0 * beta) / (1.0 - beta)
        case RMSprop():
            return 2.0 + 2.0 * optimizer.momentum
        case Adagrad():
            return 2.0


def _parts(
    objective: Objective, state: dict[int, Any], *, by_rule: bool
) -> Sequence[dict[str, Tensor]] | None:
    """Return the state of each parameter by torch's names; None where it is not known."""
    if by_rule:
        return None  # which names it otherwise
    device = objective.parameters[0].device
    found = []
    for index, parameter in enumerate(objective.parameters):
        of_one = state.get(index)
        if not of_one:
            return None
        moved = {
            name: value.to(device, torch.float64)
            for name, value in of_one.items()
            if isinstance(value, Tensor)
        }
        if any(
            value.shape not in (parameter.shape, torch.Size([]), torch.Size([1]))
            for value in moved.values()
        ):
            return None
        found.append(moved)
    return found


def _of_state(optimizer: Any, state: dict[str, Tensor]) -> Tensor:
    match optimizer:
        case Adam() | AdamW():
            step = float(state["step"])
            first, second = optimizer.betas
            v = state["max_exp_avg_sq"] if optimizer.amsgrad else state["exp_avg_sq"]
            root = (v / (1 - second**step)).sqrt() + optimizer.eps
            return torch.mul(root, 1 - first**step)
        case Adamax():
            decay: float = 1 - optimizer.betas[0] ** float(state["step"])
            return state["exp_inf"] * decay
        case Adopt():
            return state["square"].sqrt().clamp(min=optimizer.eps)
        case RMSprop():
            v = state["square_avg"]
            if optimizer.centered:
                v = v - state["grad_avg"] ** 2
            return v.clamp(min=0).sqrt() + optimizer.eps
        case _:
            return state["sum"].sqrt() + float(optimizer.eps)
