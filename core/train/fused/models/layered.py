"""The forward pass of many models of one list of layers: the single model's under `torch.vmap`."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.func import functional_call

from core.specs.layers.expand import Expanded
from core.train.models.layered import LayeredModel


class StackedLayers:
    """Features (runs, rows, inputs) -> outputs (runs, outputs, rows), where each token of a text
    counts as a row.

    Only the forward pass is computed under `vmap`, and differentiated as a whole: for convolutions
    and recurrent layers that takes about two thirds of the time of a `vmap` of both.
    """

    def __init__(self, layers: Expanded, device: torch.device, dtype: torch.dtype) -> None:
        self._model = LayeredModel(layers, dtype, recurrence_written_out=True).to(device)
        self._parameters = [parameter.name for parameter in layers.parameters]
        self._statistics = [name for name, _ in self._model.named_buffers()]

    def forward(
        self,
        weights: Mapping[str, Tensor],
        x: Tensor,
        masks: Sequence[Tensor] | None,
        buffers: dict[str, Tensor] | None,
        rows: int,
    ) -> Tensor:
        """Return the outputs of the first `rows` rows; in training mode where there are `buffers`.

        Args:
            masks: of dropout, one a layer of it: 0 or 1/(1 − p), (runs, rows, …).
            buffers: receives the running statistics as they are after this pass, which are not
                written into `weights`.
        """
        self._model.train(buffers is not None)
        statistics = {name: weights[name] for name in self._statistics}
        if buffers is not None:
            statistics = {name: value.clone() for name, value in statistics.items()}
            buffers.update(statistics)
        given = {name: weights[name] for name in self._parameters}
        some = None if masks is None else [mask[:, :rows] for mask in masks]
        features = x[:, :rows]
        # What all runs share goes in once.
        shared = features.stride(0) == 0 and len(features) > 1

        def one(
            parameters: dict[str, Tensor],
            statistics: dict[str, Tensor],
            features: Tensor,
            masks: list[Tensor] | None,
        ) -> Tensor:
            both = {**parameters, **statistics}
            return cast(Tensor, functional_call(self._model, both, (features, masks), strict=True))

        each = torch.vmap(one, in_dims=(0, 0, None if shared else 0, None if masks is None else 0))
        found: Tensor = each(given, statistics, features[0] if shared else features, some)
        if found.dim() == 4:
            found = found.flatten(1, 2)
        return found.transpose(1, 2)
