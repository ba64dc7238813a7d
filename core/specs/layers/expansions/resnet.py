"""A residual network as a list of layers."""

from core.specs import models
from core.specs.layers import kinds as k
from core.specs.layers.expansions.cnn import convolution, in_shape, residual_block
from core.specs.layers.expansions.parts import (
    ACTIVATION,
    norm_of_channels,
    open_bias,
    output_layer,
    settled_biases,
)
from core.specs.layers.inputs import Inputs
from core.specs.layers.trace import LayerError, Named


def layers_of_resnet(model: models.ResNet, inputs: Inputs, num_outputs: int) -> list[Named]:
    """List a convolution, three stages of (depth − 2)/6 blocks with width, 2·width and 4·width
    channels, of which the second and the third halve each axis, the mean of each channel and a
    linear map.

    Raises:
        LayerError: no such network has this depth.
    """
    blocks, rest = divmod(model.depth - 2, 6)
    if rest:
        low = model.depth - rest
        raise LayerError(
            "depth", "not_a_depth",
            f"the layers with weights are 2 and 6 for each block of a stage, so that a depth is 8,"
            f" 14, 20, …; {model.depth} was given: use {low} or {low + 6}",
        )  # fmt: skip
    axes = len(inputs.by_channels) - 1
    activation, width = ACTIVATION[model.activation], model.width
    found = [*in_shape(inputs)]
    found.append(
        Named("stem.conv", convolution(axes, width, 3, bias=open_bias(model.norm)), "width")
    )
    if model.norm is not None:
        found.append(Named("stem.norm", norm_of_channels(model.norm), "norm"))
    found.append(Named("stem.activation", activation, "activation"))
    for stage in range(3):
        for number in range(blocks):
            first = stage > 0 and number == 0
            name = f"stages.{stage}.{number}."
            block = residual_block(
                axes, width * 2**stage, 3, 2 if first else 1, model.norm, activation,
                shortcut=first,
            )  # fmt: skip
            found.append(Named(f"{name}block", block, "depth"))
            found.append(Named(f"{name}activation", activation, "activation"))
    pool: k.Layer = (
        k.AdaptiveAvgPool1d(output_size=1) if axes == 1 else k.AdaptiveAvgPool2d(output_size=(1, 1))
    )
    found.append(Named("pool", pool, "kind"))
    found.append(Named("flatten", k.Flatten(), "kind"))
    return settled_biases([*found, output_layer(num_outputs)])
