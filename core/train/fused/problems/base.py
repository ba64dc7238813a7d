"""Protocol of what a stack minimizes: supervised problems and functions, many runs at once."""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from core.specs.splits.rows import HeldOut
from core.train.tensors.packing import Packing

Index = np.ndarray[Any, Any]
Metrics = dict[str, np.ndarray[Any, Any]]
"""Numbers of an evaluation by name, one a slot each (float64); `loss` is among them."""


class StackedProblem(Protocol):
    """Losses of runs, each over its own parameters. No number of a run depends on another run's.

    Attributes:
        weights: parameters and buffers by name, each with a leading axis of slots; detached.
        rows: those of them that are differentiated (the same storage), a run a row: (slots, n).
        packing: where each of these parameters lies in a row, in the single problem's order.
        num_parameters: of one run.
        steps_per_epoch: updates that see every training row once (a function: 1).
        multiply_adds: work of one forward pass of all runs.
    """

    weights: dict[str, Tensor]
    rows: Tensor
    packing: Packing
    num_parameters: int
    steps_per_epoch: int
    multiply_adds: int

    def gradients(self, step: int) -> tuple[Tensor, Tensor]:
        """Return every slot's loss on its batch of `step` in training mode: (slots,), detached; and
        its gradient, as `rows`, which holds until the next call.

        The buffers stay as they are until `commit`.
        """
        ...

    def commit(self) -> None:
        """Accept the update: the last forward pass's running statistics count."""
        ...

    def after_update(self) -> None:
        """Clamp functions' points to their bounds."""
        ...

    def initial_losses(self) -> Index | None:
        """Return `Problem.initial_loss` of every slot's initial weights: (slots,), as the run alone
        computes it, to the bit. None: where it is row 0's."""
        ...

    def evaluate(self, slots: Index | None = None, part: HeldOut = "eval") -> Metrics | None:
        """Evaluate as `Problem.evaluate`, all slots, or these: then nothing of the numbers depends
        on how many others are evaluated, or on which."""
        ...

    def evaluate_weights(self, weights: dict[str, Tensor], part: HeldOut) -> Metrics | None:
        """Evaluate other weights than the slots' own, of as many runs as there are, as `evaluate`
        does some slots."""
        ...

    def confusion_matrices(
        self, slots: Index, part: HeldOut = "eval", weights: dict[str, Tensor] | None = None
    ) -> list[list[list[int]] | None]:
        """Return `Problem.confusion_matrix` of each of these slots, of their own weights or of
        others, which have as many."""
        ...

    def points(self) -> Tensor | None:
        """Return functions' points, detached: (slots, dim)."""
        ...

    def values(self) -> Tensor | None:
        """Return functions' values at their points: (slots,)."""
        ...

    def solution(self, slot: int) -> dict[str, float] | list[float] | None:
        """Return `Problem.solution` of the slot."""
        ...

    def compact(self, kept: Index) -> None:
        """Go on with these slots alone, in this order."""
        ...

    def metadata(self) -> dict[str, str]:
        """Return the part of `Problem.metadata` that all runs share: without the spec."""
        ...


class Part(Protocol):
    """A part of a stack that keeps something for each slot."""

    def compact(self, kept: Index) -> None: ...

    def state(self) -> dict[str, Any]: ...

    def load_state(self, state: dict[str, Any]) -> None: ...

    def pause(self, slots: Index) -> dict[str, Any]:
        """Return columns with an entry for each of these slots (arrays, tensors or lists): all that
        they need to go on in another stack, at the same step."""
        ...

    def resume(self, columns: dict[str, Any]) -> None:
        """Go on with what `pause` gave, on a new stack whose slots the entries are."""
        ...


def differentiate(losses: Tensor, parameters: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return the losses (slots,), detached, and each one's gradient in its slot of every
    parameter."""
    gradients = torch.autograd.grad(losses, parameters, torch.ones_like(losses))
    return losses.detach(), list(gradients)


def keep_slots(weights: dict[str, Tensor], kept: Tensor) -> dict[str, Tensor]:
    """Return the copies of the given slots of every tensor."""
    return {name: weight.index_select(0, kept) for name, weight in weights.items()}
