"""Form in which an optimizer is written for many runs at once, and our own ones for one run too.

As in optax, a method is a pair of functions of their arguments alone: `init` makes the state,
`update` turns gradients into what is to be added to the parameters. Parameters, gradients and
states are matrices, one run a row; what differs between the runs (rates, decays) comes as a column,
so that it broadcasts, or as a plain number where it is the same in all of them. Elementwise methods
use only operations that are exact by IEEE 754 (and fused multiply-adds), so that a run's numbers do
not depend on the row it stands in.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Column = NDArray[np.float64]
"""Column with one number a run."""
Hyper = Mapping[str, Column]
"""The spec's numbers by name, with pairs taken apart (`beta1`, `beta2`); `lr`, `momentum` and
`beta1` as the schedule has them at this step."""
Memory = dict[str, NDArray[Any]]
"""Memory that the coefficients need, one number a run (NAdam's product)."""
Scalar = float | Tensor
"""A number for all runs, or a column of shape (runs, 1)."""


GROUPED: Final = {
    "betas": ("beta1", "beta2", "beta3"),
    "etas": ("eta_minus", "eta_plus"),
    "step_sizes": ("step_min", "step_max"),
    "adamw_betas": ("adamw_beta1", "adamw_beta2"),
    "ns_coefficients": ("ns_a", "ns_b", "ns_c"),
}
"""Options that hold several numbers, and the names of these; a shorter one has the first names."""


IMPLEMENTATION: Final = frozenset({"foreach", "fused"})
"""Options of how torch runs an update, which a rule does its own way."""
UNBOUNDED: Final = frozenset({"growth_rate"})
"""Options for which null stands for infinity, which JSON does not have."""


def numbers_in(options: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers among an optimizer's options, pairs and triples taken apart."""
    found: dict[str, float] = {}
    for name, value in options.items():
        if name in GROUPED:
            found.update(zip(GROUPED[name], value, strict=False))
        elif value is None and name in UNBOUNDED:
            found[name] = math.inf
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = value
    return found


def switches_in(options: Mapping[str, Any]) -> dict[str, bool]:
    """Return the booleans among an optimizer's options."""
    return {name: value for name, value in options.items() if isinstance(value, bool)}


def bounded(number: float, most: float) -> float:
    """Return the number, or an infinite one where it exceeds `most`, the `largest` of its dtype:
    torch refuses plain numbers that do."""
    return number if -most <= number <= most else math.copysign(math.inf, number)


@cache
def largest(dtype: torch.dtype) -> float:
    """Return the largest finite number of the dtype."""
    return float(torch.finfo(dtype).max)


class Options(NamedTuple):
    """The options that are the same in all runs of a stack and change which state is kept.

    Attributes:
        switches: the spec's booleans by name (`amsgrad`, `nesterov`, …).
        uses_momentum: some run has a momentum at some step.
        matrix: for `Rule.init`: rows and columns of the parameter, where it is the matrix of a
            hidden layer.
    """

    switches: Mapping[str, bool]
    uses_momentum: bool
    matrix: tuple[int, int] | None = None


@dataclass(frozen=True)
class Rule:
    """The rule of an optimizer.

    Attributes:
        init: (parameters (runs, n), hyperparameters as (runs, 1) columns, options) -> the state, a
            NamedTuple of tensors with the runs first (None: not kept).
        coefficients: (hyperparameters, memory, t, options) -> a NamedTuple of `Column`s for update
            number t = 1, 2, …, and the memory after it. `update` gets it with `Scalar`s.
        update: (gradients, state, parameters, coefficients) -> what to add to the parameters. The
            new state takes the old one's place, which takes Adam two thirds of the time; the step
            may take the gradient's. The other arguments stay.
        memory: number of runs -> the memory before the first update.
        move: as `update`, but adds to the parameters itself, in fewer passes over them; None: what
            `update` returns is added.
        unit: what moves together: a single number, so that some numbers of a stack may be updated
            before the others; all parameters of a run; or each parameter of a run by itself.
        evaluated: of the state, the parameters that evaluations and results are of; None: these are
            the parameters themselves. The unit is then the number.
    """

    init: Callable[[Tensor, Mapping[str, Tensor], Options], Any]
    coefficients: Callable[[Hyper, Memory, int, Options], tuple[Any, Memory]]
    update: Callable[[Tensor, Any, Tensor, Any], Tensor]
    memory: Callable[[int], Memory] = lambda runs: {}
    move: Callable[[Tensor, Any, Tensor, Any], object] | None = None
    unit: Literal["number", "run", "parameter"] = "number"
    evaluated: str | None = None


def decayed(gradient: Tensor, params: Tensor, weight_decay: Scalar) -> Tensor:
    """Return the gradient of the loss with ½·weight_decay·‖params‖² added."""
    if isinstance(weight_decay, float):
        return torch.add(gradient, params, alpha=weight_decay) if weight_decay else gradient
    return torch.addcmul(gradient, params, weight_decay)


def shrunk(update: Tensor, params: Tensor, decay: Scalar) -> Tensor:
    """Return the update with the decoupled decay −decay·params added."""
    if isinstance(decay, float):
        return update.sub_(params, alpha=decay) if decay else update
    return update.addcmul_(params, decay, value=-1.0)


def average_(old: Tensor, new: Tensor, weight: Scalar) -> Tensor:
    """Write (1 − weight)·old + weight·new in the place of `old`."""
    return old.lerp_(new, weight)


def average_of_squares_(old: Tensor, gradient: Tensor, keep: Scalar, take: Scalar) -> Tensor:
    """Write keep·old + take·gradient² in the place of `old`."""
    old.mul_(keep)
    if isinstance(take, float):
        return old.addcmul_(gradient, gradient, value=take)
    return old.addcmul_(gradient, gradient * take)


def mix_(x: Tensor, a: Scalar, y: Tensor, b: Scalar) -> Tensor:
    """Write a·x + b·y in the place of `x`, without what is 0 or 1 in all runs."""
    if not (isinstance(a, float) and a == 1.0):
        x.mul_(a)
    if isinstance(b, float):
        return x.add_(y, alpha=b) if b else x
    return x.addcmul_(y, b)


def mixed(x: Tensor, a: Scalar, y: Tensor, b: Scalar) -> Tensor:
    """Return a·x + b·y, without what is 0 or 1 in all runs."""
    if isinstance(a, float) and a == 0.0:
        return y if isinstance(b, float) and b == 1.0 else y * b
    first = x if isinstance(a, float) and a == 1.0 else x * a
    if isinstance(b, float):
        return torch.add(first, y, alpha=b) if b else first
    return torch.addcmul(first, y, b)


def as_tensor(value: Scalar, like: Tensor) -> Tensor:
    """Return a scalar as a tensor of `like`'s kind."""
    return like.new_tensor(value) if isinstance(value, float) else value


def split_decay(hyper: Hyper, options: Options) -> tuple[Column, Column]:
    """Split weight decay into a part of the gradient, and a part of the update (decoupled)."""
    decay = hyper["weight_decay"]
    none = np.zeros(len(decay))
    if options.switches["decoupled_weight_decay"]:
        return none, hyper["lr"] * decay
    return decay, none
