"""The gradient of a function of one point, written out from its formula.

A formula of a few variables is a few dozen operations on a few numbers, and automatic
differentiation takes several times what they take to record and replay them in each step. Here they
are recorded once, the backward pass is derived from them, and each step repeats both. The rules are
those of torch's derivatives (`tools/autograd/derivatives.yaml` in its sources), gradients are added
in the order in which its engine adds them, and a product with 1 is left out: the bits are those of
automatic differentiation.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Run = Callable[[], object]


class _Slot(int):
    """The place of a value that depends on the point."""


class _NoRuleError(Exception):
    """Raised for an operation that has no rule here."""


class _Step(NamedTuple):
    """An operation as it was recorded: `run` of the first `given` operands, which are the
    positional ones, and the options gives the result."""

    name: str
    operands: tuple[Any, ...]
    given: int
    options: Mapping[str, Any]
    run: Callable[..., Tensor]
    result: Tensor


class _Recorder(TorchFunctionMode):
    """Takes down the operations whose result depends on a point."""

    def __init__(self, point: Tensor) -> None:
        super().__init__()
        self._known = {id(point)}
        self.steps: list[_Step] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        options = kwargs or {}
        found = func(*args, **options)
        if not any(id(each) in self._known for each in args):
            return found
        name = _NAMES.get(func.__name__, func.__name__)
        if name == "unbind":
            for number, part in enumerate(found):
                self._note(_Step("at", (args[0], number), 2, {}, _at, part))
        elif isinstance(found, Tensor):
            operands = (*args, *options.values())
            self._note(_Step(name, operands, len(args), options, func, found))
        return found

    def _note(self, step: _Step) -> None:
        self.steps.append(step)
        self._known.add(id(step.result))


class Tape:
    """The value and the gradient of a function at a point, whose storage stays. So does that of all
    that is computed on the way."""

    def __init__(
        self, function: Callable[[Tensor], Tensor], point: Tensor, gradient: Tensor
    ) -> None:
        """Record the function at the point; `gradient` receives its gradients.

        Raises:
            _NoRuleError: it has an operation without a rule.
        """
        recorder = _Recorder(point)
        with torch.no_grad(), recorder:
            result = function(point)
        self._values: list[Tensor] = [point]
        self._forward: list[Run] = []
        self._backward: list[Run] = []
        self._gradient = gradient
        self._places = {id(point): _Slot(0)}
        self._views: dict[_Slot, Any] = {}
        """Indices by the places of views of the point."""
        steps = [self._go_forward(step) for step in recorder.steps]
        if result.dim() or id(result) not in self._places or result is point:
            raise _NoRuleError("a constant")
        self._result = result
        self._go_back(steps, torch.ones_like(result))

    def value(self) -> Tensor:
        """Return the function's value: 0-dim, the same tensor each time."""
        for run in self._forward:
            run()
        return self._result

    def backward(self) -> None:
        """Write the gradient where `value` was computed last."""
        for run in self._backward:
            run()

    def _go_forward(self, step: _Step) -> tuple[str, tuple[Any, ...], _Slot]:
        """Have the step repeated; returns its name, its operands by their places, and its own."""
        if step.name not in _RULES:
            raise _NoRuleError(step.name)
        operands = tuple(self._places.get(id(each), each) for each in step.operands)
        shapes = {each.shape for each in step.operands if isinstance(each, Tensor)}
        if len(shapes) > 1 and step.name != "matmul":
            raise _NoRuleError("broadcasting")
        place = self._places[id(step.result)] = _Slot(len(self._values))
        self._values.append(step.result)
        if step.name != "at":
            run, given = _quicker(step)
            self._forward.append(_into(step.result, run, given, step.options))
        elif operands[0] == 0:
            self._views[place] = operands[1]
        return step.name, operands, place

    def _go_back(self, steps: list[tuple[str, tuple[Any, ...], _Slot]], one: Tensor) -> None:
        slopes: dict[_Slot, Any] = {self._places[id(self._result)]: one}
        parts: list[tuple[Any, Any]] = []
        for name, operands, place in reversed(steps):
            if place not in slopes:
                continue
            slope = slopes[place]
            if place in self._views:
                parts.append((self._views[place], slope))
                continue
            for number, operand in enumerate(operands):
                if not isinstance(operand, _Slot):
                    continue
                found = _RULES[name](self, slope, operands, place, number)
                if operand == 0:
                    parts.append((..., found))
                elif operand in slopes:
                    slopes[operand] = self.later(torch.add, slopes[operand], found)
                else:
                    slopes[operand] = found
        self._put_together(parts)

    def _put_together(self, parts: list[tuple[Any, Any]]) -> None:
        """Add up the gradients of what was taken from the point, in this order."""
        into = self._gradient
        indices = [index for index, _ in parts]
        if len({str(index) for index in indices}) == len(parts) == len(into) > 1 and all(
            isinstance(index, int) for index in indices
        ):
            ordered = [self._of(slope) for _, slope in sorted(parts, key=lambda part: part[0])]
            self._backward.append(partial(torch.stack, ordered, out=into))
            return
        if indices[0] is not ...:
            self._backward.append(into.zero_)
        for number, (index, slope) in enumerate(parts):
            view = into[index]
            put = view.copy_ if number == 0 else view.add_
            self._backward.append(partial(put, self._of(slope)))

    def later(self, run: Callable[..., Any], *operands: Any) -> Any:
        """Compute this in the backward pass; at once, where nothing in it depends on the point."""
        given = tuple(self._of(each) for each in operands)
        if run in _ELEMENTWISE:
            given = _as_tensors(given)
        value = run(*given)
        if not any(isinstance(each, _Slot) for each in operands):
            return value
        place = _Slot(len(self._values))
        self._values.append(value)
        self._backward.append(_into(value, run, given, {}))
        return place

    def _of(self, operand: Any) -> Any:
        return self._values[operand] if isinstance(operand, _Slot) else operand

    def times(self, one: Any, other: Any) -> Any:
        """Compute the product, unless a factor is 1."""
        if _is_one(one) and isinstance(other, (_Slot, Tensor)):
            return other
        return one if _is_one(other) else self.later(torch.mul, one, other)

    def size(self, place: _Slot) -> int:
        """Return how many numbers the value has."""
        count: int = self._values[place].numel()
        return count

    def like(self, place: _Slot) -> Tensor:
        """Return zeros of the value's shape."""
        return torch.zeros_like(self._values[place])


