"""The loss of one multilayer perceptron and its gradient, written out.

The operations that `LayeredModel.forward` and automatic differentiation make, in their order and to
their bits, without the bookkeeping, which takes more of a small model's step than they do, and in
memory that stays from step to step. For models without normalization, and for activations whose
derivative follows from what they gave.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from core.specs.layers.expand import Perceptron, dropout_of
from core.train.losses import LossFunction

_nll_loss: Final = torch._C._nn.nll_loss  # type: ignore[attr-defined]
"""`functional.nll_loss` without its looks at the shapes."""
_nll_backward: Final = torch.ops.aten.nll_loss_backward.grad_input
_mse_backward: Final = torch.ops.aten.mse_loss_backward.grad_input
_threshold_backward: Final = torch.ops.aten.threshold_backward.grad_input
_tanh_backward: Final = torch.ops.aten.tanh_backward.grad_input
_sigmoid_backward: Final = torch.ops.aten.sigmoid_backward.grad_input
_MEAN: Final = 1
"""The mean of the rows, as these number what a loss does with them."""
_NO_CLASS: Final = -100
"""The id that they leave out by default; targets never have it."""


class _Activation(NamedTuple):
    """`apply` changes its argument in place; `backward` (gradient, what `apply` gave) puts the
    gradient before the activation in the place of what `apply` gave."""

    apply: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]


ACTIVATIONS: Final[Mapping[str, _Activation]] = {
    "relu": _Activation(torch.relu_, lambda g, y: _threshold_backward(g, y, 0, grad_input=y)),
    "tanh": _Activation(torch.tanh_, lambda g, y: _tanh_backward(g, y, grad_input=y)),
    "sigmoid": _Activation(torch.sigmoid_, lambda g, y: _sigmoid_backward(g, y, grad_input=y)),
    "identity": _Activation(lambda x: x, lambda g, y: y.copy_(g)),
}


class _Linear(NamedTuple):
    """A linear map, its weight turned for the product, and where their gradients go."""

    weight: Tensor
    turned: Tensor
    bias: Tensor | None
    weight_gradient: Tensor
    bias_gradient: Tensor | None


class _Map:
    """A linear map of so many rows. Its outputs lie in `outputs`, and then the gradient in them."""

    def __init__(self, linear: _Linear, outputs: Tensor) -> None:
        self.linear = linear
        self.outputs = outputs
        self._turned = outputs.t()
        self._inputs = outputs

    def forward(self, x: Tensor) -> Tensor:
        self._inputs = x
        bias, turned = self.linear.bias, self.linear.turned
        if bias is None:
            return torch.mm(x, turned, out=self.outputs)
        return torch.addmm(bias, x, turned, out=self.outputs)

    def backward(self) -> None:
        """Write the parameters' gradients."""
        linear = self.linear
        torch.mm(self._turned, self._inputs, out=linear.weight_gradient)
        if linear.bias_gradient is not None:
            torch.sum(self.outputs, 0, out=linear.bias_gradient)


class _Hidden:
    """A map with its activation and dropout. `dropped`: memory for the outputs of dropout, of which
    there is none without."""

    def __init__(
        self, of: _Map, activation: _Activation, rate: float, slope: Tensor, dropped: Tensor | None
    ) -> None:
        self.map = of
        self._activation = activation
        self._rate = rate
        self._slope = slope
        self._dropped = dropped
        self._mask = slope

    def forward(self, x: Tensor) -> Tensor:
        y = self._activation.apply(self.map.forward(x))
        if self._dropped is None:
            return y
        self._mask = functional.dropout(torch.ones_like(y), self._rate)
        return torch.mul(y, self._mask, out=self._dropped)

    def backward(self, above: _Map) -> None:
        """Go on from the map that took the outputs."""
        g = torch.mm(above.outputs, above.linear.weight, out=self._slope)
        if self._dropped is not None:
            g.mul_(self._mask)
        self._activation.backward(g, self.map.outputs)
        self.map.backward()


