"""The numbers that an optimizer keeps between updates, counted."""

from collections.abc import Iterable, Sequence
from typing import assert_never

from core.specs.optimizers.kinds import (
    ASGD,
    LBFGS,
    SGD,
    SOAP,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    AdEMAMix,
    Adopt,
    ByAxes,
    Lion,
    Muon,
    NAdam,
    Optimizer,
    Prodigy,
    RAdam,
    RMSprop,
    Rprop,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    Shampoo,
)
from core.specs.optimizers.wrappers import Average, Wrapper


def wrapper_vectors(wrap: tuple[Wrapper, ...]) -> int:
    """Return how many vectors of the parameters' size the wrappers keep, those of an evaluation
    included."""
    averages = sum(isinstance(each, Average) for each in wrap)
    return len(wrap) + bool(averages)


def state_vectors(optimizer: Optimizer, steps: int) -> int:
    """Return how many vectors of the parameters' size the optimizer keeps between updates."""
    match optimizer:
        case SGD():
            return 1 if optimizer.momentum else 0
        case Adam() | AdamW():
            return 3 if optimizer.amsgrad else 2
        case Adamax() | NAdam() | RAdam() | Adadelta() | Rprop() | Muon():
            return 2  # Muon: one for the hidden layers' matrices
        case Adagrad() | ASGD() | Adafactor() | Lion():
            return 1
        case RMSprop():
            return 1 + bool(optimizer.momentum) + optimizer.centered
        case Adopt() | ScheduleFreeSGD() | SOAP():
            return 2
        case Shampoo():
            return 1
        case AdEMAMix() | ScheduleFreeAdamW():
            return 3
        case Prodigy():
            return 4
        case LBFGS():
            # Two a remembered pair; direction, last gradient, and the line search's copies.
            return 2 * min(optimizer.history_size, steps * optimizer.max_iter) + 6
        case _:
            assert_never(optimizer)


def matrix_numbers(optimizer: Optimizer, shapes: Iterable[Sequence[int]]) -> int:
    """Return how many numbers the optimizer keeps for the axes of parameters of these shapes, what
    it takes to decompose the largest included."""
    if not isinstance(optimizer, ByAxes):
        return 0
    kept = largest = 0
    for shape in shapes:
        if isinstance(optimizer, SOAP) and len(shape) < 2 and not optimizer.precondition_1d:
            continue
        for length in shape or ((1,) if isinstance(optimizer, Shampoo) else ()):
            whole = length <= optimizer.max_preconditioner_dim
            if whole or isinstance(optimizer, Shampoo):
                kept += 2 * (length**2 if whole else length)
            largest = max(largest, length if whole else 0)
    return kept + 8 * largest**2  # in double precision: the matrix, its vectors, work space
