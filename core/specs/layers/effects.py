"""Effects of one layer on a row: the output's shape, its parameters, its work.

The rules are those of torch 2.13's modules; a property test holds them against torch's meta device.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, assert_never

from core.specs.layers import kinds as k

Shape = tuple[int, ...]
"""Shape of one row: without the axis of the rows."""

Fill = Literal["weight", "bias", "one", "zero", "recurrent", "attention", "positions", "embedding"]
"""Beginning of a parameter: as the model's `init` says (weights, and the biases beside them), at 1
or 0, or as torch draws it where `init` is `torch_default`."""


class Parameter(NamedTuple):
    """A parameter of a layer.

    Attributes:
        name: as the layer's module has it; with the layer's own before it in a model.
        fan_in: inputs that a number of the output depends on: the scale of `torch_default`.
    """

    name: str
    shape: Shape
    fill: Fill
    fan_in: int

    @property
    def numel(self) -> int:
        return math.prod(self.shape)


class Effect(NamedTuple):
    """The effect of a layer on a row.

    Attributes:
        multiply_adds: of one row's forward pass: of products with weights, and of what is added to
            or multiplied with their results by parameters; what has no parameters counts for none.
        kept: numbers that a training step keeps for a row, from above.
    """

    output: Shape
    parameters: tuple[Parameter, ...] = ()
    multiply_adds: int = 0
    kept: int = 0


class ShapeError(ValueError):
    """Says why a layer cannot take a shape; the text goes on after the layer's name."""


def effect(layer: k.Leaf, shape: Shape) -> Effect:  # noqa: C901, PLR0912 (one case a kind)
    """Return what the layer does to a row of this shape.

    Raises:
        ShapeError: it cannot take it.
    """
    match layer:
        case k.LinearLayer():
            return _linear(layer, shape)
        case k.Conv1d() | k.Conv2d():
            return _convolution(layer, shape)
        case k.ConvTranspose1d() | k.ConvTranspose2d():
            return _transposed(layer, shape)
        case k.EmbedCategories():
            return _vectors(layer, shape)
        case k.RNN() | k.LSTM() | k.GRU():
            return _recurrent(layer, shape)
        case k.MultiheadAttention():
            return _attention(layer, shape)
        case k.Positions():
            _axes(layer, shape, 2, "(time, features)")
            numbers = math.prod(shape)
            return Effect(shape, (Parameter("weight", shape, "positions", 1),), numbers, numbers)
        case k.Embedding():
            return _embedding(layer, shape)
        case k.FinalState():
            _axes(layer, shape, 2, "(time, features)")
            if layer.bidirectional and shape[1] % 2:
                raise ShapeError(
                    f"is of two directions, and gets {shape[1]} features, an odd number"
                )
            return _moved((shape[1],))
        case k.BatchNormLayer() | k.GroupNorm() | k.LayerNormLayer() | k.RMSNorm():
            return _norm(layer, shape)
        case k.MaxPool1d() | k.MaxPool2d() | k.AvgPool1d() | k.AvgPool2d():
            return _pool(layer, shape)
        case k.AdaptiveAvgPool1d(output_size=size):
            return _resized(layer, shape, (size,))
        case k.AdaptiveAvgPool2d(output_size=sizes):
            return _resized(layer, shape, sizes)
        case k.Upsample(scale_factor=factor):
            if len(shape) not in (2, 3):
                raise ShapeError(_takes("(channels, length) or (channels, height, width)", shape))
            return _moved((shape[0], *(factor * size for size in shape[1:])))
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


def shown(shape: Sequence[int]) -> str:
    """Write a shape as messages have it: `(1, 8, 8)`."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def axis(dim: int, axes: int, field: str) -> int:
    """Return the axis of a row's shape that `dim` names, where torch counts the rows as 0."""
    place = dim - 1 if dim > 0 else dim + axes
    if dim == 0 or not 0 <= place < axes:
        raise ShapeError(
            f"{field} {dim} is none of the row's axes: 1 to {axes}, or −{axes} to −1"
            if dim
            else f"{field} 0 is the axis of the rows; a row's own are 1 to {axes}"
        )
    return place


