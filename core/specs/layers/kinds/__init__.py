"""Layers: the pieces that every model expands into. Names and options are those of torch.nn.

The shapes here are those of one row: a layer of images takes (channels, height, width), one of
sequences (time, features). A `dim` counts as in torch, where 0 is the axis of the rows: here it is
1 or more, or negative, from the last axis on.
"""

from core.specs.layers.kinds.activations import (
    ELU,
    GELU,
    SELU,
    Activation,
    Dropout,
    Hardswish,
    Identity,
    LeakyReLU,
    Mish,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Softsign,
    Tanh,
)
from core.specs.layers.kinds.affine import (
    Conv1d,
    Conv2d,
    ConvTranspose1d,
    ConvTranspose2d,
    LinearLayer,
)
from core.specs.layers.kinds.axes import Flatten, Mean, Select, Transpose, Unflatten
from core.specs.layers.kinds.base import LONGEST, NAME_PATTERN
from core.specs.layers.kinds.composition import Branches, Layer, Layers, Leaf, Residual, Skip
from core.specs.layers.kinds.embeddings import EmbedCategories, Embedding, Positions
from core.specs.layers.kinds.norms import BatchNormLayer, GroupNorm, LayerNormLayer, RMSNorm
from core.specs.layers.kinds.pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AvgPool1d,
    AvgPool2d,
    MaxPool1d,
    MaxPool2d,
    Upsample,
)
from core.specs.layers.kinds.sequences import (
    GRU,
    LSTM,
    RNN,
    FinalState,
    MultiheadAttention,
    Recurrent,
)

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LONGEST",
    "LSTM",
    "NAME_PATTERN",
    "RNN",
    "SELU",
    "Activation",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNormLayer",
    "Branches",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "Dropout",
    "EmbedCategories",
    "Embedding",
    "FinalState",
    "Flatten",
    "GroupNorm",
    "Hardswish",
    "Identity",
    "Layer",
    "LayerNormLayer",
    "Layers",
    "Leaf",
    "LeakyReLU",
    "LinearLayer",
    "MaxPool1d",
    "MaxPool2d",
    "Mean",
    "Mish",
    "MultiheadAttention",
    "Positions",
    "RMSNorm",
    "ReLU",
    "Recurrent",
    "Residual",
    "Select",
    "SiLU",
    "Sigmoid",
    "Skip",
    "Softplus",
    "Softsign",
    "Tanh",
    "Transpose",
    "Unflatten",
    "Upsample",
]
