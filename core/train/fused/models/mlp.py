"""The forward pass of many models of one structure: core.train.models.mlp.MLP with a run axis."""

from collections.abc import Mapping, Sequence
from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional

from core.specs.models import BatchNorm, LayerNorm, Norm
from core.specs.sizes.fusing import FusedModel
from core.specs.sizes.model import structure_of
from core.train.fused.models.linear import affine, outputs
from core.train.models.activations import activation_function

Weights = Mapping[str, Tensor]
"""Parameters and buffers by the names that the single model has, with a leading run axis."""


class StackedMLP:
    """Features (runs, rows, inputs) -> outputs (runs, outputs, rows).

    Attributes:
        widths: of the hidden layers.
    """

    def __init__(self, spec: FusedModel) -> None:
        structure = structure_of(spec)
        self.widths = structure.hidden
        self._norm: Norm | None = structure.norm
        self._activation = activation_function(structure.activation or "identity")
        self._layers = [f"hidden.{index}." for index in range(len(self.widths))]

    def forward(
        self,
        weights: Weights,
        x: Tensor,
        masks: Sequence[Tensor] | None,
        buffers: dict[str, Tensor] | None,
        rows: int,
    ) -> Tensor:
        """Return the outputs of the first `rows` rows; in training mode where there are `buffers`.

        Args:
            masks: of dropout, one a hidden layer: 0 or 1/(1 − p), (runs, rows, width).
            buffers: receives the running statistics as they are after this pass, which are not
                written into `weights`.
        """
        for index, layer in enumerate(self._layers):
            x = affine(x, weights[f"{layer}linear.weight"], weights.get(f"{layer}linear.bias"))
            if self._norm is not None:
                x = _normalized(x, self._norm, weights, f"{layer}norm.", buffers, rows)
            x = self._activation(x)
            if masks is not None:
                x = x * masks[index]
        z = outputs(x, weights["output.weight"], weights.get("output.bias"))
        return z if z.shape[2] == rows else z[:, :, :rows].contiguous()


def _normalized(
    x: Tensor,
    norm: Norm,
    weights: Weights,
    name: str,
    buffers: dict[str, Tensor] | None,
    rows: int,
) -> Tensor:
    scale, shift = weights[f"{name}weight"].unsqueeze(1), weights.get(f"{name}bias")
    match norm:
        case LayerNorm(eps=eps):
            normal = functional.layer_norm(x, x.shape[2:], eps=eps)
        case BatchNorm() if buffers is None:
            mean = weights[f"{name}running_mean"].unsqueeze(1)
            variance = weights[f"{name}running_var"].unsqueeze(1)
            normal = (x - mean) / (variance + norm.eps).sqrt()
        case BatchNorm():
            assert buffers is not None
            normal = _batch_normal(x, norm, weights, name, buffers, rows)
        case _:
            assert_never(norm)
    return normal * scale if shift is None else torch.addcmul(shift.unsqueeze(1), normal, scale)


def _batch_normal(
    x: Tensor,
    norm: BatchNorm,
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
