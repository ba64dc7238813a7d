"""The forward pass of many perceptrons of one structure: the layers' with a run axis."""

from collections.abc import Callable, Mapping, Sequence
from typing import assert_never, cast

import torch
from torch import Tensor
from torch.nn import functional

from core.specs.layers import kinds as k
from core.specs.layers.expand import Hidden, Perceptron
from core.train.fused.models.linear import (
    affine,
    outputs,
    shared_outputs,
    takes_onednn,
)
from core.train.models.activations import activation_function

Weights = Mapping[str, Tensor]
"""Parameters and buffers by the names that the single model has, with a leading run axis."""


class StackedPerceptron:
    """Features (runs, rows, inputs) -> outputs (runs, outputs, rows)."""

    def __init__(self, perceptron: Perceptron) -> None:
        self._output = perceptron.output.name
        self._hidden = [(hidden, _activation_of(hidden)) for hidden in perceptron.hidden]

    def forward(
        self,
        weights: Weights,
        x: Tensor,
        masks: Sequence[Tensor] | None,
        buffers: dict[str, Tensor] | None,
        rows: int,
    ) -> Tensor:
        """Return the outputs of the first `rows` rows; in training mode where there are `buffers`,
        else in evaluation mode, in which all runs have the same features.

        Args:
            masks: of dropout, one a hidden layer: 0 or 1/(1 − p), (runs, rows, width).
            buffers: receives the running statistics as they are after this pass, which are not
                written into `weights`.
        """
        of_all = None
        if buffers is None and takes_onednn(x):
            first = self._hidden[0][0].linear.name if self._hidden else self._output
            of_all = shared_outputs(x[0], weights[f"{first}.weight"], weights.get(f"{first}.bias"))
        for index, (hidden, activation) in enumerate(self._hidden):
            name = hidden.linear.name
            if index == 0 and of_all is not None:
                x = of_all.transpose(1, 2)
            else:
                x = affine(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))
            if hidden.norm is not None:
                norm = cast(k.BatchNormLayer | k.LayerNormLayer, hidden.norm.layer)
                x = _normalized(x, norm, weights, f"{hidden.norm.name}.", buffers, rows)
            x = activation(x)
            if masks is not None:
                x = x * masks[index]
        if self._hidden or of_all is None:
            z = outputs(x, weights[f"{self._output}.weight"], weights.get(f"{self._output}.bias"))
        else:
            z = of_all
        return z if z.shape[2] == rows else z[:, :, :rows].contiguous()


def _activation_of(hidden: Hidden) -> Callable[[Tensor], Tensor]:
    placed = hidden.activation
    return activation_function(k.Identity() if placed is None else cast(k.Activation, placed.layer))


def _normalized(
    x: Tensor,
    norm: k.BatchNormLayer | k.LayerNormLayer,
    weights: Weights,
    name: str,
    buffers: dict[str, Tensor] | None,
    rows: int,
) -> Tensor:
    scale, shift = weights.get(f"{name}weight"), weights.get(f"{name}bias")
    match norm:
        case k.LayerNormLayer(eps=eps):
            normal = functional.layer_norm(x, x.shape[2:], eps=eps)
        case k.BatchNormLayer() if buffers is None:
            mean = weights[f"{name}running_mean"].unsqueeze(1)
            variance = weights[f"{name}running_var"].unsqueeze(1)
            normal = (x - mean) / (variance + norm.eps).sqrt()
        case k.BatchNormLayer():
            assert buffers is not None
            normal = _batch_normal(x, norm, weights, name, buffers, rows)
        case _:
            assert_never(norm)
    if scale is None:
        return normal
    scaled = scale.unsqueeze(1)
    return normal * scaled if shift is None else torch.addcmul(shift.unsqueeze(1), normal, scaled)


def _batch_normal(
    x: Tensor,
    norm: k.BatchNormLayer,
    weights: Weights,
    name: str,
    buffers: dict[str, Tensor],
    rows: int,
) -> Tensor:
    """Return each run's features normalized over the first `rows` rows (Ioffe and Szegedy 2015,
    arXiv 1502.03167). The running variance is the unbiased one, as in torch."""
    mean = x[:, :rows].mean(1, keepdim=True)
    centered = x - mean
    inner = centered[:, :rows]
    variance = (inner * inner).mean(1, keepdim=True)
    with torch.no_grad():
        for statistic, value in (
            ("running_mean", mean),
            ("running_var", variance * (rows / (rows - 1))),
        ):
            old = weights[name + statistic]
            buffers[name + statistic] = torch.lerp(old, value.squeeze(1), norm.momentum)
        buffers[f"{name}num_batches_tracked"] = weights[f"{name}num_batches_tracked"] + 1
    return centered / (variance + norm.eps).sqrt()
