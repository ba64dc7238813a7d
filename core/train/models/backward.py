"""The loss of one multilayer perceptron and its gradient, written out.

The operations that `LayeredModel.forward` and automatic differentiation make, in their order and to
their bits, without the bookkeeping, which takes more of a small model's step than they do, and in
memory that stays from step to step. For models without normalization, and for activations whose
derivative follows from what they gave.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from core.specs.layers.expand import Perceptron, dropout_of
from core.train.losses import LossFunction

_nll_loss: Final[Callable[..., Tensor]] = torch._C._nn.nll_loss  # type: ignore[attr-defined]
_mse_loss: Final[Callable[..., Tensor]] = torch._C._nn.mse_loss
"""Losses of `functional` without its looks at the shapes."""
_nll_backward: Final = torch.ops.aten.nll_loss_backward.grad_input._op
_mse_backward: Final = torch.ops.aten.mse_loss_backward.grad_input._op
_threshold_backward: Final = torch.ops.aten.threshold_backward.grad_input._op
_tanh_backward: Final = torch.ops.aten.tanh_backward.grad_input._op
_sigmoid_backward: Final = torch.ops.aten.sigmoid_backward.grad_input._op
"""Gradients without the call around them that looks for tensors of other kinds (0.5 µs)."""
_MEAN: Final = 1
"""The mean of the rows, as these number what a loss does with them."""
_NO_CLASS: Final = -100
"""The id that they leave out by default; targets never have it."""


Run = Callable[[], object]


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
    """A linear map: its parameters, where their gradients go, and memory for the outputs of the
    largest batch, whose place the gradient in them takes."""

    weight: Tensor
    bias: Tensor | None
    weight_gradient: Tensor
    bias_gradient: Tensor | None
    outputs: Tensor

    def forward(self, x: Tensor, y: Tensor) -> Run:
        """Return what maps `x` onto `y`."""
        turned = self.weight.t()
        if self.bias is None:
            return partial(torch.mm, x, turned, out=y)
        return partial(torch.addmm, self.bias, x, turned, out=y)

    def backward(self, g: Tensor, x: Tensor) -> list[Run]:
        """Return what writes the parameters' gradients; `g`: of the output, `x`: the input."""
        found: list[Run] = [partial(torch.mm, g.t(), x, out=self.weight_gradient)]
        if self.bias_gradient is not None:
            found.append(partial(torch.sum, g, 0, out=self.bias_gradient))
        return found


class _Hidden(NamedTuple):
    """A linear map, its activation and dropout; `mask` and `dropped`: memory for what dropout
    draws, and gives."""

    linear: _Linear
    activation: _Activation
    rate: float
    mask: Tensor
    dropped: Tensor


class _Pass(NamedTuple):
    """The operations on a batch in this memory."""

    x: Tensor
    targets: Tensor
    forward: list[Run]
    loss: Callable[[], Tensor]
    backward: list[Run]


