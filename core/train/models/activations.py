"""The activations, as plain functions."""

from collections.abc import Callable
from functools import partial
from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional

from core.specs.layers import kinds as k


def activation_function(layer: k.Activation) -> Callable[[Tensor], Tensor]:  # noqa: C901, PLR0912 (one case a kind)
    """Return torch's function of this layer, with its options."""
    match layer:
        case k.ReLU():
            return torch.relu
        case k.LeakyReLU(negative_slope=slope):
            return partial(functional.leaky_relu, negative_slope=slope)
        case k.ELU(alpha=alpha):
            return partial(functional.elu, alpha=alpha)
        case k.SELU():
            return torch.selu
        case k.GELU(approximate=approximate):
            return partial(functional.gelu, approximate=approximate)
        case k.SiLU():
            return functional.silu
        case k.Mish():
            return functional.mish
        case k.Softplus():
            return functional.softplus
        case k.Softsign():
            return functional.softsign
        case k.Tanh():
            return torch.tanh
        case k.Sigmoid():
            return torch.sigmoid
        case k.Hardswish():
            return functional.hardswish
        case k.Identity():
            return _identity
        case _:
            assert_never(layer)


def _identity(x: Tensor) -> Tensor:
    return x