def tape_of(function: Callable[[Tensor], Tensor], point: Tensor, gradient: Tensor) -> Tape | None:
    """Record the function; None: only automatic differentiation has its gradient."""
    try:
        return Tape(function, point, gradient)
    except _NoRuleError:
        return None


def _at(x: Tensor, index: Any) -> Tensor:
    return x[index]


def _is_one(operand: Any) -> bool:
    return isinstance(operand, Tensor) and operand.dim() == 0 and operand.item() == 1.0


def _into(
    result: Tensor, run: Callable[..., Any], given: tuple[Any, ...], options: Mapping[str, Any]
) -> Run:
    """Return what computes `run` of these operands, whose storage stays, into the result."""
    straight = partial(run, *given, **options, out=result)
    try:
        takes_memory = straight() is result
    except TypeError:
        takes_memory = False
    return straight if takes_memory else lambda: result.copy_(run(*given, **options))


def _quicker(step: _Step) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return a function of torch that takes `out` and gives the step's bits, and its operands."""
    given = step.operands[: step.given]
    run = getattr(torch, step.name, step.run)
    match step.name, given:
        case "matmul", _:  # whose result of a row has the shape of a matrix on the way
            return step.run, given
        case ("pow", (x, 2)):
            return torch.mul, (x, x)
        case ("rsub", (x, other)) if not step.options:
            return torch.sub, _as_tensors((other, x))
        case "linalg_vector_norm", _:
            return torch.linalg.vector_norm, given
        case _, (_, _) if run in _ELEMENTWISE:
            return run, _as_tensors(given)
        case _:
            return run, given


