"""Parts that several kinds of models are made of."""

from collections.abc import Iterator, Sequence
from typing import Final, assert_never, get_args

from core.specs import models
from core.specs.layers import kinds as k
from core.specs.layers.biases import with_biases
from core.specs.layers.trace import Named

ACTIVATION: Final[dict[models.Activation, k.Activation]] = {
    layer.model_fields["kind"].default: layer() for layer in get_args(k.Activation)
}
"""The layer of each activation's name, with torch's default options."""


def open_bias(norm: models.Norm | None) -> bool | None:
    """Return whether a layer before this norm has a bias; None: unless the norm takes it away."""
    return None if isinstance(norm, models.BatchNorm) and not norm.bias_before else True


def norm_of_channels(norm: models.Norm, name: str | None = None) -> k.BatchNormLayer | k.GroupNorm:
    """Return the norm of (channels, …). One of layers is over all numbers of a row, with a scale
    and a shift a channel: a norm of one group."""
    match norm:
        case models.BatchNorm(eps=eps, momentum=momentum):
            return k.BatchNormLayer(eps=eps, momentum=momentum, bias=open_bias(norm), name=name)
        case models.LayerNorm(eps=eps):
            return k.GroupNorm(num_groups=1, eps=eps, name=name)
        case _:
            assert_never(norm)


def norm_of_features(norm: models.Norm, name: str | None = None) -> k.Layer:
    """Return the norm of rows of features."""
    match norm:
        case models.BatchNorm(eps=eps, momentum=momentum):
            return k.BatchNormLayer(eps=eps, momentum=momentum, bias=open_bias(norm), name=name)
        case models.LayerNorm(eps=eps):
            return k.LayerNormLayer(eps=eps, bias=True, name=name)
        case _:
            assert_never(norm)


def hidden_layers(
    hidden: Sequence[int], activation: models.Activation, dropout: float
) -> Iterator[Named]:
    """Yield linear → activation → dropout for each width."""
    for number, width in enumerate(hidden):
        name = f"hidden.{number}."
        yield Named(
            f"{name}linear", k.LinearLayer(out_features=width, bias=True), f"hidden.{number}"
        )
        yield Named(f"{name}activation", ACTIVATION[activation], "activation")
        if dropout:
            yield Named(f"{name}dropout", k.Dropout(p=dropout), "dropout")


def output_layer(num_outputs: int, field: str = "kind") -> Named:
    """Return the linear map to the outputs."""
    return Named("output", k.LinearLayer(out_features=num_outputs, bias=True), field)


def settled_biases(layers: Sequence[Named]) -> list[Named]:
    """Settle the biases that are left open, and keep the names."""
    found = with_biases([each.layer for each in layers])
    return [each._replace(layer=layer) for each, layer in zip(layers, found, strict=True)]
