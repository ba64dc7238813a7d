"""Updates of all parameters at once, which lie in one row: to the bits of torch's updates of each.

An update of a small model costs what its operations cost to start, and torch starts each of them
anew for each parameter. Methods that move number by number give the same numbers for one row. For
those used most, the update after the first is written out (`_WRITTEN_OUT`): torch's own arithmetic,
without what it looks at before each. Numbers are given to it as tensors in the row's precision:
torch would convert a number of Python's anew in each operation (1.2 µs of its 2.1).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from core.specs.optimizers.kinds import (
    ASGD,
    LBFGS,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    Optimizer,
    Own,
    RAdam,
    RMSprop,
    Rprop,
    follows_torch,
)
from core.specs.optimizers.wrappers import Sam
from core.train.optim.build import build_optimizer, plain_step
from core.train.optim.rules.build import own_rule
from core.train.optim.torch_rules.build import rule_of
from core.train.tensors.packing import Packing

_MOST_COUNTED: Final = 2**24
"""Largest count to which 1 can be added in torch's counts, which are float32."""
_ELEMENTWISE: Final = (
    SGD, Adam, AdamW, Adamax, NAdam, RAdam, Adagrad, Adadelta, RMSprop, Rprop, ASGD,
)  # fmt: skip


def takes_written_out(spec: Optimizer) -> bool:
    """Tell whether each update takes one gradient of all parameters: not where there are groups,
    which may have none for a time, or an update asks for the loss again."""
    again = isinstance(spec, LBFGS) or any(isinstance(each, Sam) for each in spec.wrap)
    return not spec.groups and not again


def moves_in_row(spec: Optimizer) -> bool:
    """Tell whether the updates of one row are those of its parameters, to the bit. Not torch's
    fused ones, whose last bits may depend on where a number stands."""
    if getattr(spec, "fused", None):
        return False
    if isinstance(spec, Own) or not follows_torch(spec):
        rule = own_rule(spec) if isinstance(spec, Own) else rule_of(spec)
        return rule is not None and rule.unit == "number" and rule.evaluated is None
    return isinstance(spec, _ELEMENTWISE)


class RowOptimizer:
    """An optimizer of a run's row.

    Attributes:
        optimizer: has the row as its only parameter, for schedules to move its rate.
        step: makes one update by the row's gradient as it is.
        own: the optimizer's state of the row but for its count of updates; empty before there is
            any.
    """

    def __init__(self, spec: Optimizer, row: Tensor, gradient: Tensor, packing: Packing) -> None:
        self.row, self.gradient = row, gradient
        self._parameter = nn.Parameter(row)
        self._parameter.grad = gradient
        self._packing = packing
        self.optimizer = build_optimizer(spec, [self._parameter])
        self._torchs = plain_step(self.optimizer)
        self.own: dict[str, Any] = self.optimizer.state.get(self._parameter) or {}
        self._updates = 0
        """Count of updates that `own` is to have; 0: the one that it has."""
        self._numbers: dict[str, tuple[float, Tensor]] = {}
        known = _WRITTEN_OUT.get(type(spec))
        ours = known is not None and follows_torch(spec) and not getattr(spec, "foreach", None)
        self.step: Callable[[], object] = self.as_torch
        if known is not None and ours:
            self.step = partial(known, self, self.optimizer.param_groups[0], torch.empty_like(row))

    def count(self) -> int:
        """Count an update, and return how many there are with it: torch's `step`."""
        if not self._updates:
            self._updates = int(self.own["step"].item())
        self._updates = min(self._updates + 1, _MOST_COUNTED)
        return self._updates

    def number(self, name: str, value: float) -> Tensor:
        """Return the value as a 0-dim tensor in the row's precision: the same one for each name,
        which changes with the value."""
        held = self._numbers.get(name)
        if held is not None and held[0] == value:
            return held[1]
        tensor = self.row.new_empty(()) if held is None else held[1]
        self._numbers[name] = value, tensor
        return tensor.fill_(value)

    def as_torch(self) -> None:
        """Make an update as torch makes it, which makes the state where there is none."""
        self._torchs()
        self.own = self.optimizer.state.get(self._parameter) or {}
        self._updates = 0

    def state(self) -> dict[int, Any]:
        """Return each parameter's state, as torch's optimizer of all of them has it; tensors of
        their size are parts of the row's. Empty before there is any."""
        if not self.own:
            return {}
        if self._updates:
            self.own["step"].fill_(self._updates)
        parts = {name: self._taken_apart(value) for name, value in self.own.items()}
        return {
            number: {name: each[number] for name, each in parts.items()}
            for number in range(len(self._packing.spans))
        }

    def load_state(self, states: Mapping[int, Any]) -> None:
        """Go on where `state` was taken; the tensors become this one's own."""
        self.optimizer.state.clear()
        self.own, self._updates = {}, 0
        if states:
            names = states[0]
            self.own = {
                name: self._joined([each[name] for each in states.values()]) for name in names
            }
            self.optimizer.state[self._parameter] = self.own

    def _taken_apart(self, value: Any) -> list[Any]:
        packing = self._packing
        if isinstance(value, Tensor) and value.shape == self._parameter.shape:
            return packing.of_one(value)
        return [value] * len(packing.spans)

    def _joined(self, values: Sequence[Any]) -> Any:
        if not isinstance(values[0], Tensor) or values[0].shape != self._packing.shapes[0]:
            return values[0]
        row = torch.zeros_like(self._parameter, requires_grad=False, dtype=values[0].dtype)
        for part, value in zip(self._taken_apart(row), values, strict=True):
            part.copy_(value)
        return row


