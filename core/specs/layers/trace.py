"""A list of layers followed from a row's shape to its output: names, shapes, parameters, work."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from core.specs.layers import kinds as k
from core.specs.layers.effects.base import Parameter, Shape, ShapeError, axis, shown
from core.specs.layers.effects.effect import effect


class Named(NamedTuple):
    """A layer with its name.

    Attributes:
        name: what the names of its parameters begin with.
        field: the field of the model's spec that it follows from; None: it stands in a list there.
    """

    name: str
    layer: k.Layer
    field: str | None = None


class LayerError(ValueError):
    """A layer that cannot stand where it does.

    Attributes:
        field: of the model's spec that it follows from: `layers.2.layers.0`.
        code: stable.
    """

    def __init__(self, field: str, code: str, message: str) -> None:
        super().__init__(message)
        self.field, self.code = field, code


@dataclass(frozen=True, slots=True)
class Placed:
    """A layer in its place.

    Attributes:
        name: what the names of its parameters begin with.
        field: of the model's spec that it follows from: `layers.2.layers.0`, or `norm` of an MLP.
        input, output: shapes of a row.
        parameters: its own, without those of the layers in it; under their whole names.
        inner: the lists in it: of `residual` its layers and its shortcut, of `branches` each.
    """

    name: str
    field: str
    layer: k.Layer
    input: Shape
    output: Shape
    parameters: tuple[Parameter, ...] = ()
    multiply_adds: int = 0
    kept: int = 0
    inner: tuple[tuple["Placed", ...], ...] = ()


def trace(layers: Sequence[Named], shape: Shape, prefix: str = "layers") -> tuple[Placed, ...]:
    """Follow a row of this shape through the layers.

    Raises:
        LayerError: one cannot take what the one before it gives, or refers to one that is not there
            yet; the message names it.
    """
    placed: list[Placed] = []
    outputs: dict[str, Shape] = {}
    for number, (name, layer, known) in enumerate(layers):
        field = f"{prefix}.{number}" if known is None else known
        try:
            found = _placed(Named(name, layer, known), field, shape, outputs)
        except ShapeError as error:
            code = "shapes_do_not_meet"
            raise LayerError(field, code, f"layer {name} ({layer.kind}) {error}") from None
        own = name.rsplit(".", 1)[-1]
        if own in outputs and known is None:
            raise LayerError(f"{field}.name", "duplicate_name", f"two layers have the name {own}")
        placed.append(found)
        outputs[own] = shape = found.output
    return tuple(placed)


def _placed(of: Named, field: str, shape: Shape, outputs: dict[str, Shape]) -> Placed:
    name, layer, _ = of
    match layer:
        case k.Residual():
            inside = _inner(of, layer.layers, "layers", field, shape)
            around = _inner(of, layer.shortcut, "shortcut", field, shape)
            output, added = _end(inside, shape), _end(around, shape)
            if output != added:
                way = "its shortcut" if around else "its input (give it a shortcut)"
                raise ShapeError(
                    f"gives {shown(output)}, to which {way} of {shown(added)} is added"
                )
            inner: tuple[tuple[Placed, ...], ...] = (inside, around)
        case k.Branches():
            inner = tuple(
                _inner(of, branch, f"branches.{number}", field, shape)
                for number, branch in enumerate(layer.branches)
            )
            output = _combined([_end(each, shape) for each in inner], layer.combine, layer.dim)
        case k.Skip():
            if layer.source not in outputs:
                known = ", ".join(outputs) or "none"
                raise LayerError(
                    f"{field}.source", "unknown_layer",
                    f"layer {name} (skip) takes the output of {layer.source}, which is none of the"
                    f" layers before it in its list: {known}",
                )  # fmt: skip
            output = _combined([shape, outputs[layer.source]], layer.combine, layer.dim)
            inner = ()
        case _:
            done = effect(layer, shape)
            parameters = tuple(
                each._replace(name=f"{name}.{each.name}") for each in done.parameters
            )
            return Placed(
                name, field, layer, shape, done.output, parameters, done.multiply_adds, done.kept
            )
    return Placed(name, field, layer, shape, output, kept=prod(output), inner=inner)


def _inner(
    of: Named, layers: Sequence[k.Layer], part: str, field: str, shape: Shape
) -> tuple[Placed, ...]:
    """Follow a list within a layer; one that follows from a field is called by it, to its ends."""
    inside = named(layers, f"{of.name}.{part}.")
    if of.field is not None:
        inside = [each._replace(field=of.field) for each in inside]
    return trace(inside, shape, f"{field}.{part}")


def named(layers: Sequence[k.Layer], prefix: str = "") -> list[Named]:
    """Name the layers of a list: as they say, else by their numbers."""
    return [
        Named(f"{prefix}{number if layer.name is None else layer.name}", layer)
        for number, layer in enumerate(layers)
    ]


def leaves(placed: Sequence[Placed]) -> Iterator[Placed]:
    """Yield the layers and those in them, each before those in it, in the order of the
    parameters."""
    for each in placed:
        yield each
        for inner in each.inner:
            yield from leaves(inner)


def _end(placed: tuple[Placed, ...], shape: Shape) -> Shape:
    return placed[-1].output if placed else shape


def _combined(shapes: list[Shape], how: str, dim: int) -> Shape:
    first = shapes[0]
    if how == "sum":
        for other in shapes[1:]:
            if other != first:
                raise ShapeError(f"adds {shown(other)} to {shown(first)}, which are not alike")
        return first
    place = axis(dim, len(first), "dim")
    for other in shapes[1:]:
        alike = len(other) == len(first) and all(
            a == b for n, (a, b) in enumerate(zip(first, other, strict=True)) if n != place
        )
        if not alike:
            raise ShapeError(
                f"puts {shown(other)} behind {shown(first)} along dim {dim}, which differ elsewhere"
            )
    total = sum(shape[place] for shape in shapes)
    return (*first[:place], total, *first[place + 1 :])
