"""Construction of a torch module with its initial weights from a model's spec."""

from functools import partial
from typing import assert_never

import torch
from torch import nn

from core.specs import models as specs
from core.specs.models import BatchNorm, LayerNorm, LinearModel, Model, Norm
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
) -> MLP:
    """Return the model that `spec` names, initialized from `seed` (the same on every device)."""
    model = _unfilled(spec, num_inputs, num_outputs, dtype)
    initialize(model, spec.init, seed)
    return model.to(device)


def _unfilled(spec: Model, num_inputs: int, num_outputs: int, dtype: torch.dtype) -> MLP:
    match spec:
        case LinearModel():
            return MLP((num_inputs, num_outputs), dtype=dtype, bias=spec.bias)
        case specs.MLP():
            return MLP(
                (num_inputs, *spec.hidden, num_outputs),
                dtype=dtype,
                bias=spec.bias,
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
        case BatchNorm():
            return partial(nn.BatchNorm1d, eps=spec.eps, momentum=spec.momentum, dtype=dtype)
        case LayerNorm():
            return partial(nn.LayerNorm, eps=spec.eps, dtype=dtype)
        case _:
            assert_never(spec)
