"""Models: what maps a row of features to outputs. Input and output widths follow from the data."""

from typing import Annotated, Literal, Protocol, runtime_checkable

from pydantic import BeforeValidator, Field
from pydantic.json_schema import SkipJsonSchema

from core.specs.base import (
    DATA_PATTERN,
    WHOLE,
    Fraction,
    NonNegative,
    Positive,
    PositiveInt,
    Spec,
    UnitInterval,
)
from core.specs.layers.kinds import LONGEST, Layer

Activation = Literal[
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "softsign",
    "tanh",
    "sigmoid",
    "hardswish",
    "identity",
]


class TorchDefault(Spec):
    """The initialization of torch.nn.Linear: weights and biases uniform in ±1/√fan_in."""

    kind: Literal["torch_default"]


class KaimingUniform(Spec):
    """Kaiming initialization (He et al. 2015, arXiv 1502.01852): gain of ReLU, fan-in; zero
    biases."""

    kind: Literal["kaiming_uniform"] = "kaiming_uniform"


class KaimingNormal(Spec):
    kind: Literal["kaiming_normal"]


class XavierUniform(Spec):
    """Xavier initialization (Glorot and Bengio 2010); zero biases."""

    kind: Literal["xavier_uniform"]
    gain: Positive = 1.0


class XavierNormal(Spec):
    kind: Literal["xavier_normal"]
    gain: Positive = 1.0


class Orthogonal(Spec):
    """Orthogonal initialization (Saxe et al. 2013, arXiv 1312.6120); zero biases."""

    kind: Literal["orthogonal"]
    gain: Positive = 1.0


class Normal(Spec):
    kind: Literal["normal"]
    mean: float = 0.0
    std: NonNegative = 0.01


class Uniform(Spec):
    kind: Literal["uniform"]
    low: float = -0.1
    high: float = 0.1


class ConstantInit(Spec):
    kind: Literal["constant"]
    value: float = 0.0


Initializer = Annotated[
    TorchDefault
    | KaimingUniform
    | KaimingNormal
    | XavierUniform
    | XavierNormal
    | Orthogonal
    | Normal
    | Uniform
    | ConstantInit,
    Field(discriminator="kind"),
]


class BatchNorm(Spec):
    kind: Literal["batch"]
    eps: Positive = 1e-5
    momentum: UnitInterval = 0.1
    bias_before: bool = False
    """Keep parameters that this norm takes away again: the bias of the linear map before it, the
    shift of the norm before it where only `identity` lies between them, the weights of features
    that never change. Their gradients are rounding errors, of which adaptive methods make whole
    steps."""


class LayerNorm(Spec):
    kind: Literal["layer"]
    eps: Positive = 1e-5


