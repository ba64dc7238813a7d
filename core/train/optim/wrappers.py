"""Wrappers of an optimizer while a run trains: each acts after the update, or on its gradient.

The averages keep the bits of `torch.optim.swa_utils.AveragedModel` with `use_buffers`: running
statistics of the batch are averaged as the weights are.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, assert_never

import torch
from torch import Tensor

from core.specs.optimizers.wrappers import Ema, Lookahead, Sam, Swa, Wrapper
from core.train.optim.gradients import gradient_norm, gradients_of
from core.train.tensors.tree import copy_tree

State = dict[str, Any]


class AfterUpdate(Protocol):
    """A wrapper that acts after each update, on the weights as the update left them."""

    def after_update(self) -> None:
        """Follow one update."""
        ...

    def state(self) -> State:
        """Return all that the next update depends on: numbers and tensors, the tensors
        themselves."""
        ...

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken."""
        ...


class WeightAverage:
    """Mean of the weights and of what buffers are no counts: moving (`ema`) or plain (`swa`).

    Attributes:
        points: the mean, a tensor for each weight; None: nothing counts yet.
    """

    def __init__(self, spec: Ema | Swa, weights: Sequence[Tensor]) -> None:
        self._weights = [weight for weight in weights if weight.is_floating_point()]
        self._spec = spec
        self._updates = self._averaged = 0
        self.points: list[Tensor] | None = None

    def after_update(self) -> None:
        """Take the weights into the mean where this update counts."""
        self._updates += 1
        if isinstance(self._spec, Swa):
            assert self._spec.start is not None, "the spec is resolved"
            past = self._updates - self._spec.start
            if past < 0 or past % self._spec.every:
                return
            share = 1.0 / (self._averaged + 1)
        else:
            share = 1.0 - self._spec.decay
        with torch.no_grad():
            if self.points is None:
                self.points = [weight.detach().clone() for weight in self._weights]
            else:
                torch._foreach_lerp_(self.points, self._weights, share)
        self._averaged += 1

    def evaluated(self) -> list[tuple[Tensor, Tensor]] | None:
        """Return each averaged weight with its mean; None: nothing counts yet."""
        if self.points is None:
            return None
        return list(zip(self._weights, self.points, strict=True))

    def state(self) -> State:
        return {"updates": self._updates, "averaged": self._averaged, "points": self.points}

    def load_state(self, state: State) -> None:
        state = copy_tree(state)
        self._updates, self._averaged = state["updates"], state["averaged"]
        self.points = state["points"]


class SlowWeights:
    """Lookahead: after each k updates φ ← φ + α(θ − φ), and then θ ← φ. The optimizer's own state
    stays as it is."""

    def __init__(self, spec: Lookahead, parameters: Sequence[Tensor]) -> None:
        self._parameters = list(parameters)
        self._spec = spec
        self._updates = 0
        self._slow = [parameter.detach().clone() for parameter in parameters]

    def after_update(self) -> None:
        """Count the update; after the k-th, both go where the slow weights go."""
        self._updates += 1
        if self._updates % self._spec.k:
            return
        with torch.no_grad():
            for slow, fast in zip(self._slow, self._parameters, strict=True):
                slow.lerp_(fast, self._spec.alpha)
                fast.copy_(slow)

    def state(self) -> State:
        return {"updates": self._updates, "slow": self._slow}

    def load_state(self, state: State) -> None:
        state = copy_tree(state)
        self._updates, self._slow = state["updates"], state["slow"]


class Ascent:
    """SAM: replaces the gradient by that of the same batch at w + ρ·g/‖g‖, g over all parameters.

    Buffers stay what the first forward pass made of them. Under `maximize` the point lies down the
    gradient: there the loss is the worse.
    """

    def __init__(
        self, spec: Sam, parameters: Sequence[Tensor], buffers: Sequence[Tensor], sign: float
    ) -> None:
        """Take the run's sign (`core.specs.direction`)."""
        self._parameters = list(parameters)
        self._buffers = list(buffers)
        self._rho = sign * spec.rho

    def climb(self, loss: Callable[[], Tensor]) -> None:
        """Replace the gradients; `loss` computes the step's loss at the parameters as they are."""
        moved = [each for each in self._parameters if each.grad is not None]
        gradients = gradients_of(moved)  # type: ignore[arg-type]
        if not gradients:
            return
        scale = self._rho / (gradient_norm(gradients) + 1e-12)
        held = [parameter.detach().clone() for parameter in moved]
        buffers = [buffer.clone() for buffer in self._buffers]
        with torch.no_grad():
            for parameter, gradient in zip(moved, gradients, strict=True):
                parameter.add_(gradient * scale)
        for parameter in self._parameters:
            parameter.grad = None
        loss().backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for parameter, before in zip(moved, held, strict=True):
                parameter.copy_(before)
            for buffer, kept in zip(self._buffers, buffers, strict=True):
                buffer.copy_(kept)


class Wrappers:
    """The wrappers of one run, the first innermost: that is, the first to follow an update.

    Attributes:
        ascent: SAM, where it is among them.
    """

    def __init__(
        self,
        wrap: Sequence[Wrapper],
        parameters: Sequence[Tensor],
        weights: Sequence[Tensor],
        buffers: Sequence[Tensor],
        sign: float,
    ) -> None:
        """Take the parameters, all weights (parameters and buffers) and the buffers."""
        self.ascent: Ascent | None = None
        self._after: list[AfterUpdate] = []
        for each in wrap:
            match each:
                case Sam():
                    self.ascent = Ascent(each, parameters, buffers, sign)
                case Ema() | Swa():
                    self._after.append(WeightAverage(each, weights))
                case Lookahead():
                    self._after.append(SlowWeights(each, parameters))
                case _:
                    assert_never(each)
        self.averages = any(isinstance(each, WeightAverage) for each in self._after)
        """True where evaluations and results are of an average: the outermost one's."""

    def after_update(self) -> None:
        """Follow one update."""
        for each in self._after:
            each.after_update()

    def evaluated(self) -> list[tuple[Tensor, Tensor]] | None:
        """Return each weight with its average by the outermost wrapper that has one yet."""
        for each in reversed(self._after):
            if isinstance(each, WeightAverage) and (found := each.evaluated()) is not None:
                return found
        return None

    def state(self) -> list[State]:
        """Return the state of those that have one, in order: the tensors themselves."""
        return [each.state() for each in self._after]

    def load_state(self, states: Sequence[State]) -> None:
        """Go on where `state` was taken."""
        for each, state in zip(self._after, states, strict=True):
            each.load_state(state)
