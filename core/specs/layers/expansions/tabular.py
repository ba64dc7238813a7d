"""A network for tables as a list of layers."""

from core.specs import models
from core.specs.layers import kinds as k
from core.specs.layers.expansions.parts import (
    ACTIVATION,
    norm_of_features,
    open_bias,
    output_layer,
    settled_biases,
)
from core.specs.layers.inputs import Inputs
from core.specs.layers.trace import Named


def layers_of_tabular(model: models.Tabular, inputs: Inputs, num_outputs: int) -> list[Named]:
    """List vectors for categories, a linear map to `width`, a residual block of norm → linear →
    activation → dropout → linear for each of `hidden`, norm, activation and a linear map (Gorishniy
    et al. 2021, section 3.2)."""
    activation, found = ACTIVATION[model.activation], list[Named]()
    # What is added between the blocks goes through a norm wherever it goes.
    bias = open_bias(model.norm) is True
    if inputs.categories:
        places = tuple((each.start, each.width) for each in inputs.categories)
        vectors = k.EmbedCategories(places=places, embedding_dim=model.embedding_dim)
        found.append(Named("embeddings", vectors, "embedding_dim"))
    found.append(Named("input", k.LinearLayer(out_features=model.width, bias=bias), "width"))
    norm = model.norm
    for number, width in enumerate(model.hidden):
        inside: list[k.Layer] = [] if norm is None else [norm_of_features(norm, "norm")]
        inside += [
            k.LinearLayer(out_features=width, bias=True, name="linear1"),
            activation.model_copy(update={"name": "activation"}),
        ]
        if model.dropout:
            inside.append(k.Dropout(p=model.dropout, name="dropout"))
        inside.append(k.LinearLayer(out_features=model.width, bias=bias, name="linear2"))
        found.append(
            Named(f"blocks.{number}", k.Residual(layers=tuple(inside)), f"hidden.{number}")
        )
    if norm is not None:
        found.append(Named("norm", norm_of_features(norm), "norm"))
    found.append(Named("activation", activation, "activation"))
    return settled_biases([*found, output_layer(num_outputs)])