def _name_as_kind(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


Norm = Annotated[
    Annotated[BatchNorm | LayerNorm, Field(discriminator="kind")], BeforeValidator(_name_as_kind)
]
"""`"batch"` is short for `{"kind": "batch"}`; the resolved spec shows the long form."""


class StoredWeights(Spec):
    """Name of the stored content of a data set of weights; the service writes it, and no reply
    shows it."""

    file: str


class ModelSpec(Spec):
    """Base of the kinds of models."""

    kind: str
    initial_weights: Annotated[str, Field(pattern=DATA_PATTERN)] | None = None
    """Id of a data set of weights (a safetensors file that was uploaded) to begin with, in place of
    those that `init` draws. Its tensors have the names and shapes of the model's parameters, all of
    them and no others; running statistics of norms may be left out."""
    stored_weights: SkipJsonSchema[StoredWeights | None] = Field(
        default=None, exclude_if=lambda value: value is None
    )


class LinearModel(ModelSpec):
    """An affine map: linear, logistic or softmax regression, depending on the loss."""

    kind: Literal["linear"]
    bias: bool = True
    init: Initializer = KaimingUniform()


class MLP(ModelSpec):
    """Fully connected: linear → norm → activation → dropout for each width in `hidden`, then
    linear."""

    kind: Literal["mlp"]
    hidden: Annotated[tuple[PositiveInt, ...], Field(max_length=1000)] = (64, 64)
    activation: Activation = "relu"
    dropout: Fraction = 0.0
    norm: Norm | None = None
    bias: bool = True
    init: Initializer = KaimingUniform()


@runtime_checkable
class HiddenLayers(Protocol):
    """A kind of model whose hidden layers have one activation, norm and dropout."""

    @property
    def hidden(self) -> tuple[int, ...]: ...
    @property
    def activation(self) -> Activation: ...
    @property
    def norm(self) -> BatchNorm | LayerNorm | None: ...
    @property
    def dropout(self) -> float: ...


class CNN(ModelSpec):
    """A convolutional network (LeCun et al. 1998): for each of `channels` a convolution, norm,
    activation and pooling, then hidden layers, then a linear map.

    A row is (channels, length) or (channels, height, width) as its data have it, an image say; a
    row without a shape is a line of one channel. The window of a forecast has a channel for each
    column of the series, and convolutions go along time.
    """

    kind: Literal["cnn"]
    channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=100)] = (16, 32)
    """Number of channels of each convolution."""
    kernel_size: Annotated[int, Field(ge=1, le=LONGEST), WHOLE] = 3
    """Size of each convolution's window, the same on each axis. (kernel_size − 1)//2 zeros are
    added at each end of an axis, so that an odd size keeps its length."""
    stride: Annotated[int, Field(ge=1, le=LONGEST), WHOLE] = 1
    """Distance between two windows of each convolution."""
    activation: Activation = "relu"
    norm: Norm | None = None
    """Normalization after each convolution; null: none. `layer` is over all numbers of a row, with
    a scale and a shift for each channel."""
    pool: Literal["max", "avg"] | None = "max"
    """Pooling after each convolution, which halves each axis: the largest of two places, or their
    mean; null: none."""
    residual: bool = False
    """Two convolutions in place of each, whose output is added to their input (He et al. 2015,
    arXiv 1512.03385)."""
    hidden: Annotated[tuple[PositiveInt, ...], Field(max_length=100)] = ()
    """Widths of the hidden layers behind the convolutions."""
    dropout: Fraction = 0.0
    """Probability with which dropout zeroes a number before each linear map."""
    init: Initializer = KaimingUniform()


class ResNet(ModelSpec):
    """A residual network for small images (He et al. 2015, arXiv 1512.03385, section 4.2): three
    stages of blocks of two convolutions with `width`, 2 and 4 times as many channels, then the mean
    of each channel and a linear map.

    A row has the shapes that it has for `cnn`. Where the number of channels changes, the shortcut
    is a convolution of size 1 (option B there).
    """

    kind: Literal["resnet"]
    depth: Annotated[int, Field(ge=8, le=1202), WHOLE] = 8
    """Number of layers with weights: 2 and 6 for each block of a stage (8, 14, 20, 26, …)."""
    width: PositiveInt = 16
    """Number of channels of the first stage."""
    activation: Activation = "relu"
    norm: Norm | None = BatchNorm(kind="batch")
    """Normalization after each convolution; null: none. `layer` is over all numbers of a row, with
    a scale and a shift for each channel."""
    init: Initializer = KaimingUniform()


class Tabular(ModelSpec):
    """A residual network for tables (Gorishniy et al. 2021, arXiv 2106.11959, section 3.2), with a
    learned vector for each category.

    Categories are the columns of an upload that are coded `one_hot`; they are not standardized.
    Other columns go in as numbers.
    """

    kind: Literal["tabular"]
    embedding_dim: PositiveInt = 8
    """Numbers of a category's vector."""
    width: PositiveInt = 64
    """Numbers that go from block to block."""
    hidden: Annotated[tuple[PositiveInt, ...], Field(max_length=1000)] = (128, 128)
    """Widths of the hidden layers, one in each block."""
    activation: Activation = "relu"
    norm: Norm | None = BatchNorm(kind="batch")
    """Normalization at the beginning of each block; null: none."""
    dropout: Fraction = 0.0
    """Probability with which dropout zeroes a number of a hidden layer."""
    init: Initializer = TorchDefault(kind="torch_default")