def _takes(wanted: str, shape: Shape) -> str:
    return f"takes {wanted}, and gets {shown(shape)}"


def _axes(layer: k.Leaf, shape: Shape, count: int, wanted: str) -> None:
    if len(shape) != count:
        raise ShapeError(_takes(wanted, shape))


def _moved(shape: Shape) -> Effect:
    return Effect(shape, kept=math.prod(shape))


def _linear(layer: k.LinearLayer, shape: Shape) -> Effect:
    if not shape:
        raise ShapeError(_takes("(…, features)", shape))
    if layer.out_features is None:
        raise ShapeError("has no out_features; only a model's last layer may leave them out")
    outputs, inputs = layer.out_features, shape[-1]
    output = (*shape[:-1], outputs)
    return _weighted(output, (outputs, inputs), outputs, layer.bias, math.prod(output))


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
        raise ShapeError(_takes(_IMAGES[axes], shape))
    for name, channels in (("input", shape[0]), ("out_channels", layer.out_channels)):
        if channels % layer.groups:
            raise ShapeError(f"has groups {layer.groups}, which do not divide {name} {channels}")


def _convolution(layer: k.Conv1d | k.Conv2d, shape: Shape) -> Effect:
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
    found = _weighted(output, weight, layer.out_channels, layer.bias, math.prod(output))
    if layer.padding_mode == "zeros":
        return found
    with_padding = [
        size + both_sides * pad for size, pad in zip(shape[1:], window.padding, strict=True)
    ]
    return found._replace(kept=found.kept + shape[0] * math.prod(with_padding))  # it is made


def _transposed(layer: k.ConvTranspose1d | k.ConvTranspose2d, shape: Shape) -> Effect:
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
    return _weighted(output, weight, layer.out_channels, layer.bias, math.prod(shape))


def _weighted(output: Shape, weight: Shape, channels: int, bias: bool | None, times: int) -> Effect:
    """Return the effect of a layer whose weight meets `times` numbers of a row's output (or, of a
    transposed one, input), a slice weight[0] each."""
    fan_in = math.prod(weight[1:])
    parameters = [Parameter("weight", weight, "weight", fan_in)]
    if bias is not False:
        parameters.append(Parameter("bias", (channels,), "bias", fan_in))
    numbers = math.prod(output)
    work = fan_in * times + (numbers if bias is not False else 0)
    return Effect(output, tuple(parameters), work, 2 * numbers)


def _vectors(layer: k.EmbedCategories, shape: Shape) -> Effect:
    _axes(layer, shape, 1, "(features,)")
    end = 0
    for start, width in layer.places:
        if start < end:
            raise ShapeError(f"has a place from column {start}, which is before column {end}")
        end = start + width
    if end > shape[0]:
        raise ShapeError(f"has a place up to column {end - 1}, and gets {shown(shape)}")
    columns = sum(width for _, width in layer.places)
    numbers = layer.embedding_dim * len(layer.places)
    output = shape[0] - columns + numbers
    weight = Parameter("weight", (columns, layer.embedding_dim), "weight", layer.embedding_dim)
    return Effect((output,), (weight,), columns * layer.embedding_dim, 2 * numbers + output)


def _recurrent(layer: k.RNN | k.LSTM | k.GRU, shape: Shape) -> Effect:
    _axes(layer, shape, 2, "(time, features)")
    if layer.dropout and layer.num_layers == 1:
        raise ShapeError("has dropout, which is between its layers, and one layer only")
    gates = GATES[layer.kind]
    hidden, directions = layer.hidden_size, 2 if layer.bidirectional else 1
    parameters, work = [], 0
    inputs = shape[1]
    for number in range(layer.num_layers):
        for suffix in ("", "_reverse")[:directions]:
            own: list[tuple[str, Shape]] = [
                ("weight_ih", (gates * hidden, inputs)),
                ("weight_hh", (gates * hidden, hidden)),
            ]
            if layer.bias:
                own += [("bias_ih", (gates * hidden,)), ("bias_hh", (gates * hidden,))]
            parameters += [
                Parameter(f"{name}_l{number}{suffix}", size, "recurrent", hidden)
                for name, size in own
            ]
            work += shape[0] * gates * hidden * (inputs + hidden)
        inputs = directions * hidden
    kept = shape[0] * layer.num_layers * directions * hidden * (2 * gates + 4)
    return Effect((shape[0], inputs), tuple(parameters), work, kept)


