"""The 1cycle policy (Smith, Topin 2017, arXiv 1708.07120) in the arithmetic of torch's OneCycleLR.

torch's own class keeps its rates in the optimizer's parameter group, where another schedule of a
sequence overwrites them, raises when it is stepped past its end, and divides by zero when the
first phase is exactly one step long. This one keeps its rates itself, holds the last rate, and
gives a phase without length its end value; else both agree to the last bit.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from core.specs.formulas.schedules import phase_at, phases
from core.specs.schedules import OneCycle


class OneCycleSchedule(LRScheduler):
    """Rises to `max_lr`, falls to its `initial / final_div_factor`, the momentum against it."""

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
