"""Models of sequences: recurrent layers and transformers, of rows, windows or tokens."""

from collections.abc import Iterator
from typing import assert_never

from core.specs import models
from core.specs.layers import kinds as k
from core.specs.layers.inputs import Inputs
from core.specs.layers.trace import LayerError, Named

SequenceModel = models.RNNModel | models.LSTMModel | models.GRUModel | models.Transformer


def settled_sequence(model: SequenceModel, inputs: Inputs) -> SequenceModel:
    """Return the model with its steps and its pooling written out, and whether it is causal."""
    found: dict[str, object] = {}
    causal = False
    if isinstance(model, models.Transformer):
        causal = inputs.tokens if model.causal is None else model.causal
        found["causal"] = causal
    if not inputs.tokens and model.pooling is None:
        seen = isinstance(model, models.Transformer) and not causal and not inputs.window
        found["pooling"] = "mean" if seen else "last"
    if not inputs.tokens and not inputs.window and model.length is None:
        length = _own_length(inputs)
        if length is not None:
            found["length"] = length
    changed = {name: value for name, value in found.items() if getattr(model, name) != value}
    return model.model_copy(update=changed) if changed else model


def _own_length(inputs: Inputs) -> int | None:
    """Return the steps of a row as the data have it; None where they are no cut of its numbers."""
    match inputs.sample_shape:
        case (length, _) | (1, length, _):
            return length
        case (_, _, _):
            return None
        case _:
            return inputs.num_features


def layers_of_sequence(model: SequenceModel, inputs: Inputs, num_outputs: int) -> Iterator[Named]:
    """Yield the layers: to a sequence, through the model, to one vector, to the outputs."""
    if inputs.tokens:
        if isinstance(model, models.Transformer):
            width = model.dim
        else:
            width = model.hidden_size
        table = k.Embedding(num_embeddings=num_outputs, embedding_dim=width)
        yield Named(
            "embedding", table, "dim" if isinstance(model, models.Transformer) else "hidden_size"
        )
    else:
        yield from _to_sequence(model, inputs)
    match model:
        case models.Transformer():
            yield from _transformer(model, inputs)
            bidirectional = False
        case models.RNNModel() | models.LSTMModel() | models.GRUModel():
            yield from _recurrent(model)
            bidirectional = model.bidirectional
        case _:
            assert_never(model)
    if not inputs.tokens:
        match model.pooling:
            case "last" | None:
                yield Named("pooling", k.FinalState(bidirectional=bidirectional), "pooling")
            case "mean":
                yield Named("pooling", k.Mean(), "pooling")
            case _:
                assert_never(model.pooling)
    yield Named("output", k.LinearLayer(out_features=num_outputs, bias=True), "kind")


def _to_sequence(model: SequenceModel, inputs: Inputs) -> Iterator[Named]:
    """Yield what makes (length, channels) of a row."""
    if model.length is None and inputs.sample_shape is not None and len(inputs.sample_shape) == 3:
        yield Named("rows.image", k.Unflatten(unflattened_size=inputs.sample_shape), "length")
        yield Named("rows.turned", k.Transpose(dim0=1, dim1=2), "length")
        yield Named("rows.sequence", k.Flatten(start_dim=2, end_dim=3), "length")
        return
    length = model.length or _own_length(inputs) or inputs.num_features
    if inputs.num_features % length:
        raise LayerError(
            "length", "shapes_do_not_meet",
            f"length {length:,} does not divide the {inputs.num_features:,} numbers of a row: give"
            f" a divisor of these, such as {_divisor_below(inputs.num_features, length):,}, or"
            " leave it out",
        )  # fmt: skip
    if inputs.window and inputs.sample_shape is not None and length != inputs.sample_shape[0]:
        raise LayerError(
            "length", "conflict",
            f"length {length:,} is given by problem.window, {inputs.sample_shape[0]:,}: leave it"
            " out",
        )  # fmt: skip
    channels = inputs.num_features // length
    yield Named("rows.sequence", k.Unflatten(unflattened_size=(length, channels)), "length")


def _divisor_below(number: int, most: int) -> int:
    return next(each for each in range(min(most, number), 0, -1) if number % each == 0)


def _recurrent(model: models.RNNModel | models.LSTMModel | models.GRUModel) -> Iterator[Named]:
    """Yield one layer at a time, so that what is left out between two is a layer's of its own, of
    which many models can be trained at once."""
    size, both = model.hidden_size, model.bidirectional
    if model.dropout and model.num_layers == 1:
        raise LayerError(
            "dropout", "no_effect",
            f"dropout {model.dropout:g} is between the layers, and num_layers is 1: give more"
            " layers, or leave it out",
        )  # fmt: skip
    for number in range(model.num_layers):
        match model:
            case models.RNNModel(nonlinearity=nonlinearity):
                layer: k.Leaf = k.RNN(
                    hidden_size=size, bidirectional=both, nonlinearity=nonlinearity
                )
            case models.LSTMModel():
                layer = k.LSTM(hidden_size=size, bidirectional=both)
            case models.GRUModel():
                layer = k.GRU(hidden_size=size, bidirectional=both)
            case _:
                assert_never(model)
        yield Named(f"recurrent.{number}", layer, "hidden_size")
        if model.dropout and number < model.num_layers - 1:
            yield Named(f"dropout.{number}", k.Dropout(p=model.dropout), "dropout")


def _transformer(model: models.Transformer, inputs: Inputs) -> Iterator[Named]:
    width, rotary = model.dim, model.positions == "rotary"
    if not inputs.tokens:
        yield Named("embedding", k.LinearLayer(out_features=width, bias=True), "dim")
    if not rotary:
        yield Named("positions", k.Positions(), "positions")
    left_out = (k.Dropout(p=model.dropout, name="dropout"),) if model.dropout else ()
    attention = k.MultiheadAttention(
        name="attention", num_heads=model.num_heads, causal=bool(model.causal), rotary=rotary
    )
    norm = k.LayerNormLayer(name="norm", bias=True)
    perceptron = (
        k.LinearLayer(name="wide", out_features=model.mlp_ratio * width, bias=True),
        k.GELU(name="activation"),
        k.LinearLayer(name="back", out_features=width, bias=True),
    )
    for number in range(model.num_layers):
        attend = k.Residual(layers=(norm, attention, *left_out))
        yield Named(f"blocks.{number}.attend", attend, "num_heads")
        think = k.Residual(layers=(norm, *perceptron, *left_out))
        yield Named(f"blocks.{number}.perceptron", think, "mlp_ratio")
    yield Named("norm", norm, "dim")