class PerceptronGradient:
    """The loss of a batch and then its gradient.

    Attributes:
        complete: whether the loss too is written out: else it is differentiated automatically.
    """

    def __init__(
        self,
        perceptron: Perceptron,
        loss: LossFunction,
        weights: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
        most_rows: int,
        same_rows: bool = False,
    ) -> None:
        """Take the parameters by name, whose storage stays, where their gradients go, and how many
        rows a batch has at most. `same_rows`: every batch is the same."""
        like = next(iter(weights.values()))

        def linear(name: str) -> _Linear:
            weight, bias = weights[f"{name}.weight"], f"{name}.bias"
            gradient, outputs = gradients[f"{name}.weight"], like.new_empty(most_rows, len(weight))
            return _Linear(weight, weights.get(bias), gradient, gradients.get(bias), outputs)

        def hidden(layer: Any) -> _Hidden:
            of, rate = linear(layer.linear.name), _rate(layer)
            shape = of.outputs.shape if rate else (0,)
            mask, dropped = (like.new_empty(shape) for _ in range(2))  # each where torch aligns it
            return _Hidden(of, ACTIVATIONS[_kind(layer.activation)], rate, mask, dropped)

        self._hidden = [hidden(layer) for layer in perceptron.hidden]
        self._output = linear(perceptron.output.name)
        self._slope = like.new_empty(
            max((h.linear.outputs.numel() for h in self._hidden), default=0)
        )
        self.complete = loss in (functional.cross_entropy, functional.mse_loss)
        self._loss = loss
        self._same_rows = same_rows
        self._passes: dict[int, _Pass] = {}
        self._latest: list[Run] = []

    def forward(self, x: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of the rows, in training mode: 0-dim. Quickest for batches in the
        memory of the last one of as many rows."""
        rows = x.shape[0]
        found = self._passes.get(rows)
        if found is None or found.x is not x or found.targets is not targets:
            found = self._passes[rows] = self._pass(x, targets)
        for run in found.forward:
            run()
        self._latest = found.backward
        return found.loss()

    def backward(self) -> None:
        """Write the gradient of the loss that `forward` returned last. Once."""
        for run in self._latest:
            run()

    def _pass(self, x: Tensor, targets: Tensor) -> _Pass:
        rows, inputs, forward = len(x), x, list[Run]()
        backward: list[list[Run]] = []
        linears = [*(hidden.linear for hidden in self._hidden), self._output]
        for (linear, activation, rate, mask, dropped), above in zip(
            self._hidden, linears[1:], strict=True
        ):
            y, g = linear.outputs[:rows], above.outputs[:rows]
            slope = self._slope[: y.numel()].view_as(y)
            forward += [linear.forward(inputs, y), partial(activation.apply, y)]
            back: list[Run] = [partial(torch.mm, g, above.weight, out=slope)]
            after = y
            if rate:
                drawn, after = mask[:rows], dropped[:rows]
                forward += [partial(_draw, drawn, rate), partial(torch.mul, y, drawn, out=after)]
                back.append(partial(slope.mul_, drawn))
            backward.append(
                [*back, partial(activation.backward, slope, y), *linear.backward(y, inputs)]
            )
            inputs = after
        z = self._output.outputs[:rows]
        of_loss = _loss_of(self._loss, z, targets, same=self._same_rows)
        forward += [self._output.forward(inputs, z), *of_loss.before]
        backward.append([*of_loss.slope, *self._output.backward(z, inputs)])
        in_order = [run for runs in reversed(backward) for run in runs]
        return _Pass(x, targets, forward, of_loss.value, in_order)


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


def _draw(mask: Tensor, rate: float) -> None:
    """Fill the mask as dropout does: with 0 or 1/(1 − rate)."""
    functional.dropout(mask.fill_(1.0), rate, inplace=True)


class _LossOf(NamedTuple):
    """The mean loss of outputs, after the operations `before`; `slope`: those that put the gradient
    in the outputs in their place."""

    before: list[Run]
    value: Callable[[], Tensor]
    slope: list[Run]


def _loss_of(loss: LossFunction, z: Tensor, targets: Tensor, *, same: bool) -> _LossOf:
    """Recognize torch's own functions, which have no options: others are differentiated. `same`:
    the targets stay."""
    if loss is functional.cross_entropy:
        return _cross_entropy(z, targets, same=same)
    if loss is functional.mse_loss:
        slope = partial(_mse_backward, z.new_ones(()), z, targets, _MEAN, grad_input=z)
        return _LossOf([], partial(_mse_loss, z, targets, _MEAN), [slope])
    differentiated = _Differentiated(loss, z, targets)
    return _LossOf([], differentiated.value, [differentiated.put_slope])


def _cross_entropy(z: Tensor, targets: Tensor, *, same: bool) -> _LossOf:
    """Write out the cross entropy of class ids, without smoothing."""
    log_p, of_log_p, one = torch.empty_like(z), torch.empty_like(z), z.new_ones(())
    options = None, _MEAN, _NO_CLASS
    slope: list[Run] = [
        partial(_nll_backward, one, log_p, targets, *options, one * len(z), grad_input=of_log_p),
        partial(torch._log_softmax_backward_data, of_log_p, log_p, 1, z.dtype, out=z),
    ]
    if same:
        slope.pop(0)()  # which follows from the targets alone
    return _LossOf(
        [partial(torch._log_softmax, z, 1, False, out=log_p)],
        partial(_nll_loss, log_p, targets, *options),
        slope,
    )


class _Differentiated:
    """A loss that is differentiated automatically, alone."""

    def __init__(self, loss: LossFunction, z: Tensor, targets: Tensor) -> None:
        self._loss, self._z, self._targets = loss, z, targets
        self._asked: tuple[Tensor, Tensor] | None = None

    def value(self) -> Tensor:
        z = self._z.detach().requires_grad_()
        with torch.enable_grad():
            value = self._loss(z, self._targets)
        self._asked = z, value
        return value.detach()

    def put_slope(self) -> None:
        assert self._asked is not None
        z, value = self._asked
        self._z.copy_(torch.autograd.grad(value, z)[0])
        self._asked = None
