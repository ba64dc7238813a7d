"""Construction of a torch module with its initial weights from a model's spec."""

from collections.abc import Sequence

import torch

from core.specs.layers.expand import expand
from core.specs.models import Model
from core.train.models.initializers import initialize
from core.train.models.layered import LayeredModel


def build_model(
    spec: Model,
    num_inputs: int,
    num_outputs: int,
    *,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    ignored: Sequence[int] = (),
) -> LayeredModel:
    """Return the model that `spec` names, initialized from `seed` (the same on every device); the
    weights of `ignored` features in its first layer are 0."""
    layers = expand(spec, num_inputs, num_outputs)
    model = LayeredModel(layers, dtype)
    initialize(model, layers.parameters, spec.init, seed)
    if ignored:
        first = model.get_parameter(layers.parameters[0].name)
        with torch.no_grad():
            first[:, list(ignored)] = 0.0
    return model.to(device)
