"""The lowest loss of each run so far, with its weights: core.train.ledger.Best, many at once."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Column = NDArray[np.float64]
Weights = dict[str, Tensor]


class _Held:
    """One set of losses, steps and weights, a slot each."""

    def __init__(self, slots: int) -> None:
        self.losses = np.full(slots, np.inf)
        self.steps = np.full(slots, -1)
        self.weights: Weights | None = None

    def take(self, step: int, losses: Column, lower: NDArray[np.bool_], weights: Weights) -> None:
        self.losses = np.where(lower, losses, self.losses)
        self.steps = np.where(lower, step, self.steps)
        if self.weights is None:
            self.weights = {name: weight.clone() for name, weight in weights.items()}
        elif lower.all():
            for name, weight in weights.items():
                self.weights[name].copy_(weight)
        else:
            index = torch.from_numpy(np.flatnonzero(lower))
            for name, weight in weights.items():
                index = index.to(weight.device)
                self.weights[name].index_copy_(0, index, weight.index_select(0, index))

    def compact(self, kept: NDArray[np.int64]) -> None:
        self.losses, self.steps = self.losses[kept], self.steps[kept]
        if self.weights is not None:
            index = torch.from_numpy(kept)
            self.weights = {
                name: weight.index_select(0, index.to(weight.device))
                for name, weight in self.weights.items()
            }

    def state(self) -> dict[str, Any]:
        return {"losses": self.losses, "steps": self.steps, "weights": self.weights}

    def load_state(self, state: dict[str, Any]) -> None:
        self.losses, self.steps = state["losses"], state["steps"]
        self.weights = state["weights"]


class StackedBest:
    """Each slot's best; a loss counts where it is recorded, so that an unrecorded lower one is
    kept as a candidate until it is known whether it was the run's last."""

    def __init__(self, slots: int) -> None:
        self._held = _Held(slots)
        self._candidate = _Held(slots)

    def offer(self, step: int, losses: Column, weights: Weights, *, recorded: bool) -> None:
        """Take the losses that are lower than the best."""
        lower = losses < self._held.losses
        if lower.any():
            (self._held if recorded else self._candidate).take(step, losses, lower, weights)

    def of(self, slot: int, last_step: int) -> tuple[int, float, Weights | None]:
        """Step, loss and weights (copies) of the slot's best, the row of `last_step` having been
        its run's last; step −1 and None without any."""
        is_candidate = last_step >= 0 and self._candidate.steps[slot] == last_step
        held = self._candidate if is_candidate else self._held
        step = int(held.steps[slot])
        if step < 0 or held.weights is None:
            return -1, float("inf"), None
        weights = {name: weight[slot].clone() for name, weight in held.weights.items()}
        return step, float(held.losses[slot]), weights

    def compact(self, kept: NDArray[np.int64]) -> None:
        self._held.compact(kept)
        self._candidate.compact(kept)

    def state(self) -> dict[str, Any]:
        return {"held": self._held.state(), "candidate": self._candidate.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self._held.load_state(state["held"])
        self._candidate.load_state(state["candidate"])