class PerceptronGradient:
    """The loss of a batch and then its gradient."""

    def __init__(
        self,
        perceptron: Perceptron,
        loss: LossFunction,
        weights: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
        most_rows: int,
    ) -> None:
        """Take the parameters by name, whose storage stays, where their gradients go, and how many
        rows a batch has at most."""

        def linear(name: str) -> _Linear:
            weight, bias = f"{name}.weight", f"{name}.bias"
            return _Linear(
                weights[weight],
                weights[weight].t(),
                weights.get(bias),
                gradients[weight],
                gradients.get(bias),
            )

        def memory(of: _Linear) -> Tensor:
            return of.weight.new_empty(most_rows, len(of.weight))

        self._perceptron = perceptron
        self._hidden = [linear(hidden.linear.name) for hidden in perceptron.hidden]
        self._output = linear(perceptron.output.name)
        self._outputs = [memory(of) for of in (*self._hidden, self._output)]
        self._dropped = [
            memory(of) if _rate(hidden) else None
            for of, hidden in zip(self._hidden, perceptron.hidden, strict=True)
        ]
        widest = max((len(of.weight) for of in self._hidden), default=0)
        self._slopes = self._output.weight.new_empty(most_rows * widest)
        self._loss = loss
        self._passes: dict[int, _Pass] = {}
        self._latest: _Pass

    def forward(self, x: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of the rows, in training mode: 0-dim."""
        rows = x.shape[0]
        found = self._passes.get(rows)
        if found is None:
            found = self._passes[rows] = self._pass(rows)
        self._latest = found
        return found.forward(x, targets)

    def backward(self) -> None:
        """Write the gradient of the loss that `forward` returned last. Once."""
        self._latest.backward()

    def _pass(self, rows: int) -> "_Pass":
        *outputs, last = (memory[:rows] for memory in self._outputs)
        hidden = []
        for n, (linear, y, dropped) in enumerate(
            zip(self._hidden, outputs, self._dropped, strict=True)
        ):
            layer = self._perceptron.hidden[n]
            slope = self._slopes[: y.numel()].view_as(y)
            mask = None if dropped is None else dropped[:rows]
            activation = ACTIVATIONS[_kind(layer.activation)]
            hidden.append(_Hidden(_Map(linear, y), activation, _rate(layer), slope, mask))
        return _Pass(hidden, _Map(self._output, last), _loss_of(self._loss, last))


class _Pass:
    """The way of batches of so many rows through the layers, and back."""

    def __init__(self, hidden: list[_Hidden], output: _Map, loss: "_LossOfOutputs") -> None:
        self._hidden = hidden
        self._output = output
        self._loss = loss

    def forward(self, x: Tensor, targets: Tensor) -> Tensor:
        for layer in self._hidden:
            x = layer.forward(x)
        self._output.forward(x)
        return self._loss.value(targets)

    def backward(self) -> None:
        self._loss.put_slope()
        above = self._output
        above.backward()
        for layer in reversed(self._hidden):
            layer.backward(above)
            above = layer.map


def can_be_written_out(perceptron: Perceptron) -> bool:
    """Tell whether `PerceptronGradient` has this model's gradient."""
    return all(
        hidden.norm is None and _kind(hidden.activation) in ACTIVATIONS
        for hidden in perceptron.hidden
    )


def _kind(activation: Any) -> str:
    return "identity" if activation is None else activation.layer.kind


def _rate(hidden: Any) -> float:
    return 0.0 if hidden.dropout is None else dropout_of(hidden.dropout.layer)


class _LossOfOutputs(Protocol):
    """The mean loss of outputs that lie in memory that stays."""

    def value(self, targets: Tensor) -> Tensor: ...

    def put_slope(self) -> None:
        """Put the gradient in the outputs in their place."""
        ...


def _loss_of(loss: LossFunction, z: Tensor) -> _LossOfOutputs:
    """Recognize torch's own functions, which have no options: others are differentiated."""
    if loss is functional.cross_entropy:
        return _CrossEntropy(z)
    return _MSE(z) if loss is functional.mse_loss else _Differentiated(loss, z)


class _CrossEntropy:
    """Cross entropy of class ids, without smoothing."""

    def __init__(self, z: Tensor) -> None:
        self._z, self._log_p = z, torch.empty_like(z)
        self._one = z.new_ones(())
        self._count = self._one * len(z)
        self._targets = z

    def value(self, targets: Tensor) -> Tensor:
        self._targets = targets
        log_p = torch._log_softmax(self._z, 1, False, out=self._log_p)
        found: Tensor = _nll_loss(log_p, targets, None, _MEAN, _NO_CLASS)
        return found

    def put_slope(self) -> None:
        z, log_p, one = self._z, self._log_p, self._one
        _nll_backward(one, log_p, self._targets, None, _MEAN, _NO_CLASS, self._count, grad_input=z)
        torch._log_softmax_backward_data(z, log_p, 1, log_p.dtype, out=z)


class _MSE:
    """Mean squared error."""

    def __init__(self, z: Tensor) -> None:
        self._z = z
        self._one = z.new_ones(())
        self._targets = z

    def value(self, targets: Tensor) -> Tensor:
        self._targets = targets
        return functional.mse_loss(self._z, targets)

    def put_slope(self) -> None:
        _mse_backward(self._one, self._z, self._targets, _MEAN, grad_input=self._z)


class _Differentiated:
    """A loss that is differentiated automatically, alone."""

    def __init__(self, loss: LossFunction, z: Tensor) -> None:
        self._loss = loss
        self._z = z
        self._asked: tuple[Tensor, Tensor] | None = None

    def value(self, targets: Tensor) -> Tensor:
        z = self._z.detach().requires_grad_()
        with torch.enable_grad():
            value = self._loss(z, targets)
        self._asked = z, value
        return value.detach()

    def put_slope(self) -> None:
        assert self._asked is not None
        z, value = self._asked
        self._z.copy_(torch.autograd.grad(value, z)[0])
        self._asked = None
