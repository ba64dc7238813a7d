"""The facts that follow from a model's kind: the one table that sizes, training and diagnosis ask.

Nobody else asks whether a model is an MLP. A list of layers that every kind expands into is to take
the place of this table (`core/specs/layers/`).
"""

from typing import Literal, NamedTuple, assert_never

import numpy as np

from core.specs.models import (
    MLP,
    Activation,
    BatchNorm,
    ConstantInit,
    Initializer,
    KaimingNormal,
    KaimingUniform,
    LinearModel,
    Model,
    Norm,
    Normal,
    Orthogonal,
    TorchDefault,
    Uniform,
    XavierNormal,
    XavierUniform,
)


class ModelStructure(NamedTuple):
    """A model's layers between features and outputs, whatever kind it is of.

    Attributes:
        hidden: widths of the hidden layers, from the features on.
        activation: of each hidden layer; None: the kind has none.
        norm: of each hidden layer, before its activation.
        dropout: the share of hidden units that a training step leaves out.
        biases: whether each layer's linear map has a bias, that of the outputs last.
        shifts: whether the norm of each hidden layer has a shift.
        convex: whether the kind as such is convex in its weights, whatever the loss is (all losses
            offered are convex in the outputs). An MLP is not, even where it has no hidden layers.
        kept: numbers that an update keeps for each output of a layer, from above.
    """

    hidden: tuple[int, ...]
    activation: Activation | None
    norm: Norm | None
    dropout: float
    biases: tuple[bool, ...]
    shifts: tuple[bool, ...]
    convex: bool
    kept: int


def structure_of(model: Model) -> ModelStructure:
    """Look up what is known of the model's kind."""
    match model:
        case LinearModel():
            return ModelStructure((), None, None, 0.0, (model.bias,), (), convex=True, kept=2)
        case MLP(hidden=hidden, activation=activation, norm=norm, dropout=dropout):
            biases = (model.bias and not centers(norm),) * len(hidden)
            # Dropout after a shift makes it more than a constant.
            lost = centers(norm) and activation == "identity" and not dropout
            shifts = (norm is not None and not lost,) * (len(hidden) - 1)
            return ModelStructure(
                hidden,
                activation,
                norm,
                dropout,
                (*biases, model.bias),
                (*shifts, norm is not None) if hidden else (),
                convex=False,
                kept=4,
            )
        case _:
            assert_never(model)


def centers(norm: Norm | None) -> bool:
    """Tell whether a constant added before the norm is no parameter, since the norm takes it away
    again: of a batch. (A layer's norm takes the mean over its units, each of which may have a bias
    of its own.)"""
    return isinstance(norm, BatchNorm) and not norm.bias_before


def equal_first_weights(
    init: Initializer, precision: Literal["float32", "float64"] | None
) -> float | None:
    """Return the value that all weights of a layer begin with; None where they differ: a constant,
    a spread of 0, or one that the job's precision rounds away."""
    match init:
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
            assert_never(init)
    kept = np.float64 if precision == "float64" else np.float32
    return float(kept(low)) if kept(low) == kept(high) else None
