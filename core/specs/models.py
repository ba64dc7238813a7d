"""Models: what maps a row of features to outputs. Input and output widths follow from the data."""

from typing import Annotated, Literal, Protocol, runtime_checkable

from pydantic import BeforeValidator, Field

from core.specs.base import Fraction, NonNegative, Positive, PositiveInt, Spec, UnitInterval
from core.specs.layers.kinds import Layer

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


class LinearModel(Spec):
    """An affine map: linear, logistic or softmax regression, depending on the loss."""

    kind: Literal["linear"]
    bias: bool = True
    init: Initializer = KaimingUniform()


class MLP(Spec):
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


class LayerList(Spec):
    """Any model, said layer by layer; the last one gives the outputs."""

    kind: Literal["layers"]
    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=1000)]
    init: Initializer = TorchDefault(kind="torch_default")


Model = Annotated[LinearModel | MLP | LayerList, Field(discriminator="kind")]
