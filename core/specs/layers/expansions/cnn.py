"""A convolutional network as a list of layers."""

from collections.abc import Iterator

from core.specs import models
from core.specs.layers import kinds as k
from core.specs.layers.effects.base import Shape
from core.specs.layers.expansions.parts import (
    ACTIVATION,
    hidden_layers,
    norm_of_channels,
    open_bias,
    output_layer,
    settled_biases,
)
from core.specs.layers.inputs import Inputs
from core.specs.layers.trace import Named

Convolution = k.Conv1d | k.Conv2d


def layers_of_cnn(model: models.CNN, inputs: Inputs, num_outputs: int) -> list[Named]:
    """List a stage for each of `channels` (convolution → norm → activation → pool), then the hidden
    layers and a linear map."""
    found = [*in_shape(inputs), *_stages(model, inputs.by_channels)]
    found.append(Named("flatten", k.Flatten(), "kind"))
    if model.dropout:
        found.append(Named("dropout", k.Dropout(p=model.dropout), "dropout"))
    found += hidden_layers(model.hidden, model.activation, model.dropout)
    return settled_biases([*found, output_layer(num_outputs)])


def in_shape(inputs: Inputs) -> Iterator[Named]:
    """Yield the layers that give a row its shape: a window in time, which comes time after time, is
    turned, so that convolutions go along time."""
    shape = inputs.by_channels
    yield Named(
        "input",
        k.Unflatten(dim=1, unflattened_size=shape[::-1] if inputs.window else shape),
        "kind",
    )
    if inputs.window:
        yield Named("turned", k.Transpose(dim0=1, dim1=2), "kind")


def convolution(
    axes: int,
    channels: int,
    size: int,
    *,
    stride: int = 1,
    bias: bool | None = True,
    name: str | None = None,
) -> Convolution:
    """Return a convolution with (size − 1)//2 zeros at each end of each axis: an odd one keeps the
    axis, or divides it by the stride."""
    padding = (size - 1) // 2
    if axes == 1:
        return k.Conv1d(
            out_channels=channels, kernel_size=size, stride=stride, padding=padding, bias=bias,
            name=name,
        )  # fmt: skip
    return k.Conv2d(
        out_channels=channels, kernel_size=(size, size), stride=(stride, stride),
        padding=(padding, padding), bias=bias, name=name,
    )  # fmt: skip


def _stages(model: models.CNN, shape: Shape) -> Iterator[Named]:
    axes, before = len(shape) - 1, shape[0]
    activation, norm, bias = ACTIVATION[model.activation], model.norm, open_bias(model.norm)
    for number, channels in enumerate(model.channels):
        name = f"stages.{number}."
        if model.residual:
            changed = channels != before or model.stride != 1
            yield Named(
                f"{name}block",
                residual_block(
                    axes, channels, model.kernel_size, model.stride, norm, activation,
                    shortcut=changed,
                ),
                f"channels.{number}",
            )  # fmt: skip
        else:
            one = convolution(axes, channels, model.kernel_size, stride=model.stride, bias=bias)
            yield Named(f"{name}conv", one, f"channels.{number}")
            if norm is not None:
                yield Named(f"{name}norm", norm_of_channels(norm), "norm")
        yield Named(f"{name}activation", activation, "activation")
        if model.pool is not None:
            yield Named(f"{name}pool", _pool(model.pool, axes), "pool")
        before = channels


def residual_block(
    axes: int,
    channels: int,
    size: int,
    stride: int,
    norm: models.Norm | None,
    activation: k.Activation,
    *,
    shortcut: bool,
) -> k.Residual:
    """Return two convolutions, each with its norm, whose output is added to the input; with
    `shortcut` the input goes through a convolution of size 1 (He et al. 2015, figures 2 and 5)."""
    bias = open_bias(norm)

    def normed(name: str, size: int, stride: int) -> list[k.Layer]:
        one = convolution(axes, channels, size, stride=stride, bias=bias, name=f"conv{name}")
        return [one] if norm is None else [one, norm_of_channels(norm, f"norm{name}")]

    named = activation.model_copy(update={"name": "activation"})
    return k.Residual(
        layers=(*normed("1", size, stride), named, *normed("2", size, 1)),
        shortcut=tuple(normed("", 1, stride)) if shortcut else (),
    )


def _pool(kind: str, axes: int) -> k.Layer:
    if axes == 1:
        return k.MaxPool1d(kernel_size=2) if kind == "max" else k.AvgPool1d(kernel_size=2)
    two = (2, 2)
    return k.MaxPool2d(kernel_size=two) if kind == "max" else k.AvgPool2d(kernel_size=two)
