"""Every kind of model as a list of layers: what sizes, training, fusing and diagnosis read."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, NamedTuple, assert_never, get_args

from pydantic import ValidationError

from core.specs import models
from core.specs.base import Spec
from core.specs.layers import kinds as k
from core.specs.layers.biases import CONVOLUTIONS, with_biases
from core.specs.layers.effects.base import Parameter, Shape, ShapeError, shown
from core.specs.layers.expansions.autoencoder import layers_of_autoencoder
from core.specs.layers.expansions.cnn import layers_of_cnn
from core.specs.layers.expansions.mlp import layers_of_mlp
from core.specs.layers.expansions.resnet import layers_of_resnet
from core.specs.layers.expansions.sequences import (
    SequenceModel,
    layers_of_sequence,
    settled_sequence,
)
from core.specs.layers.expansions.tabular import layers_of_tabular
from core.specs.layers.expansions.tokens import check_tokens, refuse_embeddings
from core.specs.layers.inputs import Inputs
from core.specs.layers.trace import LayerError, Named, Placed, leaves, named, trace

_BY_CHANNELS: Final = (*CONVOLUTIONS, k.BatchNormLayer, k.GroupNorm)


class Hidden(NamedTuple):
    """A hidden layer of a perceptron."""

    linear: Placed
    norm: Placed | None
    activation: Placed | None
    dropout: Placed | None


class Perceptron(NamedTuple):
    """A model that is nothing but linear → norm → activation → dropout, …, linear, of plain rows.

    Attributes:
        output: its last linear map.
    """

    hidden: tuple[Hidden, ...]
    output: Placed


@dataclass(frozen=True)
class Expanded:
    """A model as the layers that a row goes through.

    Attributes:
        layers: in order, each with the lists in it.
        input: a row's shape.
    """

    layers: tuple[Placed, ...]
    input: Shape

    @cached_property
    def all_layers(self) -> tuple[Placed, ...]:
        """The layers and those in them."""
        return tuple(leaves(self.layers))

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters, in the order in which torch's module has them."""
        return tuple(parameter for placed in self.all_layers for parameter in placed.parameters)

    @cached_property
    def num_parameters(self) -> int:
        return sum(parameter.numel for parameter in self.parameters)

    @cached_property
    def multiply_adds(self) -> int:
        """Work of the forward pass of a row."""
        return sum(placed.multiply_adds for placed in self.all_layers)

    @cached_property
    def kept(self) -> int:
        """Numbers that a training step keeps for a row, its features among them; from above."""
        features = 1
        for size in self.input:
            features *= size
        return features + sum(placed.kept for placed in self.all_layers)

    @cached_property
    def draws(self) -> bool:
        """Tell whether a forward pass in training draws random numbers: dropout of any kind."""
        return any(dropout_of(placed.layer) > 0.0 for placed in self.all_layers)

    @cached_property
    def batch_norms(self) -> bool:
        """Tell whether a row's output in training depends on the other rows of its batch."""
        return any(isinstance(placed.layer, k.BatchNormLayer) for placed in self.all_layers)

    @cached_property
    def activations(self) -> tuple[Placed, ...]:
        """The layers whose outputs are the model's units."""
        kinds = get_args(k.Activation)
        return tuple(placed for placed in self.all_layers if isinstance(placed.layer, kinds))

    def unit_axis(self, activation: Placed) -> int:
        """Return the axis of a batch along which the activation's units lie: channels of images and
        of what convolutions give, else the last."""
        if len(activation.input) != 2:
            return 1
        axis = -1
        for placed in self.all_layers:
            if placed is activation:
                break
            if placed.parameters or isinstance(placed.layer, k.BatchNormLayer):
                axis = 1 if isinstance(placed.layer, _BY_CHANNELS) else -1
        return axis

    def num_units(self, activation: Placed) -> int:
        """Count the activation's units: features, or channels."""
        return activation.input[0 if self.unit_axis(activation) == 1 else -1]

    @cached_property
    def convex(self) -> bool:
        """Tell whether the outputs are linear in the weights, so that the loss is convex in them
        (all losses offered are convex in the outputs): one linear map and no other weights."""
        return len(self.all_layers) == 1 and isinstance(self.layers[0].layer, k.LinearLayer)

    @cached_property
    def plain_columns(self) -> tuple[int, ...]:
        """The features that are to stay 0 or 1: the columns of categories that the first layer has
        vectors for."""
        first = self.layers[0].layer
        if not isinstance(first, k.EmbedCategories):
            return ()
        return tuple(c for start, width in first.places for c in range(start, start + width))

    @cached_property
    def centered(self) -> bool:
        """Tell whether a norm of the batch takes away again what a constant feature adds: the first
        layer is a linear map without a bias, and the norm stands right behind it."""
        if len(self.layers) < 2:
            return False
        first, second = self.layers[0].layer, self.layers[1].layer
        linear = isinstance(first, k.LinearLayer) and first.bias is False and len(self.input) == 1
        return linear and isinstance(second, k.BatchNormLayer)

    @cached_property
    def perceptron(self) -> Perceptron | None:
        """The model as a plain perceptron; None where it is something else."""
        if len(self.input) != 1:
            return None
        *inner, last = self.layers
        if not isinstance(last.layer, k.LinearLayer):
            return None
        hidden: list[Hidden] = []
        rest = list(inner)
        while rest:
            linear = rest.pop(0)
            if not isinstance(linear.layer, k.LinearLayer):
                return None
            norm = _next(rest, k.BatchNormLayer, k.LayerNormLayer)
            activation = _next(rest, *get_args(k.Activation))
            hidden.append(Hidden(linear, norm, activation, _next(rest, k.Dropout)))
        return Perceptron(tuple(hidden), last)


