"""Construction of a torch module with its initial weights from a model's layers."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from core.specs.layers.expand import Expanded
from core.specs.models import Initializer
from core.train.models.initializers import initialize
from core.train.models.layered import LayeredModel


def build_model(
    layers: Expanded,
    init: Initializer,
    *,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    ignored: Sequence[int] = (),
    given: Mapping[str, Tensor] | None = None,
) -> LayeredModel:
    """Return the layers as a model, initialized from `seed` (the same on every device).

    Args:
        ignored: features whose weights in the first layer are 0.
        given: weights in place of those that are drawn; running statistics may be missing.
    """
    model = LayeredModel(layers, dtype)
    if given is None:
        initialize(model, layers.parameters, init, seed)
    else:
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                if name in given:
                    tensor.copy_(given[name])
    if ignored:
        first = model.get_parameter(layers.parameters[0].name)
        with torch.no_grad():
            first[:, list(ignored)] = 0.0
    return model.to(device)
