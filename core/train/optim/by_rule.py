"""Optimizers of one run by the rules that stacks follow, in torch's form: our own, and torch's
with options that torch does not have.

A rule is written once (`core.train.optim.rules`), so that one run and many follow the same
arithmetic.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.train.optim.rules.base import Options, Rule, bounded, largest, numbers_in, switches_in


class ByRule(torch.optim.Optimizer):
    """An optimizer whose updates are a rule's.

    A parameter's state are the tensors of the rule's `State`, by name (of a rule that moves a run's
    parameters together, all of them are the first one's). The group holds the options
    (rate and momentum are read from it at each step, where schedules write them), the number of
    `updates` made, and the rule's `memory`.
    """

    def __init__(self, params: Sequence[Tensor], *, rule: Rule, **options: Any) -> None:
        super().__init__(params, options)
        self._rule = rule
        self._options = Options(switches_in(options), uses_momentum=True)
        self._maximize = bool(options.get("maximize"))
        first = self.param_groups[0]["params"][0].new_zeros(1, 1)
        hyper = {name: first.new_tensor(value) for name, value in numbers_in(options).items()}
        self._state: Any = type(rule.init(first, hyper, self._options))
        self._in_order = list(self.param_groups[0]["params"])
        columns = rule.memory(1)
        self._kinds = {name: column.dtype for name, column in columns.items()}
        for group in self.param_groups:
            memory = {name: column.item() for name, column in columns.items()}
            group.update(updates=0, memory=memory)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make one update by the gradients as they are; parameters without one stay."""
        for group in self.param_groups:
            moved = [each for each in group["params"] if each.grad is not None]
            if not moved:
                continue  # nor does the group count an update
            coefficients = self._coefficients(group)
            if self._rule.unit == "run":
                self._move_together(moved, coefficients, group)
                continue
            for parameter in moved:
                values, gradient = parameter, parameter.grad
                if self._rule.unit == "parameter":
                    values, gradient = values.reshape(1, -1), gradient.reshape(1, -1)
                held = self.state[parameter]
                update = self._update(values, gradient, held, coefficients, group)
                parameter.add_(update.view_as(parameter))

    def evaluated(self) -> list[Tensor] | None:
        """Return the weights that evaluations and results are of, the state's own tensors, in the
        order of the parameters; None: they are the parameters themselves."""
        name = self._rule.evaluated
        if name is None:
            return None
        parameters = self._in_order
        return [self.state[p][name] if self.state.get(p) else p.detach() for p in parameters]

    def _coefficients(self, group: dict[str, Any]) -> Any:
        """Count the update, and return the rule's coefficients for it: plain numbers."""
        group["updates"] += 1
        hyper = {name: np.array([value]) for name, value in self._numbers(group).items()}
        held = group["memory"]
        memory = {name: np.array([held[name]], dtype=kind) for name, kind in self._kinds.items()}
        with np.errstate(all="ignore"):
            columns, memory = self._rule.coefficients(
                hyper, memory, group["updates"], self._options
            )
        group["memory"] = {name: column.item() for name, column in memory.items()}
        most = largest(group["params"][0].dtype)
        return columns._make(bounded(column.item(), most) for column in columns)

    def _move_together(
        self, parameters: Sequence[Tensor], coefficients: Any, group: dict[str, Any]
    ) -> None:
        """Move all as one row, whose state is the first one's."""
        if not parameters:
            return
        row = torch.cat([each.reshape(1, -1) for each in parameters], dim=1)
        gradient = torch.cat([each.grad.reshape(1, -1) for each in parameters], dim=1)  # type: ignore[union-attr]
        update = self._update(row, gradient, self.state[parameters[0]], coefficients, group)
        parts = torch.split(update, [each.numel() for each in parameters], dim=1)
        for each, part in zip(parameters, parts, strict=True):
            each.add_(part.view_as(each))

    def _update(
        self,
        parameter: Tensor,
        gradient: Tensor,
        held: dict[str, Any],
        coefficients: Any,
        group: dict[str, Any],
    ) -> Tensor:
        """Return what to add; `held` is the state, which this makes where there is none."""
        if not held:
            hyper = {k: parameter.new_tensor(v) for k, v in self._numbers(group).items()}
            held |= self._rule.init(parameter, hyper, self._options)._asdict()
        if self._maximize:
            gradient = -gradient
        state = self._state._make(held[name] for name in self._state._fields)
        return self._rule.update(gradient, state, parameter, coefficients)

    @staticmethod
    def _numbers(group: dict[str, Any]) -> dict[str, float]:
        return numbers_in({k: v for k, v in group.items() if k not in ("params", "updates")})
