"""Real steps: the first of a patched run, a run's next update, steps along negative curvature."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from core.specs.base import Json
from core.specs.data import ExplicitOrder
from core.specs.direction import sign_of_job
from core.specs.job import DataProblem, JobSpec
from core.specs.sizes.extent import extent_of
from core.train.devices import exact_kernels, pick_device
from core.train.measure.curvature import Product, Ritz
from core.train.measure.objective import Objective
from core.train.optim.gradients import gradient_norm
from core.train.problems.base import Problem
from core.train.problems.build import build_problem
from core.train.state import OptimizationState, StateCopy

_STEPS: Final = tuple(10.0 ** (k / 2) for k in range(-8, 1))
"""Lengths of the steps along negative curvature, as shares of the weights' own size."""


TRIED_STEPS: Final = 4
TRIED_WORK: Final = 2**20
"""Most parameters × rows of a tried step: larger batches are tried with fewer rows, and models that
have not 16 rows then are not tried. It keeps a trial at some milliseconds."""
_LEAST_ROWS: Final = 16
_STEADY_ROWS: Final = 64
"""Rows whose mean loss is steady enough to be compared."""


def first_steps(specs: Sequence[JobSpec], *, device: str = "cpu") -> list[Json | None]:
    """Take the first steps of supervised runs, one after the other.

    Returns, for each, the mean loss of the same rows before (`first`) and after (`last`; both of
    what is to fall, perhaps not finite, and at the weights that results are of), whether every
    parameter was `finite`, and whether they `moved`, by more than rounding; None where that is not
    cheap, or tells nothing because the schedule begins at a rate of 0. Runs of the same problem
    share its data and first weights.
    """
    found: list[Json | None] = []
    problem, of_what, start = None, None, {}
    with exact_kernels():
        for tried in map(_smaller, specs):
            if tried is None:
                found.append(None)
                continue
            what = (tried.problem, tried.seed, tried.batch_size, tried.precision)
            if problem is None or what != of_what:
                dtype = torch.float64 if tried.precision == "float64" else torch.float32
                problem, of_what = build_problem(tried, pick_device(device), dtype), what
                start = {name: value.clone() for name, value in problem.state().items()}
            else:
                problem.load_state(start)
            found.append(_try(tried, problem))
    return found


def _try(spec: JobSpec, problem: Problem) -> Json | None:
    descent = OptimizationState(spec, problem)
    before = [parameter.detach().clone() for parameter in descent.parameters]
    first = _probe(spec, problem)
    if _take(descent) == 0.0:
        return None
    descent.go_to_result_weights()
    last, sign = _probe(spec, problem), sign_of_job(spec)
    after = [parameter.detach() for parameter in descent.parameters]
    way = [a - b for a, b in zip(after, before, strict=True)]
    moved = float(gradient_norm(way)) > torch.finfo(before[0].dtype).eps * float(
        gradient_norm(before)
    )
    finite = all(bool(each.isfinite().all()) for each in after)
    return {
        "first": sign * first,
        "last": sign * last,
        "finite": finite,
        "moved": moved or not finite,
    }


def _smaller(spec: JobSpec) -> JobSpec | None:
    """Return the spec with batches that are quickly computed; None where there are none."""
    if not isinstance(spec.problem, DataProblem):
        return None
    extent = extent_of(spec)
    most = TRIED_WORK // max(1, extent.num_parameters)
    if most < _LEAST_ROWS or isinstance(spec.problem.data.order, ExplicitOrder):
        return None
    rows = spec.batch_size if isinstance(spec.batch_size, int) else extent.train_rows
    return spec if rows <= most else spec.model_copy(update={"batch_size": most})


def _take(descent: OptimizationState) -> float:
    """Take the steps (of LBFGS, each of many evaluations, one); returns the largest rate."""
    largest = 0.0
    for step in range(1 if isinstance(descent.optimizer, torch.optim.LBFGS) else TRIED_STEPS):
        descent.clear_gradients()
        loss = descent.loss(step)
        descent.backward(loss)
        if descent.clip is not None:
            descent.clip(descent.gradient_norm())
        largest = max(largest, descent.lr)
        descent.update(step, loss)
        if descent.scheduler is not None:
            descent.scheduler.step(loss.item())
    return largest


def _probe(spec: JobSpec, problem: Problem) -> float:
    """Return the mean loss of as many of the first batches as make it steady."""
    rows = spec.batch_size if isinstance(spec.batch_size, int) else _STEADY_ROWS
    batches = max(1, min(TRIED_STEPS, -(-_STEADY_ROWS // rows)))
    with torch.no_grad():
        return sum(problem.loss(step).item() for step in range(batches)) / batches


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
    descent.clear_gradients()
    loss = descent.loss(0)
    descent.backward(loss)
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
