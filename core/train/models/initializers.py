"""Initialization of parameters: each drawn from its own generator, in float64 on the CPU, then
cast."""

import math
from typing import assert_never

import torch
from torch import Tensor, nn

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


def initialize(model: nn.Module, spec: Initializer, seed: int) -> None:
    """Fill the linear maps of `model` in place; norms keep their ones and zeros.

    Parameter number i (in the order of `model.parameters()`) draws from
    `generator(seed, "init", i)`, so that no layer's start depends on another's size. Biases are
    zero, but for `torch_default`. float32 and float64 models start at the same (rounded) point.
    """
    indexes = {id(parameter): index for index, parameter in enumerate(model.parameters())}
    # Orthogonal matrices come from a factorization whose sums depend on the number of threads.
    with torch.no_grad(), one_thread():
        for module in model.modules():
            if isinstance(module, nn.Linear):
                _fill(module.weight, spec, generator(seed, "init", indexes[id(module.weight)]))
                if module.bias is not None:
                    source = generator(seed, "init", indexes[id(module.bias)])
                    _fill_bias(module.bias, module.in_features, spec, source)


def _fill(weight: Tensor, spec: Initializer, source: torch.Generator) -> None:
    drawn = torch.empty(weight.shape, dtype=torch.float64)
    weight.copy_(_draw(drawn, spec, source))


def _draw(empty: Tensor, spec: Initializer, source: torch.Generator) -> Tensor:
    init = nn.init
    match spec:
        case TorchDefault():
            bound = 1 / math.sqrt(empty.shape[1])
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


def _fill_bias(bias: nn.Parameter, fan_in: int, spec: Initializer, source: torch.Generator) -> None:
    if not isinstance(spec, TorchDefault):
        bias.zero_()
        return
    bound = 1 / math.sqrt(fan_in)
    drawn = torch.empty(bias.shape, dtype=torch.float64)
    bias.copy_(nn.init.uniform_(drawn, -bound, bound, generator=source))
