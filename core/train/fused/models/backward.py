"""The gradients of many multilayer perceptrons, written out.

The same products and sums as automatic differentiation of `StackedPerceptron.forward` does, in the
same order and to the same bits, without its bookkeeping, which costs a step of small models a fifth
of its time. For models without normalization, and for activations whose derivative follows from
what they gave.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from core.specs.layers.expand import Perceptron
from core.train.fused.models.linear import (
    affine_values,
    multiply_into,
    output_values,
    products,
    shared_outputs,
    shared_products,
)
from core.train.fused.models.losses import StackedLoss, with_gradient

_aten = torch.ops.aten


class _Activation(NamedTuple):
    """`apply` changes its argument; `backward` (gradient, what `apply` gave) changes the gradient
    to that before the activation."""

    apply: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]


def _relu_backward(g: Tensor, y: Tensor) -> Tensor:
    changed: Tensor = _aten.threshold_backward.grad_input(g, y, 0, grad_input=g)
    return changed


def _tanh_backward(g: Tensor, y: Tensor) -> Tensor:
    changed: Tensor = _aten.tanh_backward.grad_input(g, y, grad_input=g)
    return changed


def _sigmoid_backward(g: Tensor, y: Tensor) -> Tensor:
    changed: Tensor = _aten.sigmoid_backward.grad_input(g, y, grad_input=g)
    return changed


ACTIVATIONS: Final[Mapping[str, _Activation]] = {
    "relu": _Activation(torch.relu_, _relu_backward),
    "tanh": _Activation(torch.tanh_, _tanh_backward),
    "sigmoid": _Activation(torch.sigmoid_, _sigmoid_backward),
    "identity": _Activation(lambda x: x, lambda g, y: g),
}


class WrittenOut:
    """Losses and gradients of a model's runs on a batch; see `written_out`."""

    def __init__(
        self, perceptron: Perceptron, activations: Sequence[_Activation], loss: StackedLoss
    ) -> None:
        """Take an activation a hidden layer."""
        self._layers = [f"{hidden.linear.name}." for hidden in perceptron.hidden]
        self._output = f"{perceptron.output.name}."
        self._activations = activations
        self._loss = loss

    @torch.inference_mode()
    def __call__(
        self,
        weights: Mapping[str, Tensor],
        x: Tensor,
        masks: Sequence[Tensor] | None,
        targets: Tensor,
        gradients: Mapping[str, Tensor],
    ) -> Tensor:
        """Return each run's loss: (runs,).

        Args:
            weights: parameters by name, each with a leading run axis.
            x: features (runs, padded rows, inputs); rows beyond `targets`' count for nothing.
            masks: as `StackedPerceptron.forward` takes them.
            gradients: receive each run's, by the parameters' names.
        """
        inputs, activated = [x], []
        for number, layer in enumerate(self._layers):
            weight, bias = weights[f"{layer}weight"], weights.get(f"{layer}bias")
            y = self._activations[number].apply(affine_values(inputs[-1], weight, bias))
            activated.append(y)
            inputs.append(y if masks is None else y * masks[number])
        last, last_bias = f"{self._output}weight", f"{self._output}bias"
        z = output_values(inputs[-1], weights[last], weights.get(last_bias))
        losses, g = _loss_of_rows(self._loss, z, targets)
        multiply_into(g, inputs[-1], gradients[last])
        if last_bias in weights:
            torch.sum(g, 2, out=gradients[last_bias])
        if self._layers:
            g = products(g.transpose(1, 2), weights[last])
        for number in range(len(self._layers) - 1, -1, -1):
            if masks is not None:
                g.mul_(masks[number])
            g = self._activations[number].backward(g, activated[number])
            name = self._layers[number]
            multiply_into(g.transpose(1, 2), inputs[number], gradients[f"{name}weight"])
            if f"{name}bias" in weights:
                torch.sum(g, 1, out=gradients[f"{name}bias"])
            if number:
                g = products(g, weights[f"{name}weight"])
        return losses


class WrittenOutOnOneBatch(WrittenOut):
    """Losses and gradients where all runs have the same batch; the last bits are others.

    The products of the first layer are one of all runs. What a layer gives stands transposed,
    (runs, width, padded rows), as that product has it.
    """

    @torch.inference_mode()
    def __call__(
        self,
        weights: Mapping[str, Tensor],
        x: Tensor,
        masks: Sequence[Tensor] | None,
        targets: Tensor,
        gradients: Mapping[str, Tensor],
    ) -> Tensor:
        """See `WrittenOut`; `x` is the same in all runs."""
        features, names = x[0], [*self._layers, self._output]
        turned = None if masks is None else [mask.transpose(1, 2) for mask in masks]
        inputs: list[Tensor] = []
        """Inputs of each layer but the first."""
        activated: list[Tensor] = []
        z = shared_outputs(features, weights[f"{names[0]}weight"], weights.get(f"{names[0]}bias"))
        for number, name in enumerate(names[1:]):
            y = self._activations[number].apply(z)
            activated.append(y)
            inputs.append(y if turned is None else y * turned[number])
            weight, bias = weights[f"{name}weight"], weights.get(f"{name}bias")
            z = output_values(inputs[-1].transpose(1, 2), weight, bias)
        losses, g = _loss_of_rows(self._loss, z, targets)
        for number in range(len(names) - 1, -1, -1):
            name = names[number]
            if number:
                multiply_into(g, inputs[number - 1].transpose(1, 2), gradients[f"{name}weight"])
            else:
                gradients[f"{name}weight"].copy_(shared_products(g, features.t()))
            if f"{name}bias" in weights:
                torch.sum(g, 2, out=gradients[f"{name}bias"])
            if number:
                g = products(weights[f"{name}weight"].transpose(1, 2), g)
                if turned is not None:
                    g.mul_(turned[number - 1])
                g = self._activations[number - 1].backward(g, activated[number - 1])
        return losses


def _loss_of_rows(loss: StackedLoss, z: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return each run's loss of the rows that count, and its gradient in outputs (runs, outputs,
    padded rows)."""
    padded, rows = z.shape[2], targets.shape[1]
    if padded == rows:
        return with_gradient(loss, z, targets)
    losses, g = with_gradient(loss, z[:, :, :rows].contiguous(), targets)
    return losses, functional.pad(g, (0, padded - rows))


def written_out(
    perceptron: Perceptron, loss: StackedLoss, *, one_batch: bool = False
) -> WrittenOut | None:
    """Return the gradients of this model's runs; None: only automatic differentiation has them.
    `one_batch`: all have the same batch, and there are `shared_products` of such numbers."""
    found = []
    for hidden in perceptron.hidden:
        activation = hidden.activation
        known = ACTIVATIONS.get("identity" if activation is None else activation.layer.kind)
        if hidden.norm is not None or known is None:
            return None
        found.append(known)
    kind = WrittenOutOnOneBatch if one_batch else WrittenOut
    return kind(perceptron, found, loss)
