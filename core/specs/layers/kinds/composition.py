"""Layers that hold others, and all of them as one union."""

from typing import Annotated, Literal

from pydantic import Field

from core.specs.layers.kinds.activations import Activation, Dropout
from core.specs.layers.kinds.affine import (
    Conv1d,
    Conv2d,
    ConvTranspose1d,
    ConvTranspose2d,
    LinearLayer,
)
from core.specs.layers.kinds.axes import Flatten, Mean, Select, Transpose, Unflatten
from core.specs.layers.kinds.base import Dim, Name, NamedLayer
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
from core.specs.layers.kinds.sequences import GRU, LSTM, RNN, FinalState, MultiheadAttention

Layers = Annotated[tuple["Layer", ...], Field(max_length=1000)]


class Residual(NamedLayer):
    """Layers whose output is added to their input (He et al. 2015, arXiv 1512.03385)."""

    kind: Literal["residual"] = "residual"
    layers: Layers
    shortcut: Layers = ()
    """Layers that the input goes through before it is added; none: it is added as it is."""


class Branches(NamedLayer):
    """Lists of layers that all take the same input, and whose outputs are put together."""

    kind: Literal["branches"] = "branches"
    branches: Annotated[tuple[Layers, ...], Field(min_length=1, max_length=100)]
    combine: Literal["cat", "sum"] = "cat"
    dim: Dim = 1
    """The axis along which `cat` puts them together."""


class Skip(NamedLayer):
    """The output of an earlier layer of the same list, added to this place's or put behind it."""

    kind: Literal["skip"] = "skip"
    source: Name
    """Name of that layer."""
    combine: Literal["sum", "cat"] = "sum"
    dim: Dim = 1


Leaf = (
    LinearLayer
    | Conv1d
    | Conv2d
    | ConvTranspose1d
    | ConvTranspose2d
    | EmbedCategories
    | RNN
    | LSTM
    | GRU
    | MultiheadAttention
    | Positions
    | Embedding
    | FinalState
    | BatchNormLayer
    | LayerNormLayer
    | RMSNorm
    | GroupNorm
    | MaxPool1d
    | MaxPool2d
    | AvgPool1d
    | AvgPool2d
    | AdaptiveAvgPool1d
    | AdaptiveAvgPool2d
    | Upsample
    | Activation
    | Dropout
    | Flatten
    | Unflatten
    | Transpose
    | Select
    | Mean
)
"""Layers that hold no others."""

Layer = Annotated[Leaf | Residual | Branches | Skip, Field(discriminator="kind")]