GATES = {"rnn": 1, "lstm": 4, "gru": 3}


def _embedding(layer: k.Embedding, shape: Shape) -> Effect:
    _axes(layer, shape, 1, "(time,)")
    if layer.num_embeddings is None:
        raise ShapeError("has no num_embeddings, which only a problem with a tokenizer fills in")
    size = (layer.num_embeddings, layer.embedding_dim)
    output = (shape[0], layer.embedding_dim)
    return Effect(output, (Parameter("weight", size, "embedding", 1),), 0, 2 * math.prod(output))


def _attention(layer: k.MultiheadAttention, shape: Shape) -> Effect:
    _axes(layer, shape, 2, "(time, features)")
    time, width = shape
    if width % layer.num_heads:
        near = max(n for n in range(1, min(width, layer.num_heads) + 1) if width % n == 0)
        raise ShapeError(
            f"has num_heads {layer.num_heads}, which do not divide {width} features: give a divisor"
            f" of these, such as {near}"
        )
    if layer.rotary and width // layer.num_heads % 2:
        raise ShapeError(
            f"is rotary, which needs an even number of features a head; it has"
            f" {width // layer.num_heads}: give other heads or features, or learned positions"
        )
    parameters = [Parameter("in_proj_weight", (3 * width, width), "attention", width)]
    if layer.bias:
        parameters.append(Parameter("in_proj_bias", (3 * width,), "zero", width))
    parameters.append(Parameter("out_proj.weight", (width, width), "weight", width))
    if layer.bias:
        parameters.append(Parameter("out_proj.bias", (width,), "zero", width))
    work = 4 * time * width * width + 2 * time * time * width
    kept = 10 * time * width + 4 * layer.num_heads * time * time
    return Effect(shape, tuple(parameters), work, kept)


def _norm(
    layer: k.BatchNormLayer | k.GroupNorm | k.LayerNormLayer | k.RMSNorm, shape: Shape
) -> Effect:
    if not shape:
        raise ShapeError(_takes("(…, features)", shape))
    by_channels = isinstance(layer, (k.BatchNormLayer, k.GroupNorm))
    width = shape[0] if by_channels else shape[-1]
    match layer:
        case k.BatchNormLayer(affine=scaled, bias=shifted):
            if len(shape) > 3:
                raise ShapeError(
                    _takes("(features,), (channels, length) or (channels, height, width)", shape)
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


def _pool(layer: k.MaxPool1d | k.MaxPool2d | k.AvgPool1d | k.AvgPool2d, shape: Shape) -> Effect:
    size = _tuple(layer.kernel_size)
    stride = size if layer.stride is None else _tuple(layer.stride)
    pads = _tuple(layer.padding)
    dilation = (1,) * len(size)
    if isinstance(layer, (k.MaxPool1d, k.MaxPool2d)):
        dilation = _tuple(layer.dilation)
    window = _Window(size, stride, pads, dilation)
    if len(shape) != len(size) + 1:
        raise ShapeError(_takes(_IMAGES[len(size)], shape))
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
    return _moved((shape[0], *sizes))


def _resized(layer: k.Leaf, shape: Shape, sizes: Shape) -> Effect:
    if len(shape) != len(sizes) + 1:
        raise ShapeError(_takes(_IMAGES[len(sizes)], shape))
    return _moved((shape[0], *sizes))


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
            return _moved((*shape[:place], *shape[place + 1 :]))
        case k.Mean():
            place = axis(layer.dim, axes, "dim")
            return _moved((*shape[:place], *shape[place + 1 :]))
        case _:
            assert_never(layer)
