"""Expressions in torch: a formula's tree becomes a flat program over the coordinates of a point.

`where(condition, a, b)` has the gradient of the branch that is taken, and none of the other's: a
branch sees each variable through torch.where, which passes its gradient on only where the
condition takes that branch, so that NaN and infinities of the other (√ of a negative number, 1/0)
stop there. Plain `torch.where(condition, a, b)` alone would multiply them by zero, which is NaN.
At other points without a derivative torch's convention holds: `abs` and `sign` have 0 at 0, `min`
and `max` split the gradient of a tie, `sqrt` at 0 has an infinite one.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, assert_never

import torch
from torch import Tensor

from core.specs.formulas.tree import Apply, Expr, Number, Variable

Operation = Callable[..., Any]

ARITHMETIC: Final[Mapping[str, Operation]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv,
    "pow": operator.pow, "neg": operator.neg,
    "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
    "eq": operator.eq, "ne": operator.ne,
}  # fmt: skip
"""Take Python numbers beside tensors: `x**2` is then a square and no general power."""

FUNCTIONS: Final[Mapping[str, Operation]] = {
    "and": torch.logical_and, "or": torch.logical_or, "not": torch.logical_not,
    "sin": torch.sin, "cos": torch.cos, "tan": torch.tan,
    "asin": torch.asin, "acos": torch.acos, "atan": torch.atan,
    "sinh": torch.sinh, "cosh": torch.cosh, "tanh": torch.tanh,
    "asinh": torch.asinh, "acosh": torch.acosh, "atanh": torch.atanh,
    "exp": torch.exp, "expm1": torch.expm1, "log": torch.log, "log2": torch.log2,
    "log10": torch.log10, "log1p": torch.log1p, "sqrt": torch.sqrt,
    "abs": torch.abs, "sign": torch.sign, "floor": torch.floor, "ceil": torch.ceil,
    "erf": torch.erf, "sigmoid": torch.sigmoid, "relu": torch.relu,
    # torch's own softplus cuts off at 20, an error of 2e-9.
    "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "atan2": torch.atan2, "hypot": torch.hypot, "min": torch.minimum, "max": torch.maximum,
    "where": torch.where,
}  # fmt: skip
"""Functions that take tensors only."""


@dataclass(frozen=True)
class _Constant:
    value: float | bool | Tensor


@dataclass(frozen=True)
class _Slot:
    """A slot where the program keeps a value that depends on the point."""

    number: int


_Operand = _Constant | _Slot


@dataclass
class _Scope:
    """The view of the variables from a branch of `where`: through its own mask and those around
    it."""

    condition: _Slot | None = None
    taken_if: bool = True
    outer: "_Scope | None" = None
    seen: dict[str, _Slot] = field(default_factory=dict)


class Program:
    """A formula ready to be computed at points of shape (…, number of variables)."""

    def __init__(
        self, expr: Expr, variables: Sequence[str], device: torch.device, dtype: torch.dtype
    ) -> None:
        """Take the coordinates' names, in their order, as `variables`."""
        self._device = device
        self._dtype = dtype
        self._steps: list[tuple[Operation, tuple[_Operand, ...]]] = []
        self._num_slots = len(variables)
        self._done: list[_Operand] = []
        # Work still to do, last first: without recursion, since a long sum is a deep tree.
        self._todo: list[Callable[[], None]] = []
        scope = _Scope(seen={name: _Slot(index) for index, name in enumerate(variables)})
        self._visit(expr, scope)
        while self._todo:
            self._todo.pop()()
        (self._result,) = self._done

    def __call__(self, point: Tensor) -> Tensor:
        """Return the formula's value, of shape (…), in `point`'s precision."""
        values: list[Tensor] = list(point.unbind(-1))
        for operation, operands in self._steps:
            arguments = [values[o.number] if isinstance(o, _Slot) else o.value for o in operands]
            values.append(operation(*arguments))
        if isinstance(self._result, _Constant):
            return 0 * point.sum(-1) + self._result.value
        return values[self._result.number]

    def _visit(self, expr: Expr, scope: _Scope) -> None:
        match expr:
            case Number():
                self._done.append(_Constant(expr.value))
            case Variable():
                self._done.append(self._variable(expr.name, scope))
            case Apply("where", (condition, *branches)):
                self._todo.append(partial(self._branch, branches, scope))
                self._visit_later(condition, scope)
            case Apply(name, arguments):
                self._todo.append(partial(self._reduce, name, len(arguments)))
                for argument in reversed(arguments):
                    self._visit_later(argument, scope)
            case _ as never:
                assert_never(never)

    def _visit_later(self, expr: Expr, scope: _Scope) -> None:
        self._todo.append(partial(self._visit, expr, scope))

    def _branch(self, branches: Sequence[Expr], scope: _Scope) -> None:
        """Go on with the branches, once the condition is translated."""
        taken, other = branches
        condition = self._done[-1]
        if isinstance(condition, _Constant):
            self._done.pop()
            self._visit(taken if condition.value else other, scope)
            return
        self._todo.append(partial(self._reduce, "where", 3))
        self._visit_later(other, _Scope(condition, False, scope))
        self._visit_later(taken, _Scope(condition, True, scope))

    def _reduce(self, name: str, count: int) -> None:
        operands = self._done[-count:]
        del self._done[-count:]
        self._done.append(self._apply(name, operands))

    def _apply(self, name: str, operands: list[_Operand]) -> _Operand:
        constants = [o.value for o in operands if isinstance(o, _Constant)]
        if len(constants) == len(operands):
            operation = ARITHMETIC.get(name) or FUNCTIONS[name]
            folded = operation(*(_double(value) for value in constants))
            return _Constant(folded.item())
        if name in ARITHMETIC:
            return self._emit(ARITHMETIC[name], operands)
        return self._emit(FUNCTIONS[name], [self._tensor(operand) for operand in operands])

    def _tensor(self, operand: _Operand) -> _Operand:
        if isinstance(operand, _Slot):
            return operand
        kind = torch.bool if isinstance(operand.value, bool) else self._dtype
        return _Constant(torch.tensor(operand.value, dtype=kind, device=self._device))

    def _variable(self, name: str, scope: _Scope) -> _Slot:
        slot = scope.seen.get(name)
        if slot is None:
            assert scope.outer is not None
            assert scope.condition is not None
            outside = self._variable(name, scope.outer)
            mask = _pass_if_true if scope.taken_if else _pass_if_false
            slot = scope.seen[name] = self._emit(mask, [scope.condition, outside])
        return slot

    def _emit(self, operation: Operation, operands: list[_Operand]) -> _Slot:
        self._steps.append((operation, tuple(operands)))
        self._num_slots += 1
        return _Slot(self._num_slots - 1)


def _pass_if_true(condition: Tensor, x: Tensor) -> Tensor:
    """Return `x`, through which gradients flow only where `condition` holds."""
    return torch.where(condition, x, x.detach())


def _pass_if_false(condition: Tensor, x: Tensor) -> Tensor:
    return torch.where(condition, x.detach(), x)


def _double(value: float | bool | Tensor) -> Tensor:
    if isinstance(value, bool):
        return torch.tensor(value)
    return torch.as_tensor(value, dtype=torch.float64)
