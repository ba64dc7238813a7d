"""A model's first weights, as far as they are known before they are drawn."""

from typing import assert_never

import numpy as np

from core.specs.models import (
    ConstantInit,
    KaimingNormal,
    KaimingUniform,
    Model,
    Normal,
    Orthogonal,
    TorchDefault,
    Uniform,
    XavierNormal,
    XavierUniform,
)


def equal_first_weights(model: Model, precision: str | None) -> float | None:
    """Return the value that all weights of a layer begin with: a constant, a spread of 0, or one
    that the job's precision rounds away; None where they differ, or come from an upload."""
    if model.initial_weights is not None:
        return None
    match model.init:
        case ConstantInit(value=value):
            return value
        case Normal(mean=mean, std=std):
            low, high = mean - 5.0 * std, mean + 5.0 * std
        case Uniform(low=low, high=high):
            pass
        case XavierUniform(gain=gain) | XavierNormal(gain=gain) | Orthogonal(gain=gain):
            low, high = -gain, gain
        case TorchDefault() | KaimingUniform() | KaimingNormal():
            return None
        case _:
            assert_never(model.init)
    kept = np.float64 if precision == "float64" else np.float32
    return float(kept(low)) if kept(low) == kept(high) else None
