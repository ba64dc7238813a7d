"""Effects of layers of sequences, and of those that look vectors up."""

import math

from core.specs.layers import kinds as k
from core.specs.layers.effects.base import Effect, Parameter, Shape, ShapeError, check_axes, shown

GATES = {"rnn": 1, "lstm": 4, "gru": 3}


def vectors(layer: k.EmbedCategories, shape: Shape) -> Effect:
    """Return the effect of vectors for the categories of a row. Raises `ShapeError`."""
    check_axes(shape, 1, "(features,)")
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


def recurrent(layer: k.RNN | k.LSTM | k.GRU, shape: Shape) -> Effect:
    """Return the effect of a recurrent network. Raises `ShapeError`."""
    check_axes(shape, 2, "(time, features)")
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


def embedding(layer: k.Embedding, shape: Shape) -> Effect:
    """Return the effect of a table of vectors. Raises `ShapeError`."""
    check_axes(shape, 1, "(time,)")
    if layer.num_embeddings is None:
        raise ShapeError("has no num_embeddings, which only a problem with a tokenizer fills in")
    size = (layer.num_embeddings, layer.embedding_dim)
    output = (shape[0], layer.embedding_dim)
    return Effect(output, (Parameter("weight", size, "embedding", 1),), 0, 2 * math.prod(output))


def attention(layer: k.MultiheadAttention, shape: Shape) -> Effect:
    """Return the effect of self-attention. Raises `ShapeError`."""
    check_axes(shape, 2, "(time, features)")
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
