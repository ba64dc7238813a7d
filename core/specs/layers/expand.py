"""Every kind of model as a list of layers: what sizes, training, fusing and diagnosis read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, NamedTuple, assert_never, get_args

from core.specs import models
from core.specs.base import Spec
from core.specs.layers import kinds as k
from core.specs.layers.effects import Parameter, Shape, shown
from core.specs.layers.trace import LayerError, Named, Placed, leaves, named, trace

ACTIVATION: Final[dict[models.Activation, k.Activation]] = {
    layer.model_fields["kind"].default: layer() for layer in get_args(k.Activation)
}
"""The layer of each activation's name, with torch's default options."""


_CONVOLUTIONS: Final = (k.Conv1d, k.Conv2d, k.ConvTranspose1d, k.ConvTranspose2d)
_BY_CHANNELS: Final = (*_CONVOLUTIONS, k.BatchNormLayer, k.GroupNorm)
_BIASED: Final = (k.LinearLayer, *_CONVOLUTIONS, k.BatchNormLayer, k.LayerNormLayer)


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
def expand(model: models.Model, num_inputs: int, num_outputs: int) -> Expanded:
    """Return a resolved model's layers for rows of features, up to its outputs.

    Raises:
        LayerError: two layers do not fit together.
    """
    shape = (num_inputs,)
    found = Expanded(trace(list(_layers(model, num_outputs)), shape), shape)
    if not found.parameters:
        text = "the layers have no parameters, so that nothing can be trained"
        raise LayerError("layers", "no_parameters", text)
    last = found.layers[-1]
    if last.output != (num_outputs,):
        raise LayerError(
            last.field, "shapes_do_not_meet",
            f"layer {last.name} ({last.layer.kind}) is the last and gives {shown(last.output)}; the"
            f" problem asks for {shown((num_outputs,))}: end with a linear layer of"
            f" {num_outputs} out_features, which is what it has when they are left out",
        )  # fmt: skip
    return found


def settled(model: models.Model, num_outputs: int) -> models.Model:
    """Return the model with what its layers leave open written out: the width of the last linear
    map, and which maps have a bias."""
    if not isinstance(model, models.LayerList):
        return model
    layers = _settled(model.layers)
    last = layers[-1]
    if isinstance(last, k.LinearLayer) and last.out_features is None:
        layers = (*layers[:-1], last.model_copy(update={"out_features": num_outputs}))
    return model if layers == model.layers else model.model_copy(update={"layers": layers})


def _is_taken_away(layer: k.Layer, behind: Sequence[k.Layer]) -> bool:
    """Tell whether a norm takes away again what the layer's bias adds: a constant, in each channel
    or unit, that only linear maps lead to the norm."""
    channels = isinstance(layer, _CONVOLUTIONS)
    for following in behind:
        match following:
            case k.Identity():
                pass
            case k.BatchNormLayer():
                return True
            case k.GroupNorm(num_groups=groups):
                return getattr(layer, "out_channels", None) == groups
            case k.Flatten():
                channels = False
            case k.LinearLayer() if not channels:
                pass
            case k.Conv1d(padding=0) | k.Conv2d(padding=(0, 0)):
                channels, layer = True, following
            case k.AvgPool1d(padding=0) | k.AvgPool2d(padding=(0, 0)):
                pass
            case k.AdaptiveAvgPool1d() | k.AdaptiveAvgPool2d() | k.Upsample():
                pass
            case _:
                return False
    return False


def _settled(layers: tuple[k.Layer, ...]) -> tuple[k.Layer, ...]:
    """Settle each bias: none where a norm of the batch behind it takes it away again."""
    found: list[k.Layer] = []
    for number, layer in enumerate(layers):
        match layer:
            case k.Residual():
                inner = {"layers": _settled(layer.layers), "shortcut": _settled(layer.shortcut)}
                found.append(layer.model_copy(update=inner))
            case k.Branches():
                branches = tuple(map(_settled, layer.branches))
                found.append(layer.model_copy(update={"branches": branches}))
            case _ if isinstance(layer, _BIASED) and layer.bias is None:
                bias = not _is_taken_away(layer, layers[number + 1 :])
                found.append(layer.model_copy(update={"bias": bias}))
            case _:
                found.append(layer)
    return tuple(found)


def _layers(model: models.Model, num_outputs: int) -> Iterator[Named]:
    match model:
        case models.LinearModel():
            yield Named("output", k.LinearLayer(out_features=num_outputs, bias=model.bias), "bias")
        case models.MLP():
            yield from _perceptron(model)
            yield Named("output", k.LinearLayer(out_features=num_outputs, bias=model.bias), "bias")
        case models.LayerList():
            yield from named(model.layers)
        case _:
            assert_never(model)


def _perceptron(model: models.MLP) -> Iterator[Named]:
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