def _adam(run: RowOptimizer, group: dict[str, Any], below: Tensor) -> None:
    """Update as `torch.optim.adam._single_tensor_adam`."""
    state, row, gradient = run.own, run.row, run.gradient
    if not state:
        run.as_torch()
        return
    lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
    if group["maximize"]:
        gradient = -gradient
    updates = run.count()
    if decay != 0:
        if group["decoupled_weight_decay"]:
            row.mul_(run.number("kept", 1 - lr * decay))
        else:
            gradient = gradient.add(row, alpha=decay)
    mean, square = state["exp_avg"], state["exp_avg_sq"]
    mean.lerp_(gradient, run.number("slope", 1 - beta1))
    square.mul_(run.number("beta2", beta2)).addcmul_(gradient, gradient, value=1 - beta2)
    if group["amsgrad"]:
        largest = state["max_exp_avg_sq"]
        square = torch.maximum(largest, square, out=largest)
    torch.sqrt(square, out=below)
    below.div_(run.number("bias", (1 - beta2**updates) ** 0.5)).add_(
        run.number("eps", group["eps"])
    )
    row.addcdiv_(mean, below, value=-(lr / (1 - beta1**updates)))


def _sgd(run: RowOptimizer, group: dict[str, Any], unused: Tensor) -> None:
    """Update as `torch.optim.sgd._single_tensor_sgd`."""
    row, gradient = run.row, run.gradient
    momentum, decay = group["momentum"], group["weight_decay"]
    velocity: Any = run.own.get("momentum_buffer")
    if momentum != 0 and velocity is None:
        run.as_torch()
        return
    if group["maximize"]:
        gradient = -gradient
    if decay != 0:
        gradient = gradient.add(row, alpha=decay)
    if momentum != 0:
        velocity.mul_(run.number("momentum", momentum))
        velocity.add_(gradient, alpha=1 - group["dampening"])
        nesterov = group["nesterov"]
        gradient = gradient.add(velocity, alpha=momentum) if nesterov else velocity
    row.add_(gradient, alpha=-group["lr"])


def _rmsprop(run: RowOptimizer, group: dict[str, Any], spread: Tensor) -> None:
    """Update as `torch.optim.rmsprop._single_tensor_rmsprop`."""
    state, row, gradient = run.own, run.row, run.gradient
    if not state:
        run.as_torch()
        return
    lr, alpha = group["lr"], group["alpha"]
    momentum, decay = group["momentum"], group["weight_decay"]
    if group["maximize"]:
        gradient = -gradient
    run.count()
    if decay != 0:
        gradient = gradient.add(row, alpha=decay)
    square = state["square_avg"]
    square.mul_(run.number("alpha", alpha)).addcmul_(gradient, gradient, value=1 - alpha)
    if group["centered"]:
        mean = state["grad_avg"].lerp_(gradient, 1 - alpha)
        torch.addcmul(square, mean, mean, value=-1, out=spread).sqrt_()
    else:
        torch.sqrt(square, out=spread)
    spread.add_(run.number("eps", group["eps"]))
    if momentum > 0:
        velocity = state["momentum_buffer"].mul_(run.number("momentum", momentum))
        velocity.addcdiv_(gradient, spread)
        row.add_(velocity, alpha=-lr)
    else:
        row.addcdiv_(gradient, spread, value=-lr)


_Update = Callable[[RowOptimizer, dict[str, Any], Tensor], None]
_WRITTEN_OUT: Final[Mapping[type, _Update]] = {
    Adam: _adam,
    AdamW: _adam,
    SGD: _sgd,
    RMSprop: _rmsprop,
}
"""Updates of (optimizer, its group, a row for numbers in between)."""
