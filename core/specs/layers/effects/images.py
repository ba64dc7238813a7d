"""Effects of layers that slide a window over images and series."""

import math
from typing import NamedTuple

from core.specs.layers import kinds as k
from core.specs.layers.effects.base import Effect, Shape, ShapeError, moved, shown, takes, weighted

_IMAGES = {1: "(channels, length)", 2: "(channels, height, width)"}


class _Window(NamedTuple):
    """A kernel along each axis, as tuples."""

    size: Shape
    stride: Shape
    padding: Shape
    dilation: Shape

    @property
    def extents(self) -> list[int]:
        return [d * (n - 1) + 1 for n, d in zip(self.size, self.dilation, strict=True)]


def _tuple(value: int | Shape) -> Shape:
    return (value,) if isinstance(value, int) else value


def _kernel(layer: k.Conv1d | k.Conv2d | k.ConvTranspose1d | k.ConvTranspose2d) -> _Window:
    size, dilation = _tuple(layer.kernel_size), _tuple(layer.dilation)
    stride = _tuple(layer.stride)
    if layer.padding == "same":
        if any(step != 1 for step in stride):
            raise ShapeError("cannot have padding same with a stride above 1: give a number")
        # torch pads the far side more where the sum is odd.
        padding = tuple(d * (n - 1) for n, d in zip(size, dilation, strict=True))
        return _Window(size, stride, padding, dilation)
    return _Window(size, stride, _tuple(layer.padding), dilation)


def _check_channels(
    layer: k.Conv1d | k.Conv2d | k.ConvTranspose1d | k.ConvTranspose2d, shape: Shape, axes: int
) -> None:
    if len(shape) != axes + 1:
        raise ShapeError(takes(_IMAGES[axes], shape))
    for name, channels in (("input", shape[0]), ("out_channels", layer.out_channels)):
        if channels % layer.groups:
            raise ShapeError(f"has groups {layer.groups}, which do not divide {name} {channels}")


def convolution(layer: k.Conv1d | k.Conv2d, shape: Shape) -> Effect:
    """Return the effect of a convolution. Raises `ShapeError`."""
    window = _kernel(layer)
    _check_channels(layer, shape, len(window.size))
    sizes = []
    both_sides = 1 if layer.padding == "same" else 2
    for size, wide, step, pad in zip(
        shape[1:], window.extents, window.stride, window.padding, strict=True
    ):
        padded = size + both_sides * pad
        if padded < wide:
            raise ShapeError(
                f"has a kernel of {wide} (with its dilation) for {padded} places (with the"
                f" padding) of {shown(shape)}"
            )
        one_side = pad if both_sides == 2 else -(-pad // 2)
        if layer.padding_mode == "reflect" and one_side >= size:
            raise ShapeError(f"cannot reflect {one_side} places of {size}")
        if layer.padding_mode == "circular" and one_side > size:
            raise ShapeError(f"cannot wrap {one_side} places of {size}")
        sizes.append((padded - wide) // step + 1)
    output = (layer.out_channels, *sizes)
    weight = (layer.out_channels, shape[0] // layer.groups, *window.size)
    found = weighted(output, weight, layer.out_channels, layer.bias, math.prod(output))
    if layer.padding_mode == "zeros":
        return found
    with_padding = [
        size + both_sides * pad for size, pad in zip(shape[1:], window.padding, strict=True)
    ]
    return found._replace(kept=found.kept + shape[0] * math.prod(with_padding))  # it is made


def transposed(layer: k.ConvTranspose1d | k.ConvTranspose2d, shape: Shape) -> Effect:
    """Return the effect of a transposed convolution. Raises `ShapeError`."""
    window = _kernel(layer)
    _check_channels(layer, shape, len(window.size))
    sizes = []
    extra = _tuple(layer.output_padding)
    for size, wide, step, pad, dilation, more in zip(
        shape[1:], window.extents, window.stride, window.padding, window.dilation, extra,
        strict=True,
    ):  # fmt: skip
        if more >= max(step, dilation):
            raise ShapeError(
                f"has output_padding {more}, which must be below its stride {step} or its dilation"
                f" {dilation}"
            )
        found = (size - 1) * step - 2 * pad + wide + more
        if found < 1:
            raise ShapeError(f"has padding {pad}, which leaves nothing of {shown(shape)}")
        sizes.append(found)
    output = (layer.out_channels, *sizes)
    weight = (shape[0], layer.out_channels // layer.groups, *window.size)
    # Each number of the input meets each number of its kernels once.
    return weighted(output, weight, layer.out_channels, layer.bias, math.prod(shape))


def pool(layer: k.MaxPool1d | k.MaxPool2d | k.AvgPool1d | k.AvgPool2d, shape: Shape) -> Effect:
    """Return the effect of pooling. Raises `ShapeError`."""
    size = _tuple(layer.kernel_size)
    stride = size if layer.stride is None else _tuple(layer.stride)
    pads = _tuple(layer.padding)
    dilation = (1,) * len(size)
    if isinstance(layer, (k.MaxPool1d, k.MaxPool2d)):
        dilation = _tuple(layer.dilation)
    window = _Window(size, stride, pads, dilation)
    if len(shape) != len(size) + 1:
        raise ShapeError(takes(_IMAGES[len(size)], shape))
    sizes = []
    for length, wide, step, pad, kernel in zip(
        shape[1:], window.extents, stride, pads, size, strict=True
    ):
        if pad > kernel // 2:
            raise ShapeError(f"has padding {pad}, more than half of its kernel")
        left = length + 2 * pad - wide
        places = (left + (step - 1 if layer.ceil_mode else 0)) // step + 1
        if layer.ceil_mode and (places - 1) * step >= length + pad:
            places -= 1  # its window would begin in the padding behind
        if places < 1:
            raise ShapeError(f"has a kernel of {wide} for {length + 2 * pad} places")
        sizes.append(places)
    return moved((shape[0], *sizes))


def resized(layer: k.Leaf, shape: Shape, sizes: Shape) -> Effect:
    """Return the effect of pooling to so many places an axis. Raises `ShapeError`."""
    if len(shape) != len(sizes) + 1:
        raise ShapeError(takes(_IMAGES[len(sizes)], shape))
    return moved((shape[0], *sizes))
