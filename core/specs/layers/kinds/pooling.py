"""Pooling over windows, and its opposite."""

from typing import Annotated, Literal

from pydantic import Field

from core.specs.base import WHOLE
from core.specs.layers.kinds.base import NamedLayer, Pad, PadPair, Pair, Window


class MaxPool1d(NamedLayer):
    """The largest of each window of (channels, length)."""

    kind: Literal["max_pool1d"] = "max_pool1d"
    kernel_size: Window
    stride: Window | None = None
    """Left out: the kernel's size."""
    padding: Pad = 0
    dilation: Window = 1
    ceil_mode: bool = False


class MaxPool2d(NamedLayer):
    """The largest of each window of (channels, height, width)."""

    kind: Literal["max_pool2d"] = "max_pool2d"
    kernel_size: Pair
    stride: Pair | None = None
    """Left out: the kernel's size."""
    padding: PadPair = (0, 0)
    dilation: Pair = (1, 1)
    ceil_mode: bool = False


class AvgPool1d(NamedLayer):
    """The mean of each window of (channels, length)."""

    kind: Literal["avg_pool1d"] = "avg_pool1d"
    kernel_size: Window
    stride: Window | None = None
    """Left out: the kernel's size."""
    padding: Pad = 0
    ceil_mode: bool = False
    count_include_pad: bool = True


class AvgPool2d(NamedLayer):
    """The mean of each window of (channels, height, width)."""

    kind: Literal["avg_pool2d"] = "avg_pool2d"
    kernel_size: Pair
    stride: Pair | None = None
    """Left out: the kernel's size."""
    padding: PadPair = (0, 0)
    ceil_mode: bool = False
    count_include_pad: bool = True


class AdaptiveAvgPool1d(NamedLayer):
    """Means of (channels, length) over as many windows as are asked for."""

    kind: Literal["adaptive_avg_pool1d"] = "adaptive_avg_pool1d"
    output_size: Window


class AdaptiveAvgPool2d(NamedLayer):
    """Means of (channels, height, width) over as many windows as are asked for."""

    kind: Literal["adaptive_avg_pool2d"] = "adaptive_avg_pool2d"
    output_size: Pair


class Upsample(NamedLayer):
    """Repeat each number of (channels, length) or (channels, height, width) to the nearest places
    of an axis `scale_factor` times as long."""

    kind: Literal["upsample"] = "upsample"
    scale_factor: Annotated[int, Field(ge=1, le=64), WHOLE]
