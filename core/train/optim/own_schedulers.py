"""Schedulers that torch does not have, or has with a gap."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.lr_scheduler import ChainedScheduler, LRScheduler, OneCycleLR, ReduceLROnPlateau

from core.specs.formulas.factors import factor
from core.specs.formulas.schedules import phase_at, phases
from core.specs.schedules import ByFactor, OneCycle


class OneCycleSchedule(LRScheduler):
    """The 1cycle policy (Smith, Topin 2017, arXiv 1708.07120) in the arithmetic of torch's
    OneCycleLR: rises to `max_lr`, falls to its `initial / final_div_factor`, the momentum against
    it.

    torch's own class keeps its rates in the optimizer's parameter group, where another schedule of
    a sequence overwrites them, raises when it is stepped past its end, and divides by zero when the
    first phase is exactly one step long. This one keeps its rates itself, holds the last rate, and
    gives a phase without length its end value; else both agree to the last bit.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, spec: OneCycle, max_lr: float, total_steps: int
    ) -> None:
        self._phases = phases(spec, max_lr, total_steps)
        self._anneal: Callable[[float, float, float], float] = (
            OneCycleLR._annealing_cos
            if spec.anneal_strategy == "cos"
            else OneCycleLR._annealing_linear
        )
        self._cycle_momentum = (
            can_cycle_momentum(optimizer) if spec.cycle_momentum is None else spec.cycle_momentum
        )
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        """Return the rate of step `last_epoch`, and set the group's momentum (or first beta) with
        it."""
        rate, momentum = self._at(self.last_epoch)
        for group in self.optimizer.param_groups:
            if self._cycle_momentum:
                set_momentum(group, momentum)
        return [rate] * len(self.optimizer.param_groups)

    def _at(self, step: int) -> tuple[float, float]:
        (_, rate_0, rate_1, momentum_0, momentum_1), part = phase_at(self._phases, step)
        return self._anneal(rate_0, rate_1, part), self._anneal(momentum_0, momentum_1, part)


def can_cycle_momentum(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether the optimizer has a momentum, or betas, that a schedule may set."""
    return "momentum" in optimizer.defaults or "betas" in optimizer.defaults


def set_momentum(group: dict[str, Any], momentum: float) -> None:
    """Set the group's `momentum`, or its first beta where it has betas."""
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


class ZeroRate(LRScheduler):
    """The rate 0 for `total_iters` steps, then the base rate: torch's ConstantLR multiplies the
    last rate by 1/factor to end, which a factor of 0 does not have."""

    def __init__(self, optimizer: torch.optim.Optimizer, total_iters: int) -> None:
        self._total_iters = total_iters
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        """Return the rate by the closed form."""
        if self.last_epoch < self._total_iters:
            return [0.0] * len(self.base_lrs)
        return list(self.base_lrs)


class FactorSchedule(LRScheduler):
    """The base rate times the factor of the step (torch's LambdaLR, whose function follows from the
    spec)."""

    def __init__(self, optimizer: torch.optim.Optimizer, spec: ByFactor) -> None:
        self._spec = spec
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        """Return the rate by the closed form."""
        return [base * factor(self._spec, self.last_epoch) for base in self.base_lrs]


class Chain(ChainedScheduler):
    """torch's ChainedScheduler, able to start anew in the midst of a SequentialLR, and with
    `factors` on top of it: schedules that do not go from one rate to the next.

    Attributes:
        bare_lr: the rate without `factors`.
    """

    def __init__(self, parts: list[LRScheduler], factors: list[ByFactor]) -> None:
        self._factors = factors
        super().__init__(parts)
        self._scale()

    def step(self) -> None:  # type: ignore[override]
        """Go on to the next rate."""
        if self._factors:
            for group in self.optimizer.param_groups:
                group["lr"] = self.bare_lr
        super().step()
        self._scale()

    def _initial_step(self) -> None:
        for scheduler in self._schedulers:
            scheduler.last_epoch = -1
            scheduler._initial_step()
        self._scale()

    def _update_lr(self, epoch: int | None = None) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self._initial_step()

    def _scale(self) -> None:
        step = self._schedulers[0].last_epoch
        scale = math.prod(factor(each, step) for each in self._factors)
        for group in self.optimizer.param_groups:
            self.bare_lr = group["lr"]
            if self._factors:
                group["lr"] = self.bare_lr * scale
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


class Plateau(ReduceLROnPlateau):
    """torch's schedule, with a relative threshold that is a share of the best loss's size.

    torch multiplies the best loss by 1 − threshold: of a negative one that makes a worse loss, so
    that no loss at all would count as a plateau.
    """

    def _is_better(self, a: float, best: float) -> bool:
        if self.threshold_mode == "rel" and best < 0:
            return bool(a < best * (1.0 + self.threshold))
        return bool(super()._is_better(a, best))  # type: ignore[no-untyped-call]
