"""Layers: the pieces that every model expands into. Names and options are those of torch.nn.

The shapes here are those of one row: a layer of images takes (channels, height, width), one of
sequences (time, features). A `dim` counts as in torch, where 0 is the axis of the rows: here it is
1 or more, or negative, from the last axis on.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from core.specs.base import (
    WHOLE,
    Fraction,
    NonNegative,
    Positive,
    PositiveInt,
    Spec,
    UnitInterval,
)

NAME_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"
"""A name becomes a part of the parameters' names, which dots cut."""

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Dim = Annotated[int, Field(ge=-4, le=4), WHOLE]


LONGEST: Final = 10_000
"""Largest size of a window, and largest distance between its places or between two windows."""
Window = Annotated[int, Field(gt=0, le=LONGEST), WHOLE]
Pad = Annotated[int, Field(ge=0, le=LONGEST), WHOLE]


def _pair(value: object) -> object:
    """Take `3` for `[3, 3]`, as torch does."""
    if isinstance(value, list):
        return tuple(value)
    return (value, value) if isinstance(value, (int, float)) else value


def _or_several(minimum: int) -> WithJsonSchema:
    number: dict[str, Any] = {"type": "integer", "minimum": minimum, "maximum": LONGEST}
    several = {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
    return WithJsonSchema({"anyOf": [number, several]}, mode="validation")


Pair = Annotated[tuple[Window, Window], BeforeValidator(_pair), _or_several(1)]
PadPair = Annotated[tuple[Pad, Pad], BeforeValidator(_pair), _or_several(0)]


def _padding_tag(value: object) -> str:
    return "~same" if isinstance(value, str) else "~padding"


_Same = Annotated[Literal["same"], Tag("~same")]
Padding1d = Annotated[Annotated[Pad, Tag("~padding")] | _Same, Discriminator(_padding_tag)]
Padding2d = Annotated[Annotated[PadPair, Tag("~padding")] | _Same, Discriminator(_padding_tag)]

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


class _Layer(Spec):
    name: Name | None = None
    """The layer's name, for its parameters, errors and `skip`; left out: its number in the list."""


# ---- maps with weights


class LinearLayer(_Layer):
    """An affine map of the last axis."""

    kind: Literal["linear"] = "linear"
    out_features: PositiveInt | None = None
    """Left out (in a model's last layer): as many as the problem asks for."""
    bias: bool | None = None
    """Add a bias. Left out: true, but where a norm of the batch further on takes it
    away again."""


class Conv1d(_Layer):
    """A convolution of (channels, length)."""

    kind: Literal["conv1d"] = "conv1d"
    out_channels: PositiveInt
    kernel_size: Window
    stride: Window = 1
    padding: Padding1d = 0
    dilation: Window = 1
    groups: PositiveInt = 1
    bias: bool | None = None
    padding_mode: PaddingMode = "zeros"


class Conv2d(_Layer):
    """A convolution of (channels, height, width)."""

    kind: Literal["conv2d"] = "conv2d"
    out_channels: PositiveInt
    kernel_size: Pair
    stride: Pair = (1, 1)
    padding: Padding2d = (0, 0)
    dilation: Pair = (1, 1)
    groups: PositiveInt = 1
    bias: bool | None = None
    padding_mode: PaddingMode = "zeros"


class ConvTranspose1d(_Layer):
    """The transpose of a convolution of (channels, length)."""

    kind: Literal["conv_transpose1d"] = "conv_transpose1d"
    out_channels: PositiveInt
    kernel_size: Window
    stride: Window = 1
    padding: Pad = 0
    output_padding: Pad = 0
    dilation: Window = 1
    groups: PositiveInt = 1
    bias: bool | None = None


class ConvTranspose2d(_Layer):
    """The transpose of a convolution of (channels, height, width)."""

    kind: Literal["conv_transpose2d"] = "conv_transpose2d"
    out_channels: PositiveInt
    kernel_size: Pair
    stride: Pair = (1, 1)
    padding: PadPair = (0, 0)
    output_padding: PadPair = (0, 0)
    dilation: Pair = (1, 1)
    groups: PositiveInt = 1
    bias: bool | None = None


class EmbedCategories(_Layer):
    """A learned vector for each category: (features,) to the features that are none, then each
    category's vector. The columns of a category are 0 and 1 for one of its values each (one-hot);
    its vector is that value's row of the weight."""

    kind: Literal["embed_categories"] = "embed_categories"
    places: Annotated[
        tuple[Annotated[tuple[Pad, Window], Field(fail_fast=True)], ...],
        Field(min_length=1, max_length=1000),
    ]
    """First column of each category, and how many columns it has; in order."""
    embedding_dim: PositiveInt
    """Numbers of a vector."""


class Recurrent(_Layer):
    """A recurrent layer: (time, features) to (time, hidden states of both directions)."""

    hidden_size: PositiveInt
    num_layers: Annotated[int, Field(ge=1, le=100), WHOLE] = 1
    bias: bool = True
    dropout: Fraction = 0.0
    """Dropout between the layers, of which it needs two or more."""
    bidirectional: bool = False


class RNN(Recurrent):
    """Elman's recurrent layer (1990): h_t = tanh(W x_t + b + U h_(t−1) + c)."""

    kind: Literal["rnn"] = "rnn"
    nonlinearity: Literal["tanh", "relu"] = "tanh"


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997), with torch's order of gates: input,
    forget, cell, output."""

    kind: Literal["lstm"] = "lstm"


class GRU(Recurrent):
    """Gated recurrent units (Cho et al. 2014, arXiv 1406.1078), with torch's order of gates: reset,
    update, new."""

    kind: Literal["gru"] = "gru"


class MultiheadAttention(_Layer):
    """Self-attention of (time, features) (Vaswani et al. 2017, arXiv 1706.03762)."""

    kind: Literal["multihead_attention"] = "multihead_attention"
    num_heads: PositiveInt
    dropout: Fraction = 0.0
    """Dropout of the attention weights."""
    bias: bool = True
    causal: bool = False
    """Each time sees itself and those before it alone."""
    rotary: bool = False
    """Positions by rotation of queries and keys (Su et al. 2021, arXiv 2104.09864)."""


class Positions(_Layer):
    """A learned vector for each time of (time, features), which is added to it."""

    kind: Literal["positions"] = "positions"


class Embedding(_Layer):
    """A learned vector for each token of a vocabulary: ids (time,) to (time, embedding_dim). The
    first layer of a model of language."""

    kind: Literal["embedding"] = "embedding"
    num_embeddings: PositiveInt | None = None
    """Left out: as many as the tokenizer has tokens."""
    embedding_dim: PositiveInt
    """Numbers of each vector."""


class FinalState(_Layer):
    """State of a recurrent layer after its last step: (time, features) to (features,)."""

    kind: Literal["final_state"] = "final_state"
    bidirectional: bool = False
    """The second half of the features is of the way back, which ends at the first time."""


# ---- norms


class BatchNormLayer(_Layer):
    """torch's BatchNorm of (features,), (channels, length) or (channels, height, width)."""

    kind: Literal["batch_norm"] = "batch_norm"
    eps: Positive = 1e-5
    momentum: UnitInterval = 0.1
    affine: bool = True
    bias: bool | None = None
    """Add a shift beside the scale. Left out: true, but where a norm of the batch
    further on takes it away again."""