def _next(rest: list[Placed], *kinds: type[Spec]) -> Placed | None:
    return rest.pop(0) if rest and isinstance(rest[0].layer, kinds) else None


def dropout_of(layer: k.Layer) -> float:
    """Return the probability with which the layer leaves numbers out in training."""
    match layer:
        case k.Dropout(p=p):
            return p
        case k.RNN() | k.LSTM() | k.GRU() | k.MultiheadAttention():
            return layer.dropout
        case _:
            return 0.0


@lru_cache(maxsize=1024)
def expand(model: models.Model, inputs: Inputs, num_outputs: int) -> Expanded:
    """Return a resolved model's layers for rows of features, up to its outputs.

    Raises:
        LayerError: two layers do not fit together, or one does not fit the rows.
    """
    shape = (inputs.num_features,)
    try:
        layers = list(_layers(model, inputs, num_outputs))
    except ShapeError as error:  # of the data, before any layer
        raise LayerError("kind", "shapes_do_not_meet", f"{model.kind} {error}") from None
    except ValidationError:  # a size that follows from others is beyond what a layer may have
        text = f"the sizes of {model.kind} make layers of more than 2^53 numbers: give smaller ones"
        raise LayerError("kind", "too_large", text) from None
    found = Expanded(trace(layers, shape), shape)
    if not found.parameters:
        text = "the layers have no parameters, so that nothing can be trained"
        raise LayerError("layers", "no_parameters", text)
    wanted = (inputs.num_features, num_outputs) if inputs.tokens else (num_outputs,)
    last = found.layers[-1]
    if last.output != wanted:
        raise LayerError(
            last.field, "shapes_do_not_meet",
            f"layer {last.name} ({last.layer.kind}) is the last and gives {shown(last.output)}; the"
            f" problem asks for {shown(wanted)}: end with a linear layer of"
            f" {num_outputs} out_features, which is what it has when they are left out",
        )  # fmt: skip
    return found


def settled(model: models.Model, inputs: Inputs, num_outputs: int) -> models.Model:
    """Return the model with what follows from the problem written out: the width of the last linear
    map, the size of the vocabulary, which maps have a bias; the steps of a sequence and the way to
    one vector."""
    if isinstance(model, SequenceModel):
        return settled_sequence(model, inputs)
    if not isinstance(model, models.LayerList):
        return model
    layers = with_biases(model.layers)
    first, last = layers[0], layers[-1]
    if inputs.tokens and isinstance(first, k.Embedding) and first.num_embeddings is None:
        layers = (first.model_copy(update={"num_embeddings": num_outputs}), *layers[1:])
    if isinstance(last, k.LinearLayer) and last.out_features is None:
        layers = (*layers[:-1], last.model_copy(update={"out_features": num_outputs}))
    return model if layers == model.layers else model.model_copy(update={"layers": layers})


def _layers(model: models.Model, inputs: Inputs, num_outputs: int) -> Iterable[Named]:
    if inputs.tokens:
        check_tokens(model, num_outputs)
    match model:
        case models.LinearModel():
            linear = k.LinearLayer(out_features=num_outputs, bias=model.bias)
            return [Named("output", linear, "bias")]
        case models.MLP():
            return layers_of_mlp(model, num_outputs)
        case models.CNN():
            return layers_of_cnn(model, inputs, num_outputs)
        case models.ResNet():
            return layers_of_resnet(model, inputs, num_outputs)
        case models.Tabular():
            return layers_of_tabular(model, inputs, num_outputs)
        case models.Autoencoder():
            return layers_of_autoencoder(model, num_outputs)
        case models.RNNModel() | models.LSTMModel() | models.GRUModel() | models.Transformer():
            return layers_of_sequence(model, inputs, num_outputs)
        case models.LayerList():
            if not inputs.tokens:
                refuse_embeddings(model.layers)
            return named(model.layers)
        case _:
            assert_never(model)
