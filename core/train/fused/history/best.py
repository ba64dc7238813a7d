"""The best loss of each run so far, with its weights: `Best` of one run, many at once."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Column = NDArray[np.float64]
Weights = dict[str, Tensor]


class _Held:
    """A set of losses, steps and weights, a slot each."""

    def __init__(self, signs: Column) -> None:
        self.losses = signs * np.inf
        self.steps = np.full(len(signs), -1)
        self.beside = np.full(len(signs), np.nan)
        self.weights: Weights | None = None

    def take(
        self,
        step: int,
        losses: Column,
        better: NDArray[np.bool_],
        weights: Weights,
        beside: Column | None,
    ) -> None:
        self.losses = np.where(better, losses, self.losses)
        if beside is not None:
            self.beside = np.where(better, beside, self.beside)
        self.steps = np.where(better, step, self.steps)
        if self.weights is None:
            self.weights = {name: weight.clone() for name, weight in weights.items()}
        elif np.count_nonzero(better) == len(better):
            for name, weight in weights.items():
                self.weights[name].copy_(weight)
        else:
            index = torch.from_numpy(better.nonzero()[0])
            for name, weight in weights.items():
                index = index.to(weight.device)
                self.weights[name].index_copy_(0, index, weight.index_select(0, index))

    def at(self, slots: NDArray[np.int64]) -> Weights:
        """Return the copies of the slots' weights; none without any."""
        index = torch.from_numpy(slots)
        return {
            name: weight.index_select(0, index.to(weight.device))
            for name, weight in (self.weights or {}).items()
        }

    def compact(self, kept: NDArray[np.int64]) -> None:
        self.losses, self.steps = self.losses[kept], self.steps[kept]
        self.beside = self.beside[kept]
        self.weights = self.at(kept) or None

    def state(self) -> dict[str, Any]:
        return {
            "losses": self.losses,
            "steps": self.steps,
            "beside": self.beside,
            "weights": self.weights,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.losses, self.steps = state["losses"], state["steps"]
        self.beside = state.get("beside", np.full(len(self.losses), np.nan))
        self.weights = state["weights"]

    def forget_none(self, signs: Column) -> None:
        """Make the losses of slots without a best one the worst there is."""
        self.losses = np.where(self.steps < 0, signs * np.inf, self.losses)


class StackedBest:
    """Each slot's best; a loss counts where it is recorded, so that an unrecorded better one is
    kept as a candidate until it is known whether it was the run's last. In the place of losses may
    stand another number of the evaluations."""

    def __init__(self, signs: Column) -> None:
        """Take each slot's sign of these numbers (`core.specs.direction`)."""
        self._signs = signs
        self._falls = bool((signs == 1.0).all())
        """True where all losses are to fall: their sign changes nothing then."""
        self._held = _Held(signs)
        self._candidate = _Held(signs)

    def beaten_by(self, losses: Column, slots: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which of these losses are better than the best recorded ones of these slots."""
        signs = self._signs[slots]
        none = self._held.steps[slots] < 0
        return np.isfinite(losses) & (none | (signs * losses < signs * self._held.losses[slots]))

    def is_beaten(self, losses: Column) -> bool:
        """Tell whether one of these losses is better than its slot's best."""
        return bool(self._better(losses).any())

    def offer(
        self,
        step: int,
        losses: Column,
        weights: Weights,
        *,
        recorded: bool,
        beside: Column | None = None,
    ) -> None:
        """Take the losses that are better than the best. `beside`: a number that is kept with each,
        the loss where `losses` are another metric."""
        better = self._better(losses)
        if np.count_nonzero(better):
            held = self._held if recorded else self._candidate
            held.take(step, losses, better, weights, beside)

    def beside(self, slot: int) -> float:
        """Return what was kept beside the slot's best."""
        return float(self._held.beside[slot])

    def _better(self, losses: Column) -> NDArray[np.bool_]:
        held, signs = self._held.losses, self._signs
        found: NDArray[np.bool_] = losses < held if self._falls else signs * losses < signs * held
        return found

    def recorded(self, slots: NDArray[np.int64]) -> tuple[NDArray[np.int64], Column]:
        """Return the steps and losses of the slots' best recorded losses; step −1 without any."""
        return self._held.steps[slots], self._held.losses[slots]

    def of(
        self, slots: NDArray[np.int64], last_step: int
    ) -> tuple[NDArray[np.int64], Column, Weights]:
        """Return the steps, losses and weights (copies, a slot each) of the slots' bests, the
        row of `last_step` having been their runs' last; step −1 without any, whose weights are
        nothing."""
        last = (self._candidate.steps[slots] == last_step) & (last_step >= 0)
        steps = np.where(last, self._candidate.steps[slots], self._held.steps[slots])
        losses = np.where(last, self._candidate.losses[slots], self._held.losses[slots])
        weights = {} if last.all() else self._held.at(slots)
        if last.any():
            of_last = self._candidate.at(slots)
            weights = _mixed(of_last, weights, last) if weights else of_last
        return steps, np.where(steps < 0, self._signs[slots] * np.inf, losses), weights

    def compact(self, kept: NDArray[np.int64]) -> None:
        self._signs = self._signs[kept]
        self._held.compact(kept)
        self._candidate.compact(kept)

    def state(self) -> dict[str, Any]:
        return {"held": self._held.state(), "candidate": self._candidate.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self._held.load_state(state["held"])
        self._candidate.load_state(state["candidate"])
        self._held.forget_none(self._signs)

    def pause(self, slots: NDArray[np.int64]) -> dict[str, Any]:
        columns: dict[str, Any] = {}
        for name, held in (("held", self._held), ("candidate", self._candidate)):
            columns |= {f"{name}.losses": held.losses[slots], f"{name}.steps": held.steps[slots]}
            columns[f"{name}.beside"] = held.beside[slots]
            columns |= {f"{name}.weights.{key}": w for key, w in held.at(slots).items()}
        return columns

    def resume(self, columns: dict[str, Any]) -> None:
        for name, held in (("held", self._held), ("candidate", self._candidate)):
            start = f"{name}.weights."
            weights = {k.removeprefix(start): w for k, w in columns.items() if k.startswith(start)}
            losses, steps = columns[f"{name}.losses"], columns[f"{name}.steps"]
            state = {"losses": losses, "steps": steps, "weights": weights or None}
            if (beside := columns.get(f"{name}.beside")) is not None:
                state["beside"] = beside
            held.load_state(state)
        self._held.forget_none(self._signs)


def _mixed(one: Weights, other: Weights, takes_one: NDArray[np.bool_]) -> Weights:
    """Take `one` in the slots that take it, else `other`."""
    found: Weights = {}
    for name, weight in one.items():
        takes = torch.from_numpy(takes_one).to(weight.device)
        found[name] = torch.where(takes.view(-1, *[1] * (weight.dim() - 1)), weight, other[name])
    return found
