"""An autoencoder as a list of layers."""

from collections.abc import Iterator

from core.specs import models
from core.specs.layers import kinds as k
from core.specs.layers.expansions.parts import ACTIVATION, output_layer
from core.specs.layers.trace import Named


def layers_of_autoencoder(model: models.Autoencoder, num_outputs: int) -> Iterator[Named]:
    """Yield linear → activation for each of `hidden`, a linear map to `latent` numbers, the same
    way back and a linear map to the outputs (Hinton and Salakhutdinov 2006)."""
    activation = ACTIVATION[model.activation]
    for part, widths in (("encoder", model.hidden), ("decoder", model.hidden[::-1])):
        for number, width in enumerate(widths):
            place = number if part == "encoder" else len(widths) - 1 - number
            linear = k.LinearLayer(out_features=width, bias=True)
            yield Named(f"{part}.{number}.linear", linear, f"hidden.{place}")
            yield Named(f"{part}.{number}.activation", activation, "activation")
        if part == "encoder":
            yield Named("latent", k.LinearLayer(out_features=model.latent, bias=True), "latent")
    yield output_layer(num_outputs)
