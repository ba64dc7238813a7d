"""Construction of a torch module with its initial weights from a model's spec."""

from collections.abc import Sequence
from typing import assert_never

import torch
from torch import nn

from core.specs import models as specs
from core.specs.models import BatchNorm, LayerNorm, LinearModel, Model, Norm
from core.specs.sizes.model import structure_of
from core.train.models.activations import activation_function
from core.train.models.initializers import initialize
from core.train.models.mlp import MLP, MakeNorm


def build_model(
    spec: Model,
    num_inputs: int,
    num_outputs: int,
    *,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    ignored: Sequence[int] = (),
) -> MLP:
    """Return the model that `spec` names, initialized from `seed` (the same on every device); the
    weights of `ignored` features are 0."""
    model = _unfilled(spec, num_inputs, num_outputs, dtype)
    initialize(model, spec.init, seed)
    if ignored:
        with torch.no_grad():
            model.first.weight[:, list(ignored)] = 0.0
    return model.to(device)


def _unfilled(spec: Model, num_inputs: int, num_outputs: int, dtype: torch.dtype) -> MLP:
    structure = structure_of(spec)
    match spec:
        case LinearModel():
            return MLP((num_inputs, num_outputs), dtype=dtype, biases=structure.biases)
        case specs.MLP():
            return MLP(
                (num_inputs, *spec.hidden, num_outputs),
                dtype=dtype,
                biases=structure.biases,
                shifts=structure.shifts,
                activation=activation_function(spec.activation),
                make_norm=_norm(spec.norm, dtype),
                dropout=spec.dropout,
            )
        case _:
            assert_never(spec)


def _norm(spec: Norm | None, dtype: torch.dtype) -> MakeNorm | None:
    match spec:
        case None:
            return None
        case BatchNorm(eps=eps, momentum=momentum):
            return lambda width, shift: nn.BatchNorm1d(
                width, eps=eps, momentum=momentum, bias=shift, dtype=dtype
            )
        case LayerNorm(eps=eps):
            return lambda width, shift: nn.LayerNorm(width, eps=eps, bias=shift, dtype=dtype)
        case _:
            assert_never(spec)