def _as_tensors(operands: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return numbers in the precision of the tensors among them, into which torch would convert
    them anew each time (0.4 to 1.2 µs)."""
    like = next(each for each in operands if isinstance(each, Tensor))
    return tuple(each if isinstance(each, Tensor) else like.new_tensor(each) for each in operands)


_ELEMENTWISE: Final = (torch.add, torch.sub, torch.mul, torch.div)


def _tanh_slope(g: Tensor, y: Tensor) -> Tensor:
    found: Tensor = torch.ops.aten.tanh_backward.default(g, y)
    return found


def _sigmoid_slope(g: Tensor, y: Tensor) -> Tensor:
    found: Tensor = torch.ops.aten.sigmoid_backward.default(g, y)
    return found


# The rules: (tape, slope of the result, operands, the result's place, number of an operand) ->
# the operand's slope.
_Rule = Callable[[Tape, Any, tuple[Any, ...], _Slot, int], Any]


def _sub(tape: Tape, slope: Any, operands: tuple[Any, ...], place: _Slot, number: int) -> Any:
    return slope if number == 0 else tape.later(torch.neg, slope)


def _rsub(tape: Tape, slope: Any, operands: tuple[Any, ...], place: _Slot, number: int) -> Any:
    return tape.later(torch.neg, slope) if number == 0 else slope


def _mul(tape: Tape, slope: Any, operands: tuple[Any, ...], place: _Slot, number: int) -> Any:
    return tape.times(slope, operands[1 - number])


def _div(tape: Tape, slope: Any, operands: tuple[Any, ...], place: _Slot, number: int) -> Any:
    if number == 0:
        return tape.later(torch.div, slope, operands[1])
    again = tape.later(torch.div, place, operands[1])
    return tape.later(torch.mul, tape.later(torch.neg, slope), again)


def _pow(tape: Tape, slope: Any, operands: tuple[Any, ...], place: _Slot, number: int) -> Any:
    base, exponent = operands
    if isinstance(exponent, (_Slot, Tensor)) or number != 0 or exponent == 0:
        raise _NoRuleError("a general power")
    lower = base if exponent == 2 else tape.later(torch.pow, base, exponent - 1.0)
    return tape.times(slope, tape.later(torch.mul, lower, float(exponent)))


def _sum(tape: Tape, slope: Any, operands: tuple[Any, ...], place: _Slot, number: int) -> Any:
    if operands[1:] not in ((-1,), ()):
        raise _NoRuleError("a sum over other axes")
    return slope


def _mean(tape: Tape, slope: Any, operands: tuple[Any, ...], place: _Slot, number: int) -> Any:
    if operands[1:] not in ((-1,), ()):
        raise _NoRuleError("a mean over other axes")
    return tape.later(torch.div, slope, tape.size(operands[0]))


def _reversed_div(
    tape: Tape, slope: Any, operands: tuple[Any, ...], place: _Slot, number: int
) -> Any:
    """Differentiate torch's number / x, which is number · (1/x)."""
    x, other = operands
    if number != 0 or isinstance(other, (_Slot, Tensor)):
        raise _NoRuleError("a division by a number")
    one_over = tape.later(torch.reciprocal, x)
    square = tape.later(torch.mul, one_over, one_over)
    return tape.later(torch.mul, tape.later(torch.neg, tape.times(slope, other)), square)


def _matmul(tape: Tape, slope: Any, operands: tuple[Any, ...], place: _Slot, number: int) -> Any:
    """Differentiate a row times a constant matrix."""
    matrix = operands[1]
    if number != 0 or not isinstance(matrix, Tensor) or not isinstance(slope, _Slot):
        raise _NoRuleError("a product of matrices")
    turned = matrix.t()
    return tape.later(lambda g: g.unsqueeze(0).mm(turned).squeeze(0), slope)


def _norm(tape: Tape, slope: Any, operands: tuple[Any, ...], place: _Slot, number: int) -> Any:
    """Differentiate a 2-norm, with 0 at 0."""
    if operands[1:] != (-1,):
        raise _NoRuleError("another norm")
    direction = tape.later(lambda x, y: (x / y).masked_fill_(y == 0, 0), operands[0], place)
    return tape.times(slope, direction)


def _prod(tape: Tape, slope: Any, operands: tuple[Any, ...], place: _Slot, number: int) -> Any:
    """Differentiate a product of cosines, none of which is 0 at a number that floats can hold."""
    if operands[1:] != (-1,):
        raise _NoRuleError("another product")
    return tape.times(slope, tape.later(torch.div, place, operands[0]))


def _clamp_min(tape: Tape, slope: Any, operands: tuple[Any, ...], place: _Slot, number: int) -> Any:
    least = operands[1]
    return tape.later(lambda g, x: torch.where(x >= least, g, 0.0), slope, operands[0])


def _part(tape: Tape, slope: Any, operands: tuple[Any, ...], place: _Slot, number: int) -> Any:
    index, whole = operands[1], tape.like(operands[0])

    def padded(g: Tensor) -> Tensor:
        found = whole.clone()
        found[index] = g
        return found

    return tape.later(padded, slope)


def _by(factor: Callable[[Tape, Any, _Slot], Any]) -> _Rule:
    """Return the rule of a function of one number: its slope is `factor` (tape, the number, the
    result)."""

    def rule(tape: Tape, slope: Any, operands: tuple[Any, ...], place: _Slot, number: int) -> Any:
        return tape.times(slope, factor(tape, operands[0], place))

    return rule


_RULES: Final[Mapping[str, _Rule]] = {
    "add": lambda tape, slope, operands, place, number: slope,
    "sub": _sub,
    "rsub": _rsub,
    "mul": _mul,
    "div": _div,
    "neg": lambda tape, slope, operands, place, number: tape.later(torch.neg, slope),
    "pow": _pow,
    "reversed_div": _reversed_div,
    "matmul": _matmul,
    "linalg_vector_norm": _norm,
    "prod": _prod,
    "sum": _sum,
    "mean": _mean,
    "at": _part,
    "clamp_min": _clamp_min,
    "sqrt": lambda tape, slope, operands, place, number: tape.later(
        torch.div, slope, tape.later(torch.mul, place, 2)
    ),
    "log": lambda tape, slope, operands, place, number: tape.later(torch.div, slope, operands[0]),
    "sin": _by(lambda tape, x, y: tape.later(torch.cos, x)),
    "cos": _by(lambda tape, x, y: tape.later(torch.neg, tape.later(torch.sin, x))),
    "sinh": _by(lambda tape, x, y: tape.later(torch.cosh, x)),
    "cosh": _by(lambda tape, x, y: tape.later(torch.sinh, x)),
    "tanh": lambda tape, slope, operands, place, number: tape.later(_tanh_slope, slope, place),
    "sigmoid": lambda tape, slope, operands, place, number: tape.later(
        _sigmoid_slope, slope, place
    ),
    "exp": _by(lambda tape, x, y: y),
    "abs": _by(lambda tape, x, y: tape.later(torch.sgn, x)),
}
_NAMES: Final[Mapping[str, str]] = {
    "__getitem__": "at",
    "__pow__": "pow",
    "__rsub__": "rsub",
    "__rmul__": "mul",
    "__radd__": "add",
    "__neg__": "neg",
    "__mul__": "mul",
    "__add__": "add",
    "__sub__": "sub",
    "__truediv__": "div",
    "true_divide": "div",
    "__abs__": "abs",
    "__matmul__": "matmul",
    "__rdiv__": "reversed_div",
    "__rtruediv__": "reversed_div",
}
"""Names of operators, which have those of functions here."""
