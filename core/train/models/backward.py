"""The loss of one multilayer perceptron and its gradient, written out.

The operations that `LayeredModel.forward` and automatic differentiation make, in their order and to
their bits, without the bookkeeping, which takes more of a small model's step than they do. For
models without normalization, and for activations whose derivative follows from what they gave.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from core.specs.layers.expand import Perceptron, dropout_of
from core.train.losses import LossFunction

_nll_backward: Final = torch.ops.aten.nll_loss_backward.default
_mse_backward: Final = torch.ops.aten.mse_loss_backward.default
_threshold_backward: Final = torch.ops.aten.threshold_backward.default
_tanh_backward: Final = torch.ops.aten.tanh_backward.default
_sigmoid_backward: Final = torch.ops.aten.sigmoid_backward.default
_MEAN: Final = 1
"""The mean of the rows, as these number what a loss does with them."""
_NO_CLASS: Final = -100
"""The id that they leave out by default; targets never have it."""


class _Activation(NamedTuple):
    """`apply` may change its argument; `backward`: (gradient, what `apply` gave) -> the gradient
    before the activation."""

    apply: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]


ACTIVATIONS: Final[Mapping[str, _Activation]] = {
    "relu": _Activation(torch.relu_, lambda g, y: _threshold_backward(g, y, 0)),
    "tanh": _Activation(torch.tanh_, _tanh_backward),
    "sigmoid": _Activation(torch.sigmoid_, _sigmoid_backward),
    "identity": _Activation(lambda x: x, lambda g, y: g),
}


class _Linear(NamedTuple):
    """A linear map, its weight turned for the product, and where their gradients go."""

    weight: Tensor
    turned: Tensor
    bias: Tensor | None
    weight_gradient: Tensor
    bias_gradient: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        if self.bias is None:
            return torch.mm(x, self.turned)
        return torch.addmm(self.bias, x, self.turned)

    def backward(self, g: Tensor, x: Tensor) -> None:
        """Write the parameters' gradients; `g`: of the output, `x`: the input."""
        torch.mm(g.t(), x, out=self.weight_gradient)
        if self.bias_gradient is not None:
            torch.sum(g, 0, out=self.bias_gradient)


class PerceptronGradient:
    """The loss of a batch and then its gradient."""

    def __init__(
        self,
        perceptron: Perceptron,
        loss: LossFunction,
        weights: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
    ) -> None:
        """Take the parameters by name, whose storage stays, and where their gradients go."""

        def linear(name: str) -> _Linear:
            weight, bias = f"{name}.weight", f"{name}.bias"
            return _Linear(
                weights[weight],
                weights[weight].t(),
                weights.get(bias),
                gradients[weight],
                gradients.get(bias),
            )

        self._hidden = [
            (linear(hidden.linear.name), ACTIVATIONS[_kind(hidden.activation)], _rate(hidden))
            for hidden in perceptron.hidden
        ]
        self._output = linear(perceptron.output.name)
        self._loss = _loss_of(loss, self._output.weight.new_ones(()))
        self._inputs: list[Tensor] = []
        self._activated: list[Tensor] = []
        self._masks: list[Tensor | None] = []
        self._slope: Callable[[], Tensor]

    def forward(self, x: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of the rows, in training mode: 0-dim."""
        self._inputs, self._activated, self._masks = inputs, activated, masks = [x], [], []
        for linear, activation, rate in self._hidden:
            x = activation.apply(linear.forward(x))
            activated.append(x)
            mask = functional.dropout(torch.ones_like(x), rate) if rate else None
            masks.append(mask)
            if mask is not None:
                x = x * mask
            inputs.append(x)
        loss, self._slope = self._loss(self._output.forward(x), targets)
        return loss

    def backward(self) -> None:
        """Write the gradient of the loss that `forward` returned last. Once."""
        g, inputs = self._slope(), self._inputs
        linear = self._output
        linear.backward(g, inputs[-1])
        for number in range(len(self._hidden) - 1, -1, -1):
            g = torch.mm(g, linear.weight)
            mask = self._masks[number]
            if mask is not None:
                g.mul_(mask)
            linear, activation, _ = self._hidden[number]
            g = activation.backward(g, self._activated[number])
            linear.backward(g, inputs[number])


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


_LossAndSlope = Callable[[Tensor, Tensor], tuple[Tensor, Callable[[], Tensor]]]
"""(outputs, targets) -> the mean loss, and a function that returns its gradient in the outputs."""


def _loss_of(loss: LossFunction, one: Tensor) -> _LossAndSlope:
    """Recognize torch's own functions, which have no options: others are differentiated."""
    if loss is functional.cross_entropy:
        return _CrossEntropy(one)
    return _MSE(one) if loss is functional.mse_loss else _differentiated(loss)


class _CrossEntropy:
    """Cross entropy of class ids, without smoothing."""

    def __init__(self, one: Tensor) -> None:
        self._one = one
        self._counts: dict[int, Tensor] = {}

    def __call__(self, z: Tensor, targets: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        log_p = torch.log_softmax(z, 1)
        loss = functional.nll_loss(log_p, targets)
        rows = targets.shape[0]
        count = self._counts.get(rows)
        if count is None:
            count = self._counts[rows] = self._one * rows

        def slope() -> Tensor:
            g = _nll_backward(self._one, log_p, targets, None, _MEAN, _NO_CLASS, count)
            found: Tensor = torch._log_softmax_backward_data(g, log_p, 1, log_p.dtype)
            return found

        return loss, slope


class _MSE:
    """Mean squared error."""

    def __init__(self, one: Tensor) -> None:
        self._one = one

    def __call__(self, z: Tensor, targets: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        def slope() -> Tensor:
            found: Tensor = _mse_backward(self._one, z, targets, _MEAN)
            return found

        return functional.mse_loss(z, targets), slope


def _differentiated(loss: LossFunction) -> _LossAndSlope:
    """Differentiate the loss alone automatically."""

    def both(z: Tensor, targets: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        z.requires_grad_()
        with torch.enable_grad():
            value = loss(z, targets)
        return value.detach(), lambda: torch.autograd.grad(value, z)[0]

    return both
