"""The runs' numbers as columns: hyperparameters from the specs, rates from the schedules."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from core.specs.direction import sign_of_job
from core.specs.formulas.schedules import Rate, curve
from core.specs.job import JobSpec
from core.specs.optimizers.kinds import Optimizer
from core.specs.schedules import Constant, sets_momentum
from core.specs.sizes.fusing import COMMON
from core.train.optim.build import build_optimizer
from core.train.optim.own_schedulers import can_cycle_momentum
from core.train.optim.rules.base import IMPLEMENTATION, Column, Options, numbers_in, switches_in
from core.train.optim.schedules import Scheduler, build_scheduler
from core.train.state import reads_loss


def numbers_of(spec: Optimizer) -> dict[str, float]:
    """Return the optimizer's numbers, pairs and triples taken apart; its booleans are
    `switches_of`."""
    return numbers_in(spec.model_dump(exclude=set(IMPLEMENTATION | COMMON)))


def switches_of(spec: Optimizer) -> dict[str, bool]:
    """Return the optimizer's booleans."""
    return switches_in(spec.model_dump(exclude=set(IMPLEMENTATION)))


def options_of(specs: Sequence[JobSpec]) -> Options:
    """Return what the runs of a stack have in common."""
    moves = any(
        getattr(spec.optimizer, "momentum", 0.0) != 0 or sets_momentum(spec.schedule)
        for spec in specs
    )
    return Options(switches_of(specs[0].optimizer), moves)


class _Shape:
    """A schedule for all runs that share it, whatever their base rates.

    A schedule that does not look at the losses follows from the step alone: its formula gives all
    runs' rates at once, to the bits of each run's own and of the curve that a preview shows. A
    momentum is the same for all: where the schedule may set one, torch's own scheduler, over one
    optimizer, tells it.

    Attributes:
        rates: of the next update, one number a run, or one for all.
    """

    def __init__(self, spec: JobSpec, bases: Column) -> None:
        """Take one run's spec, and the base rates of all."""
        self._schedule, self._bases = spec.schedule, bases
        self._scheduled = _scheduled(spec, 0.0) if sets_momentum(spec.schedule) else None
        self.rates: Rate
        self.go_to(0)

    def momentum(self) -> float | None:
        return None if self._scheduled is None else _momentum(self._scheduled[0])

    def step(self) -> None:
        if self._scheduled is not None:
            self._scheduled[1].step(0.0)
        self._next()

    def state(self) -> list[Any]:
        """Return the JSON values of torch's scheduler, if there is one; older checkpoints hold a
        second one, or one that nothing is asked of."""
        return [] if self._scheduled is None else [self._scheduled[1].state_dict()]

    def load_state(self, state: list[Any], updates: int) -> None:
        """Go on where `state` was taken, after so many updates."""
        if self._scheduled is not None:
            self._scheduled[1].load_state_dict(state[0])
        self.go_to(updates)

    def go_to(self, updates: int) -> None:
        """Read the rates after so many updates."""
        self._curve = curve(self._schedule, self._bases)
        for _ in range(updates + 1):
            self._next()

    def _next(self) -> None:
        with np.errstate(all="ignore"):
            self.rates = next(self._curve)


def _scheduled(spec: JobSpec, lr: float | None) -> tuple[torch.optim.Optimizer, Scheduler]:
    """Return a schedule over an optimizer of nothing, with another base rate where one is given."""
    optimizer = build_optimizer(spec.optimizer, [nn.Parameter(torch.zeros(()))])
    if lr is not None:
        optimizer.param_groups[0]["lr"] = lr
    scheduler = build_scheduler(spec.schedule, optimizer, sign_of_job(spec))
    assert scheduler is not None
    return optimizer, scheduler


def _momentum(optimizer: torch.optim.Optimizer) -> float | None:
    """Return the momentum that a schedule may set beside the rate."""
    if not can_cycle_momentum(optimizer):
        return None
    group = optimizer.param_groups[0]
    return float(group["betas"][0] if "betas" in group else group["momentum"])


