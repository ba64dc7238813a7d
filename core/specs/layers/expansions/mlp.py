"""The perceptron as a list of layers."""

from collections.abc import Iterator
from typing import assert_never

from core.specs import models
from core.specs.layers import kinds as k
from core.specs.layers.expansions.parts import ACTIVATION
from core.specs.layers.trace import Named


def layers_of_mlp(model: models.MLP, num_outputs: int) -> Iterator[Named]:
    """Yield linear → norm → activation → dropout for each hidden width, then a linear map."""
    norm, activation = model.norm, ACTIVATION[model.activation]
    centered = isinstance(norm, models.BatchNorm) and not norm.bias_before
    last = len(model.hidden) - 1
    dropout = k.Dropout(p=model.dropout) if model.dropout else None
    for number, width in enumerate(model.hidden):
        name = f"hidden.{number}."
        linear = k.LinearLayer(out_features=width, bias=model.bias and not centered)
        yield Named(f"{name}linear", linear, f"hidden.{number}")
        # The next norm takes the shift away again where nothing but `identity` lies between them;
        # dropout makes it more than a constant.
        lost = centered and model.activation == "identity" and dropout is None and number < last
        match norm:
            case None:
                pass
            case models.BatchNorm(eps=eps, momentum=momentum):
                batch = k.BatchNormLayer(eps=eps, momentum=momentum, bias=not lost)
                yield Named(f"{name}norm", batch, "norm")
            case models.LayerNorm(eps=eps):
                yield Named(f"{name}norm", k.LayerNormLayer(eps=eps), "norm")
            case _:
                assert_never(norm)
        yield Named(f"{name}activation", activation, "activation")
        if dropout is not None:
            yield Named(f"{name}dropout", dropout, "dropout")
    yield Named("output", k.LinearLayer(out_features=num_outputs, bias=model.bias), "bias")