class LayerNormLayer(_Layer):
    """torch's LayerNorm over the last axis."""

    kind: Literal["layer_norm"] = "layer_norm"
    eps: Positive = 1e-5
    elementwise_affine: bool = True
    bias: bool | None = None
    """Add a shift beside the scale. Left out: true, but where a norm of the batch
    further on takes it away again."""


class RMSNorm(_Layer):
    """torch's RMSNorm over the last axis (Zhang and Sennrich 2019, arXiv 1910.07467)."""

    kind: Literal["rms_norm"] = "rms_norm"
    eps: Positive = 1e-5
    elementwise_affine: bool = True


class GroupNorm(_Layer):
    """torch's GroupNorm of (channels, …) (Wu and He 2018, arXiv 1803.08494)."""

    kind: Literal["group_norm"] = "group_norm"
    num_groups: PositiveInt
    eps: Positive = 1e-5
    affine: bool = True


# ---- pooling


class MaxPool1d(_Layer):
    """The largest of each window of (channels, length)."""

    kind: Literal["max_pool1d"] = "max_pool1d"
    kernel_size: Window
    stride: Window | None = None
    """Left out: the kernel's size."""
    padding: Pad = 0
    dilation: Window = 1
    ceil_mode: bool = False


class MaxPool2d(_Layer):
    """The largest of each window of (channels, height, width)."""

    kind: Literal["max_pool2d"] = "max_pool2d"
    kernel_size: Pair
    stride: Pair | None = None
    """Left out: the kernel's size."""
    padding: PadPair = (0, 0)
    dilation: Pair = (1, 1)
    ceil_mode: bool = False


class AvgPool1d(_Layer):
    """The mean of each window of (channels, length)."""

    kind: Literal["avg_pool1d"] = "avg_pool1d"
    kernel_size: Window
    stride: Window | None = None
    """Left out: the kernel's size."""
    padding: Pad = 0
    ceil_mode: bool = False
    count_include_pad: bool = True


