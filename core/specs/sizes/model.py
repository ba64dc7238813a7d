"""The facts that follow from a model's kind: the one table that sizes, training and diagnosis ask.

Nobody else asks whether a model is an MLP. A list of layers that every kind expands into is to take
the place of this table (`core/specs/layers/`).
"""

from typing import NamedTuple, assert_never

from core.specs.models import MLP, Activation, LinearModel, Model, Norm


class ModelStructure(NamedTuple):
    """A model's layers between features and outputs, whatever kind it is of.

    Attributes:
        hidden: widths of the hidden layers, from the features on.
        activation: of each hidden layer; None: the kind has none.
        norm: of each hidden layer, before its activation.
        dropout: the share of hidden units that a training step leaves out.
        convex: whether the kind as such is convex in its weights, whatever the loss is (all losses
            offered are convex in the outputs). An MLP is not, even where it has no hidden layers.
        kept: numbers that an update keeps for each output of a layer, from above.
    """

    hidden: tuple[int, ...]
    activation: Activation | None
    norm: Norm | None
    dropout: float
    convex: bool
    kept: int


def structure_of(model: Model) -> ModelStructure:
    """Look up what is known of the model's kind."""
    match model:
        case LinearModel():
            return ModelStructure((), None, None, 0.0, convex=True, kept=2)
        case MLP(hidden=hidden, activation=activation, norm=norm, dropout=dropout):
            return ModelStructure(hidden, activation, norm, dropout, convex=False, kept=4)
        case _:
            assert_never(model)