class Hyperparameters:
    """All numbers of a stack's runs, ended ones included, at the step at hand.

    Ended runs stay, so that nothing here depends on which of the others still run.

    Attributes:
        columns: `core.train.optim.rules.base.Hyper`; of length 1 where the number is the same in
            all runs and no schedule changes it.
        rates: every run's rate of the next update.
        follows_losses: some schedule depends on the losses.
    """

    def __init__(self, specs: Sequence[JobSpec]) -> None:
        numbers = [numbers_of(spec.optimizer) for spec in specs]
        whole = {name: np.array([float(each[name]) for each in numbers]) for name in numbers[0]}
        self._base = self.rates = whole["lr"].copy()
        self._momentum = "beta1" if "beta1" in whole else "momentum"
        self._shapes: list[tuple[_Shape, np.ndarray[Any, Any]]] = []
        self._alone: dict[int, tuple[torch.optim.Optimizer, Scheduler]] = {}
        shared: dict[str, list[int]] = {}
        for run, spec in enumerate(specs):
            if reads_loss(spec.schedule):
                self._alone[run] = _scheduled(spec, None)
            elif not isinstance(spec.schedule, Constant):
                pair = numbers[run].get(self._momentum)
                shared.setdefault(f"{spec.schedule.model_dump_json()} {pair}", []).append(run)
        for runs in shared.values():
            self._shapes.append((_Shape(specs[runs[0]], self._base[runs]), np.array(runs)))
        self.follows_losses = bool(self._alone)
        scheduled = {"lr", self._momentum} if self._shapes or self._alone else set()
        self.columns: dict[str, Column] = {
            name: column[:1] if name not in scheduled and (column == column[0]).all() else column
            for name, column in whole.items()
        }
        self._read()

    def step(self, losses: Column, running: np.ndarray[Any, Any]) -> bool:
        """Go on to the next update; tell whether a number may be another one for it. `losses` of
        the rows before it, of the runs `running`."""
        if not (self._shapes or self._alone):
            return False
        for shape, _ in self._shapes:
            shape.step()
        if self._alone:
            for run, loss in zip(running.tolist(), losses.tolist(), strict=True):
                if run in self._alone:
                    self._alone[run][1].step(loss)
        self._read()
        return True

    def _read(self) -> None:
        """Take over what the schedules say."""
        if not (self._shapes or self._alone):
            return
        lr, momentum = self._base.copy(), self.columns.get(self._momentum, self._base).copy()
        for shape, runs in self._shapes:
            lr[runs] = shape.rates
            set_to = shape.momentum()
            if set_to is not None:
                momentum[runs] = set_to
        for run, (optimizer, _) in self._alone.items():
            lr[run] = optimizer.param_groups[0]["lr"]
            set_to = _momentum(optimizer)
            if set_to is not None:
                momentum[run] = set_to
        self.rates = self.columns["lr"] = lr
        if self._momentum in self.columns:
            self.columns[self._momentum] = momentum

    def state(self) -> dict[str, Any]:
        """Return the JSON values of the schedules."""
        return {
            "shapes": [shape.state() for shape, _ in self._shapes],
            "alone": {str(run): s.state_dict() for run, (_, s) in self._alone.items()},
        }

    def load_state(self, state: dict[str, Any], updates: int) -> None:
        """Go on where `state` was taken, after so many updates."""
        for (shape, _), saved in zip(self._shapes, state["shapes"], strict=True):
            shape.load_state(saved, updates)
        for run, (_, scheduler) in self._alone.items():
            scheduler.load_state_dict(state["alone"][str(run)])
        self._read()

    def pause(self, runs: np.ndarray[Any, Any]) -> list[Any]:
        """Return each run's state of its schedule, JSON values; None where the rate is constant.
        Runs of one schedule share theirs."""
        found: dict[int, Any] = {run: each.state_dict() for run, (_, each) in self._alone.items()}
        for shape, members in self._shapes:
            found.update(dict.fromkeys(members.tolist(), shape.state()))
        return [found.get(run) for run in runs.tolist()]

    def resume(self, states: dict[int, Any], updates: int) -> None:
        """Go on where `pause` was called, after so many updates, on the numbers of a new stack.
        `states` are by its runs; no run that is not in it trains on."""
        whole = self.state()
        for place, (_, members) in enumerate(self._shapes):
            known = [run for run in members.tolist() if run in states]
            if known:
                whole["shapes"][place] = states[known[0]]
        whole["alone"] |= {str(run): states[run] for run in self._alone if run in states}
        self.load_state(whole, updates)
