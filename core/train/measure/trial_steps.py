"""Real steps on a copy of a run: its next update, and steps along negative curvature."""

import math
from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor

from core.specs.base import Json
from core.specs.job import JobSpec
from core.train.measure.curvature import Product, Ritz
from core.train.measure.objective import Objective
from core.train.problems.build import build_problem
from core.train.state import OptimizationState, StateCopy

_STEPS: Final = tuple(10.0 ** (k / 2) for k in range(-8, 1))
"""Lengths of the steps along negative curvature, as shares of the weights' own size."""


def next_update(
    spec: JobSpec,
    weights: Mapping[str, Tensor] | None,
    moment: StateCopy | None,
    device: torch.device,
) -> dict[str, float] | None:
    """Return the norms of each parameter's next update, by making it on a copy of the run; None
    without the optimizer's state (but for plain gradient descent, which has none) and for LBFGS."""
    plain = spec.optimizer.kind == "sgd" and spec.optimizer.momentum == 0
    if spec.optimizer.kind == "lbfgs" or (moment is None and not (plain and weights is not None)):
        return None
    dtype = torch.float64 if spec.precision == "float64" else torch.float32
    problem = build_problem(spec, device, dtype)
    descent = OptimizationState(spec, problem)
    if moment is not None:
        descent.go_back_to(moment)
    else:
        assert weights is not None
        problem.load_state(weights)
    before = {name: value.detach().clone() for name, value in problem.state().items()}
    loss = problem.loss(0)
    loss.backward()  # type: ignore[no-untyped-call]
    if descent.clip is not None:
        descent.clip(descent.gradient_norm())
    descent.update(0, loss)
    return {
        name: float((value.detach() - before[name]).double().norm())
        for name, value in problem.state().items()
        if value.is_floating_point()
    }


def newton_direction(
    product: Product, gradient: Tensor, most: int, in_time: Callable[[], bool]
) -> Tensor:
    """Compute about −H⁻¹g by conjugate gradients, which end at negative curvature, at a residual of
    1e-3, or out of time (Steihaug 1983; Nocedal and Wright 2006, algorithm 7.1)."""
    step, residual = torch.zeros_like(gradient), -gradient
    way, size = residual.clone(), float(residual @ residual)
    least = 1e-6 * size
    for _ in range(most):
        image = product(way)
        curvature = float(way @ image)
        if not curvature > 0.0:
            break
        length = size / curvature
        step = step + length * way
        residual = residual - length * image
        now = float(residual @ residual)
        if now <= least or not in_time():
            break
        way, size = residual + (now / size) * way, now
    return step if bool(step.any()) else -gradient


def gain(objective: Objective, direction: Tensor, in_time: Callable[[], bool]) -> Json:
    """Compute what the best of some real steps along `direction` takes off the loss: 1/16 to 16
    times it.

    Along Newton's direction this is what is left to gain nearby, also where the gradient is small
    only against a huge first one (Boyd and Vandenberghe 2004, 9.5.1: the Newton decrement).
    """
    here, best = objective.loss(), 0.0
    for power in (0, -1, 1, -2, 2, -4, 4):
        best = max(best, here - objective.loss_at(2.0**power * direction))
        if not in_time():
            break
    return {"drop": best}


def negative_step(
    objective: Objective, smallest: Ritz, gradient: Tensor, in_time: Callable[[], bool]
) -> Json:
    """Make real steps to both sides along the direction of smallest curvature: which falls
    furthest, and what the gradient and curvature there promise for it. `both_sides` is the most
    that steps of one length take off to either side, as they do at a saddle and not on a slope."""
    here = objective.loss()
    length = math.sqrt(sum(float((p.detach() ** 2).sum()) for p in objective.parameters))
    slope = float(gradient @ smallest.vector)
    best: Json = {"drop": 0.0, "step": 0.0, "promised": 0.0}
    both = 0.0
    for share in _STEPS:
        if not in_time():
            break
        step = share * max(1.0, length)
        drops = {
            sign: here - objective.loss_at(sign * step * smallest.vector) for sign in (1.0, -1.0)
        }
        both = max(both, min(drops.values()))
        sign = max(drops, key=lambda each: drops[each])
        if drops[sign] > best["drop"]:
            promised = -sign * slope * step - 0.5 * smallest.value * step * step
            best = {"drop": drops[sign], "step": sign * step, "promised": promised}
    best["both_sides"] = both
    if objective.model is None and objective.dim <= 64:
        best["direction"] = [float(each) for each in smallest.vector]
    return best
