"""Rules of how a problem is run: optimizer, numbers and budget."""

import math
from collections.abc import Iterable
from types import NoneType
from typing import Final

from core.specs.base import Spec
from core.specs.formulas.precisions import FLOAT32_MAX, SPACING
from core.specs.job import MAX_STEPS, Budget, DataProblem, FunctionProblem, JobSpec, StartFrom
from core.specs.models import Uniform
from core.specs.optimizers.kinds import (
    LBFGS,
    SGD,
    SOAP,
    Adafactor,
    Muon,
    Optimizer,
    Prodigy,
    RMSprop,
    Rprop,
)
from core.specs.validation.errors import FieldErrorList

STEPS_OF_DATA: Final = 2_000
STEPS_OF_FUNCTIONS: Final = 1_000
STEPS_BY_TIME: Final = 1_000_000
MOST_ITERATIONS: Final = 10_000
"""Most iterations of LBFGS within one update."""
MOST_PAIRS: Final = 1_000_000
"""Most vectors that LBFGS keeps: torch makes a list of this length at each update."""


def resolve_optimizer(optimizer: Optimizer, faults: FieldErrorList) -> Optimizer:
    """Check what torch would refuse; write out what a None of LBFGS, Muon or Prodigy stands for."""
    if getattr(optimizer, "foreach", None) and getattr(optimizer, "fused", None):
        faults.add(
            "optimizer.fused", "conflict",
            "optimizer.foreach and optimizer.fused cannot both be true; leave one out",
        )  # fmt: skip
    if isinstance(optimizer, SGD | RMSprop) and optimizer.cautious and optimizer.momentum <= 0:
        faults.add(
            "optimizer.cautious", "conflict",
            "optimizer.cautious needs momentum > 0: a step without one goes down its gradient in"
            f" any case; momentum {optimizer.momentum:g} was given",
        )  # fmt: skip
    match optimizer:
        case SGD(nesterov=True) if optimizer.momentum <= 0 or optimizer.dampening != 0:
            faults.add(
                "optimizer.nesterov", "conflict",
                "optimizer.nesterov needs momentum > 0 and dampening 0; momentum"
                f" {optimizer.momentum:g} and dampening {optimizer.dampening:g} were given",
            )  # fmt: skip
        case Rprop() if optimizer.step_sizes[0] > optimizer.step_sizes[1]:
            faults.add(
                "optimizer.step_sizes", "not_ordered",
                "optimizer.step_sizes must be [smallest, largest];"
                f" {list(optimizer.step_sizes)} was given",
            )  # fmt: skip
        case LBFGS() if optimizer.max_iter > MOST_ITERATIONS:
            _too_many(optimizer, "max_iter", MOST_ITERATIONS, faults)
        case LBFGS() if optimizer.history_size > MOST_PAIRS:
            _too_many(optimizer, "history_size", MOST_PAIRS, faults)
        case LBFGS(max_eval=None):
            return optimizer.model_copy(update={"max_eval": optimizer.max_iter * 5 // 4})
        case Prodigy(beta3=None):
            return optimizer.model_copy(update={"beta3": math.sqrt(optimizer.betas[1])})
        case SOAP(shampoo_beta=None):
            return optimizer.model_copy(update={"shampoo_beta": optimizer.betas[1]})
        case Muon(adjust_lr_fn=None):
            return optimizer.model_copy(update={"adjust_lr_fn": "original"})
        case _:
            pass
    return optimizer


def resolve_by_precision(optimizer: Optimizer, precision: str) -> Optimizer:
    """Write out what follows from the precision of the weights: Adafactor's first `eps`."""
    if not isinstance(optimizer, Adafactor) or optimizer.eps[0] is not None:
        return optimizer
    return optimizer.model_copy(update={"eps": (SPACING[precision], optimizer.eps[1])})


def _too_many(optimizer: LBFGS, name: str, most: int, faults: FieldErrorList) -> None:
    faults.add(
        f"optimizer.{name}", "less_than_equal",
        f"optimizer.{name} must be at most {most:,} (it is of one update, in which nothing can be"
        f" recorded or cancelled); {getattr(optimizer, name):,} was given: give less, and more"
        " budget.max_steps",
    )  # fmt: skip


def check_numbers(spec: JobSpec, precision: str, faults: FieldErrorList) -> None:
    """Numbers that the parameters meet must be finite in their precision."""
    if precision != "float64":
        for name in ("optimizer", "schedule", "gradient_clip"):
            if not _fits(getattr(spec, name)):
                _check_sizes(name, getattr(spec, name), faults)


def check_numbers_of_problem(
    problem: DataProblem | FunctionProblem, precision: str, faults: FieldErrorList
) -> None:
    """Numbers of a loss of data and of augmentation must be finite in their precision; first
    weights (whose variances are products of them) in any."""
    if isinstance(problem, FunctionProblem):
        return
    if precision != "float64" and not _fits(problem.loss):
        _check_sizes("problem.loss", problem.loss, faults)
    if precision != "float64" and not _fits(problem.data.augment):
        _check_sizes("problem.data.augment", problem.data.augment, faults)
    if not _fits(problem.model):
        _check_sizes("problem.model", problem.model, faults)
    init = problem.model.init
    if isinstance(init, Uniform) and init.low > init.high:
        faults.add(
            "problem.model.init.high", "not_ordered",
            f"problem.model.init.high must be at least low = {init.low:g}; {init.high:g} was"
            " given",
        )  # fmt: skip


def check_bfloat16(spec: JobSpec, precision: str, faults: FieldErrorList) -> None:
    """Refuse bfloat16 where eight bits are too few."""
    if precision != "bfloat16":
        return
    if not isinstance(spec.problem, DataProblem):
        faults.add(
            "precision", "conflict",
            'precision "bfloat16" is for models; a function is computed in float32 or float64',
        )  # fmt: skip
    if isinstance(spec.optimizer, LBFGS):
        faults.add(
            "precision", "conflict",
            'precision "bfloat16" cannot be used with lbfgs, which compares losses and gradients of'
            " near points: use float32, or another optimizer, such as adam",
        )  # fmt: skip


def _fits(part: object) -> bool:
    """Tell whether all numbers of a part of a spec fit float32: quick, since nearly all do.

    Only the fields that were given are looked at: every default fits.
    """
    if isinstance(part, Spec):
        fields = vars(part)
        values: Iterable[object] = [fields[name] for name in part.model_fields_set]
    elif isinstance(part, tuple):
        values = part
    else:
        return True
    for value in values:
        if isinstance(value, float):
            if not -FLOAT32_MAX <= value <= FLOAT32_MAX:
                return False
        elif type(value) not in _WITHOUT_NUMBERS and not _fits(value):
            return False
    return True


_WITHOUT_NUMBERS: Final = frozenset({str, int, bool, NoneType})
"""Types of what holds no number that may be too large for float32."""


def _check_sizes(path: str, value: object, faults: FieldErrorList) -> None:
    match value:
        case float() if abs(value) > FLOAT32_MAX:
            faults.add(
                path, "not_finite",
                f"{path}: {value:g} does not fit float32; give a number of at most"
                f" {FLOAT32_MAX:.2g}, or (but for first weights) use the precision float64",
            )  # fmt: skip
        case tuple():
            for place, part in enumerate(value):
                _check_sizes(f"{path}.{place}", part, faults)
        case Spec():
            for name, part in value:
                _check_sizes(f"{path}.{name}", part, faults)
        case _:
            pass


def resolve_budget(
    budget: Budget, default_steps: int, affordable_steps: int, start: int = 0
) -> Budget:
    """Write `max_steps` out, unless `max_epochs` says how long the run is.

    Args:
        default_steps: where no limit is given.
        affordable_steps: what the history limit allows; caps a run limited by time alone.
        start: updates that the weights have behind them.
    """
    if budget.max_steps is not None or budget.max_epochs is not None:
        return budget
    if budget.max_seconds is None:
        return budget.model_copy(update={"max_steps": default_steps})
    more = max(1, min(STEPS_BY_TIME, affordable_steps))
    return budget.model_copy(update={"max_steps": min(MAX_STEPS, start + more)})


def check_longer(
    budget: Budget, steps: int, start: StartFrom | None, faults: FieldErrorList
) -> None:
    """Check that a job that starts from a checkpoint has something left to do."""
    if start is None or steps > start.step:
        return
    name = "max_steps" if steps == budget.max_steps else "max_epochs"
    faults.add(
        f"budget.{name}", "not_longer",
        f"budget.{name} counts from the origin and ends after {steps:,} updates; the checkpoint"
        f" that the job starts from has {start.step:,} behind it: give a larger one",
    )  # fmt: skip
