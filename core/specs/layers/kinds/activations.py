"""Activations, and dropout."""

from typing import Literal

from core.specs.base import Fraction, NonNegative
from core.specs.layers.kinds.base import NamedLayer


class ReLU(NamedLayer):
    kind: Literal["relu"] = "relu"


class LeakyReLU(NamedLayer):
    kind: Literal["leaky_relu"] = "leaky_relu"
    negative_slope: NonNegative = 0.01


class ELU(NamedLayer):
    kind: Literal["elu"] = "elu"
    alpha: NonNegative = 1.0


class SELU(NamedLayer):
    kind: Literal["selu"] = "selu"


class GELU(NamedLayer):
    kind: Literal["gelu"] = "gelu"
    approximate: Literal["none", "tanh"] = "none"


class SiLU(NamedLayer):
    kind: Literal["silu"] = "silu"


class Mish(NamedLayer):
    kind: Literal["mish"] = "mish"


class Softplus(NamedLayer):
    kind: Literal["softplus"] = "softplus"


class Softsign(NamedLayer):
    kind: Literal["softsign"] = "softsign"


class Tanh(NamedLayer):
    kind: Literal["tanh"] = "tanh"


class Sigmoid(NamedLayer):
    kind: Literal["sigmoid"] = "sigmoid"


class Hardswish(NamedLayer):
    kind: Literal["hardswish"] = "hardswish"


class Identity(NamedLayer):
    kind: Literal["identity"] = "identity"


class Dropout(NamedLayer):
    """torch's Dropout: each number is 0 with probability `p`, the others grow by 1/(1 − p)."""

    kind: Literal["dropout"] = "dropout"
    p: Fraction = 0.5


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