class Autoencoder(ModelSpec):
    """A narrow place between two perceptrons (Hinton and Salakhutdinov 2006): `hidden`, `latent`
    numbers, `hidden` backwards, then a linear map. With no `hidden` it is linear."""

    kind: Literal["autoencoder"]
    hidden: Annotated[tuple[PositiveInt, ...], Field(max_length=100)] = (64,)
    """Widths of the encoder's hidden layers; the decoder has them backwards."""
    latent: PositiveInt = 8
    """Numbers at the narrow place, which has no activation."""
    activation: Activation = "relu"
    init: Initializer = KaimingUniform()


Pooling = Literal["last", "mean"]


class SequenceModel(ModelSpec):
    """A model of sequences.

    The numbers of a row become (length, channels): as the data have them where they are arrays of
    that shape; an image (channels, height, width) is `height` steps of channels x width numbers;
    `length` cuts a plain row into so many steps. Windows of a forecast, and tokens, are sequences
    as they are.
    """

    kind: str
    length: PositiveInt | None = None
    """Steps of a row, each of as many of its numbers in turn. Default: as the data have them; of
    plain rows as many as there are numbers, one each."""
    dropout: Fraction = 0.0
    """Share of the numbers that are left out in training behind each layer but the last (of a
    `transformer`: at the end of each branch)."""
    pooling: Pooling | None = None
    """The way to one vector of all steps: `last`, the state at the end (of both directions), or
    `mean`. A model of language has none, as it gives outputs for each step. Default: `last`; of a
    `transformer` that is not causal `mean`, but for forecasts."""
    init: Initializer = TorchDefault(kind="torch_default")


class RecurrentModel(SequenceModel):
    """Recurrent layers one behind the other, then linear."""

    hidden_size: PositiveInt = 64
    num_layers: Annotated[int, Field(ge=1, le=100), WHOLE] = 1
    bidirectional: bool = False
    """Read each sequence backwards too."""


class RNNModel(RecurrentModel):
    """Elman's recurrent network (1990): h_t = tanh(W x_t + b + U h_(t−1) + c)."""

    kind: Literal["rnn"]
    nonlinearity: Literal["tanh", "relu"] = "tanh"


class LSTMModel(RecurrentModel):
    """Long short-term memory (Hochreiter and Schmidhuber 1997)."""

    kind: Literal["lstm"]


class GRUModel(RecurrentModel):
    """Gated recurrent units (Cho et al. 2014, arXiv 1406.1078)."""

    kind: Literal["gru"]


class Transformer(SequenceModel):
    """Blocks of self-attention and a perceptron of one hidden layer (GELU), each with a norm in
    front and around it a residual connection (Vaswani et al. 2017, arXiv 1706.03762; Xiong et al.
    2020, arXiv 2002.04745), then a norm and linear."""

    kind: Literal["transformer"]
    dim: PositiveInt = 64
    """Width of the vector of each step."""
    num_heads: PositiveInt = 4
    """Heads of attention, which divide `dim`."""
    num_layers: Annotated[int, Field(ge=1, le=100), WHOLE] = 2
    """Number of blocks."""
    mlp_ratio: PositiveInt = 4
    """Width of the perceptrons' hidden layer in terms of `dim`."""
    positions: Literal["learned", "rotary"] = "learned"
    """`learned`: a vector for each step is added. `rotary`: queries and keys are turned by their
    step (Su et al. 2021, arXiv 2104.09864)."""
    causal: bool | None = None
    """Each step sees itself and those before it alone. Default: false, of a model of language
    true."""


class LayerList(ModelSpec):
    """Any model, said layer by layer; the last one gives the outputs."""

    kind: Literal["layers"]
    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=1000)]
    init: Initializer = TorchDefault(kind="torch_default")


Model = Annotated[
    LinearModel
    | MLP
    | CNN
    | ResNet
    | RNNModel
    | LSTMModel
    | GRUModel
    | Transformer
    | Tabular
    | Autoencoder
    | LayerList,
    Field(discriminator="kind"),
]
