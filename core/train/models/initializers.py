"""Initialization of parameters: each drawn from its own generator, in float64 on the CPU, then
cast."""

import math
from collections.abc import Sequence
from typing import Final, assert_never

import torch
from torch import Tensor, nn

from core.specs.layers.effects.base import Parameter
from core.specs.models import (
    ConstantInit,
    Initializer,
    KaimingNormal,
    KaimingUniform,
    Normal,
    Orthogonal,
    TorchDefault,
    Uniform,
    XavierNormal,
    XavierUniform,
)
from core.train.determinism import generator, one_thread

POSITIONS_STD: Final = 0.02
"""Deviation of learned positions, as in Devlin et al. 2018 (arXiv 1810.04805)."""


def initialize(
    model: nn.Module, parameters: Sequence[Parameter], spec: Initializer, seed: int
) -> None:
    """Fill the parameters of `model` in place; norms begin with ones and zeros.

    Parameter number i draws from `generator(seed, "init", i)`, so that no layer's start depends on
    another's size. Biases are zero, but for `torch_default`. float32 and float64 models start at
    the same (rounded) point.
    """
    tensors = dict(model.named_parameters())
    # Orthogonal matrices come from a factorization whose sums depend on the number of threads.
    with torch.no_grad(), one_thread():
        for index, parameter in enumerate(parameters):
            drawn = torch.empty(parameter.shape, dtype=torch.float64)
            source = generator(seed, "init", index)
            tensors[parameter.name].copy_(_filled(parameter, drawn, spec, source))


def _filled(
    parameter: Parameter, empty: Tensor, spec: Initializer, source: torch.Generator
) -> Tensor:
    """Fill `empty` as this parameter begins; with `torch_default` as torch's own modules do."""
    default = isinstance(spec, TorchDefault)
    match parameter.fill:
        case "one":
            return empty.fill_(1.0)
        case "zero":
            return empty.zero_()
        case "bias" if not default:
            return empty.zero_()
        case "recurrent" if not default and empty.dim() == 1:
            return empty.zero_()
        case "attention" if default:
            return nn.init.xavier_uniform_(empty, generator=source)
        case "positions":
            return nn.init.normal_(empty, 0.0, POSITIONS_STD, generator=source)
        case "embedding" if default:
            return nn.init.normal_(empty, generator=source)
        case "weight" | "bias" | "recurrent" | "attention" | "embedding":
            return _draw(empty, spec, parameter.fan_in, source)
        case _:
            assert_never(parameter.fill)


def _draw(empty: Tensor, spec: Initializer, fan_in: int, source: torch.Generator) -> Tensor:
    init = nn.init
    match spec:
        case TorchDefault():
            bound = 1 / math.sqrt(fan_in)
            return init.uniform_(empty, -bound, bound, generator=source)
        case KaimingUniform():
            return init.kaiming_uniform_(empty, nonlinearity="relu", generator=source)
        case KaimingNormal():
            return init.kaiming_normal_(empty, nonlinearity="relu", generator=source)
        case XavierUniform():
            return init.xavier_uniform_(empty, spec.gain, generator=source)
        case XavierNormal():
            return init.xavier_normal_(empty, spec.gain, generator=source)
        case Orthogonal():
            return init.orthogonal_(empty, spec.gain, generator=source)
        case Normal():
            return init.normal_(empty, spec.mean, spec.std, generator=source)
        case Uniform():
            return init.uniform_(empty, spec.low, spec.high, generator=source)
        case ConstantInit():
            return init.constant_(empty, spec.value)
        case _:
            assert_never(spec)
