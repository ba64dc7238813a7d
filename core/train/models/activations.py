"""The activations by name, as plain functions."""

from collections.abc import Callable
from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional

from core.specs.models import Activation


def activation_function(name: Activation) -> Callable[[Tensor], Tensor]:  # noqa: C901, PLR0912 (one case a name)
    """Return torch's function of this name with torch's default options."""
    match name:
        case "relu":
            return torch.relu
        case "leaky_relu":
            return functional.leaky_relu
        case "elu":
            return functional.elu
        case "selu":
            return torch.selu
        case "gelu":
            return functional.gelu
        case "silu":
            return functional.silu
        case "mish":
            return functional.mish
        case "softplus":
            return functional.softplus
        case "softsign":
            return functional.softsign
        case "tanh":
            return torch.tanh
        case "sigmoid":
            return torch.sigmoid
        case "hardswish":
            return functional.hardswish
        case "identity":
            return _identity
        case _:
            assert_never(name)


def _identity(x: Tensor) -> Tensor:
    return x
