"""Effect of one layer on a row: the one entry point is `effect`.

The rules are those of torch 2.13's modules; a property test holds them against torch's meta device.
"""

import math
from typing import assert_never

from core.specs.layers import kinds as k
from core.specs.layers.effects.base import (
    Effect,
    Parameter,
    Shape,
    ShapeError,
    axis,
    check_axes,
    moved,
    shown,
    takes,
    weighted,
)
from core.specs.layers.effects.images import convolution, pool, resized, transposed
from core.specs.layers.effects.sequences import attention, embedding, recurrent, vectors


def effect(layer: k.Leaf, shape: Shape) -> Effect:  # noqa: C901, PLR0912 (one case a kind)
    """Return what the layer does to a row of this shape.

    Raises:
        ShapeError: it cannot take it.
    """
    match layer:
        case k.LinearLayer():
            return _linear(layer, shape)
        case k.Conv1d() | k.Conv2d():
            return convolution(layer, shape)
        case k.ConvTranspose1d() | k.ConvTranspose2d():
            return transposed(layer, shape)
        case k.EmbedCategories():
            return vectors(layer, shape)
        case k.RNN() | k.LSTM() | k.GRU():
            return recurrent(layer, shape)
        case k.MultiheadAttention():
            return attention(layer, shape)
        case k.Positions():
            check_axes(shape, 2, "(time, features)")
            numbers = math.prod(shape)
            return Effect(shape, (Parameter("weight", shape, "positions", 1),), numbers, numbers)
        case k.Embedding():
            return embedding(layer, shape)
        case k.FinalState():
            check_axes(shape, 2, "(time, features)")
            if layer.bidirectional and shape[1] % 2:
                raise ShapeError(
                    f"is of two directions, and gets {shape[1]} features, an odd number"
                )
            return moved((shape[1],))
        case k.BatchNormLayer() | k.GroupNorm() | k.LayerNormLayer() | k.RMSNorm():
            return _norm(layer, shape)
        case k.MaxPool1d() | k.MaxPool2d() | k.AvgPool1d() | k.AvgPool2d():
            return pool(layer, shape)
        case k.AdaptiveAvgPool1d(output_size=size):
            return resized(layer, shape, (size,))
        case k.AdaptiveAvgPool2d(output_size=sizes):
            return resized(layer, shape, sizes)
        case k.Upsample(scale_factor=factor):
            if len(shape) not in (2, 3):
                raise ShapeError(takes("(channels, length) or (channels, height, width)", shape))
            return moved((shape[0], *(factor * size for size in shape[1:])))
        case k.Dropout(p=p):
            return Effect(shape, kept=3 * math.prod(shape) if p else 0)
        case k.Flatten() | k.Unflatten() | k.Transpose() | k.Select() | k.Mean():
            return _rearranged(layer, shape)
        case k.Identity():
            return Effect(shape)
        case (
            k.ReLU() | k.LeakyReLU() | k.ELU() | k.SELU() | k.GELU() | k.SiLU() | k.Mish()
            | k.Softplus() | k.Softsign() | k.Tanh() | k.Sigmoid() | k.Hardswish()
        ):  # fmt: skip
            return Effect(shape, kept=2 * math.prod(shape))
        case _:
            assert_never(layer)


def _linear(layer: k.LinearLayer, shape: Shape) -> Effect:
    if not shape:
        raise ShapeError(takes("(…, features)", shape))
    if layer.out_features is None:
        raise ShapeError("has no out_features; only a model's last layer may leave them out")
    outputs, inputs = layer.out_features, shape[-1]
    output = (*shape[:-1], outputs)
    return weighted(output, (outputs, inputs), outputs, layer.bias, math.prod(output))


def _norm(
    layer: k.BatchNormLayer | k.GroupNorm | k.LayerNormLayer | k.RMSNorm, shape: Shape
) -> Effect:
    if not shape:
        raise ShapeError(takes("(…, features)", shape))
    by_channels = isinstance(layer, (k.BatchNormLayer, k.GroupNorm))
    width = shape[0] if by_channels else shape[-1]
    match layer:
        case k.BatchNormLayer(affine=scaled, bias=shifted):
            if len(shape) > 3:
                raise ShapeError(
                    takes("(features,), (channels, length) or (channels, height, width)", shape)
                )
        case k.GroupNorm(affine=scaled):
            shifted = scaled
            if width % layer.num_groups:
                raise ShapeError(f"has num_groups {layer.num_groups}, which do not divide {width}")
        case k.LayerNormLayer(elementwise_affine=scaled, bias=shifted):
            pass
        case k.RMSNorm(elementwise_affine=scaled):
            shifted = False
        case _:
            assert_never(layer)
    parameters = []
    if scaled:
        parameters.append(Parameter("weight", (width,), "one", width))
        if shifted is not False:
            parameters.append(Parameter("bias", (width,), "zero", width))
    numbers = math.prod(shape)
    return Effect(shape, tuple(parameters), len(parameters) * numbers, 5 * numbers)


def _rearranged(
    layer: k.Flatten | k.Unflatten | k.Transpose | k.Select | k.Mean, shape: Shape
) -> Effect:
    axes = len(shape)
    match layer:
        case k.Flatten():
            first, last = (
                axis(layer.start_dim, axes, "start_dim"),
                axis(layer.end_dim, axes, "end_dim"),
            )
            if first > last:
                raise ShapeError(f"has start_dim {layer.start_dim} behind end_dim {layer.end_dim}")
            joined = math.prod(shape[first : last + 1])
            return Effect((*shape[:first], joined, *shape[last + 1 :]))
        case k.Unflatten():
            place = axis(layer.dim, axes, "dim")
            if math.prod(layer.unflattened_size) != shape[place]:
                raise ShapeError(
                    f"makes {shown(layer.unflattened_size)} of an axis of {shape[place]}, which is"
                    f" {math.prod(layer.unflattened_size)} numbers"
                )
            return Effect((*shape[:place], *layer.unflattened_size, *shape[place + 1 :]))
        case k.Transpose():
            places = list(shape)
            one, two = axis(layer.dim0, axes, "dim0"), axis(layer.dim1, axes, "dim1")
            places[one], places[two] = places[two], places[one]
            return Effect(tuple(places))
        case k.Select():
            place = axis(layer.dim, axes, "dim")
            if not -shape[place] <= layer.index < shape[place]:
                raise ShapeError(f"has index {layer.index} of an axis of {shape[place]}")
            return moved((*shape[:place], *shape[place + 1 :]))
        case k.Mean():
            place = axis(layer.dim, axes, "dim")
            return moved((*shape[:place], *shape[place + 1 :]))
        case _:
            assert_never(layer)
