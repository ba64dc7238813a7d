"""Direction of a run: its loss is to fall or, under `maximize`, to rise. Known here alone.

Whatever compares losses multiplies them by the run's sign: of two products the lower one is better.
Negation is exact, so a run that maximizes f is the mirror image of one that minimizes −f.
"""

from typing import Literal

from core.specs.base import Json
from core.specs.job import JobSpec
from core.specs.losses import EVAL, METRICS
from core.specs.optimizers.kinds import Optimizer, OwnOptimizer, Rprop, TorchOptimizer

Goal = Literal["min", "max"]


def goal_of(optimizer: Optimizer) -> Goal:
    """Return where the optimizer takes the loss: `min` or `max`."""
    climbs = isinstance(optimizer, TorchOptimizer | Rprop | OwnOptimizer) and optimizer.maximize
    return "max" if climbs else "min"


def goal_of_stored(spec: Json) -> Goal:
    """Return the same of a job's spec as JSON, whichever version wrote it."""
    return "max" if (spec.get("optimizer") or {}).get("maximize") else "min"


def sign_of(goal: str | None) -> float:
    """Return the factor under which the lower of two values is the better one."""
    return -1.0 if goal == "max" else 1.0


def sign_of_metric(spec: JobSpec) -> float:
    """Return that factor for what the best of a run's evaluations is told by: `stop.metric`, else
    the loss."""
    name = "loss" if spec.stop.metric is None else spec.stop.metric.removeprefix(EVAL)
    return sign_of_job(spec) if name == "loss" else sign_of(METRICS[name].goal)


def sign_of_job(spec: JobSpec) -> float:
    """Return that factor for the losses of a run."""
    return sign_of(goal_of(spec.optimizer))
