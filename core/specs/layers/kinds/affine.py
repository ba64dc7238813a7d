"""Affine maps: linear, and convolutions."""

from typing import Literal

from core.specs.base import PositiveInt
from core.specs.layers.kinds.base import (
    NamedLayer,
    Pad,
    Padding1d,
    Padding2d,
    PaddingMode,
    PadPair,
    Pair,
    Window,
)


class LinearLayer(NamedLayer):
    """An affine map of the last axis."""

    kind: Literal["linear"] = "linear"
    out_features: PositiveInt | None = None
    """Left out (in a model's last layer): as many as the problem asks for."""
    bias: bool | None = None
    """Add a bias. Left out: true, but where a norm of the batch further on takes it
    away again."""


class Conv1d(NamedLayer):
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


class Conv2d(NamedLayer):
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


class ConvTranspose1d(NamedLayer):
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


class ConvTranspose2d(NamedLayer):
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
