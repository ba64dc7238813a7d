"""Test whether a model at rest could lie lower: short descents of the same model from other
weights."""

from collections.abc import Callable
from typing import Any, Final

import torch

from core.specs.job import JobSpec, Supervised
from core.specs.models import ConstantInit, KaimingUniform
from core.specs.sizes.model import structure_of
from core.train.measure.objective import build_objective

Json = dict[str, Any]

STARTS: Final = 3
STEPS: Final = 60
_LR: Final = 0.01


def lowest(spec: JobSpec, device: torch.device, in_time: Callable[[], bool]) -> Json | None:
    """Return the lowest loss over all rows that full-batch Adam comes to from a few other seeds.

    A loss below the one at rest proves a lower minimum (losses are bounded below). None for a
    linear model, whose loss is convex, and when there was no time for a single step.
    """
    problem = spec.problem
    if not isinstance(problem, Supervised) or structure_of(problem.model).convex:
        return None
    model = problem.model
    if isinstance(model.init, ConstantInit):  # other seeds would draw the same
        model = model.model_copy(update={"init": KaimingUniform()})
    best, starts = float("inf"), 0
    for number in range(1, STARTS + 1):
        other = spec.model_copy(
            update={
                "seed": (spec.seed + number) % 2**31,
                "problem": problem.model_copy(update={"model": model}),
            }
        )
        objective = build_objective(other, None, device)
        optimizer = torch.optim.Adam(objective.parameters, lr=_LR)
        for _ in range(STEPS):
            if not in_time():
                break
            optimizer.zero_grad()
            loss = objective.evaluate(None)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            best = min(best, loss.item())
        starts += 1
        if not in_time():
            break
    return {"starts": starts, "best": best} if best < float("inf") else None