class AvgPool2d(_Layer):
    """The mean of each window of (channels, height, width)."""

    kind: Literal["avg_pool2d"] = "avg_pool2d"
    kernel_size: Pair
    stride: Pair | None = None
    """Left out: the kernel's size."""
    padding: PadPair = (0, 0)
    ceil_mode: bool = False
    count_include_pad: bool = True


class AdaptiveAvgPool1d(_Layer):
    """Means of (channels, length) over as many windows as are asked for."""

    kind: Literal["adaptive_avg_pool1d"] = "adaptive_avg_pool1d"
    output_size: Window


class AdaptiveAvgPool2d(_Layer):
    """Means of (channels, height, width) over as many windows as are asked for."""

    kind: Literal["adaptive_avg_pool2d"] = "adaptive_avg_pool2d"
    output_size: Pair


class Upsample(_Layer):
    """Repeat each number of (channels, length) or (channels, height, width) to the nearest places
    of an axis `scale_factor` times as long."""

    kind: Literal["upsample"] = "upsample"
    scale_factor: Annotated[int, Field(ge=1, le=64), WHOLE]


# ---- activations


class ReLU(_Layer):
    kind: Literal["relu"] = "relu"


class LeakyReLU(_Layer):
    kind: Literal["leaky_relu"] = "leaky_relu"
    negative_slope: NonNegative = 0.01


class ELU(_Layer):
    kind: Literal["elu"] = "elu"
    alpha: NonNegative = 1.0


class SELU(_Layer):
    kind: Literal["selu"] = "selu"


class GELU(_Layer):
    kind: Literal["gelu"] = "gelu"
    approximate: Literal["none", "tanh"] = "none"


class SiLU(_Layer):
    kind: Literal["silu"] = "silu"


class Mish(_Layer):
    kind: Literal["mish"] = "mish"


class Softplus(_Layer):
    kind: Literal["softplus"] = "softplus"


class Softsign(_Layer):
    kind: Literal["softsign"] = "softsign"


class Tanh(_Layer):
    kind: Literal["tanh"] = "tanh"


class Sigmoid(_Layer):
    kind: Literal["sigmoid"] = "sigmoid"


class Hardswish(_Layer):
    kind: Literal["hardswish"] = "hardswish"


class Identity(_Layer):
    kind: Literal["identity"] = "identity"


class Dropout(_Layer):
    """torch's Dropout: each number is 0 with probability `p`, the others grow by 1/(1 − p)."""

    kind: Literal["dropout"] = "dropout"
    p: Fraction = 0.5


# ---- shapes


class Flatten(_Layer):
    """Axes `start_dim` to `end_dim` become one."""

    kind: Literal["flatten"] = "flatten"
    start_dim: Dim = 1
    end_dim: Dim = -1


class Unflatten(_Layer):
    """Axis `dim` becomes several."""

    kind: Literal["unflatten"] = "unflatten"
    dim: Dim = 1
    unflattened_size: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=4)]


class Transpose(_Layer):
    """Two axes change places."""

    kind: Literal["transpose"] = "transpose"
    dim0: Dim = 1
    dim1: Dim = 2


class Select(_Layer):
    """One place of an axis, which goes: the last time of a sequence, say (`dim` 1, `index` −1)."""

    kind: Literal["select"] = "select"
    dim: Dim = 1
    index: Annotated[int, Field(ge=-(2**31), lt=2**31), WHOLE] = -1


class Mean(_Layer):
    """The mean over an axis, which goes."""

    kind: Literal["mean"] = "mean"
    dim: Dim = 1


# ---- composition

Layers = Annotated[tuple["Layer", ...], Field(max_length=1000)]


class Residual(_Layer):
    """Layers whose output is added to their input (He et al. 2015, arXiv 1512.03385)."""

    kind: Literal["residual"] = "residual"
    layers: Layers
    shortcut: Layers = ()
    """Layers that the input goes through before it is added; none: it is added as it is."""


class Branches(_Layer):
    """Lists of layers that all take the same input, and whose outputs are put together."""

    kind: Literal["branches"] = "branches"
    branches: Annotated[tuple[Layers, ...], Field(min_length=1, max_length=100)]
    combine: Literal["cat", "sum"] = "cat"
    dim: Dim = 1
    """The axis along which `cat` puts them together."""


class Skip(_Layer):
    """The output of an earlier layer of the same list, added to this place's or put behind it."""

    kind: Literal["skip"] = "skip"
    source: Name
    """Name of that layer."""
    combine: Literal["sum", "cat"] = "sum"
    dim: Dim = 1


Activation = (
    ReLU
    | LeakyReLU
    | ELU
    | SELU
    | GELU
    | SiLU
    | Mish
    | Softplus
    | Softsign
    | Tanh
    | Sigmoid
    | Hardswish
    | Identity
)

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
