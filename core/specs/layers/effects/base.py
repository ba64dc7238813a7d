"""Form of a layer's effect: the output's shape, its parameters, its work."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

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


def takes(wanted: str, shape: Shape) -> str:
    """Say what a layer takes, and what it gets."""
    return f"takes {wanted}, and gets {shown(shape)}"


def check_axes(shape: Shape, count: int, wanted: str) -> None:
    """Check that the shape has so many axes. Raises `ShapeError`."""
    if len(shape) != count:
        raise ShapeError(takes(wanted, shape))


def moved(shape: Shape) -> Effect:
    """Return the effect of a layer without parameters that makes new numbers."""
    return Effect(shape, kept=math.prod(shape))


def weighted(output: Shape, weight: Shape, channels: int, bias: bool | None, times: int) -> Effect:
    """Return the effect of a layer whose weight meets `times` numbers of a row's output (or, of a
    transposed one, input), a slice weight[0] each."""
    fan_in = math.prod(weight[1:])
    parameters = [Parameter("weight", weight, "weight", fan_in)]
    if bias is not False:
        parameters.append(Parameter("bias", (channels,), "bias", fan_in))
    numbers = math.prod(output)
    work = fan_in * times + (numbers if bias is not False else 0)
    return Effect(output, tuple(parameters), work, 2 * numbers)
