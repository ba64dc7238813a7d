"""Rules of models of language: they take ids of tokens, and no output sees a later token."""

from collections.abc import Sequence
from typing import Final, get_args

from core.specs import models
from core.specs.layers import kinds as k
from core.specs.layers.trace import LayerError

_IN_TIME: Final = (
    k.Embedding, k.Positions, k.LinearLayer, k.LayerNormLayer, k.RMSNorm, k.Dropout,
    *get_args(k.Activation),
)  # fmt: skip
"""Layers that take each time by itself."""


def check_tokens(model: models.Model, vocabulary: int) -> None:
    """Check that a model takes ids of a vocabulary's tokens, and that no output sees a later one.

    Raises:
        LayerError: with the field.
    """
    match model:
        case (
            models.LinearModel() | models.MLP() | models.CNN() | models.ResNet() | models.Tabular()
            | models.Autoencoder()
        ):  # fmt: skip
            raise LayerError(
                "kind", "model_does_not_fit",
                f"{model.kind} takes rows of numbers, and a model of language sequences of tokens:"
                " use transformer, gru, lstm, rnn, or layers that begin with an embedding",
            )  # fmt: skip
        case models.LayerList():
            if not isinstance(model.layers[0], k.Embedding):
                raise LayerError(
                    "layers.0", "model_does_not_fit",
                    f"the first layer must be an embedding, which takes ids of tokens;"
                    f" {model.layers[0].kind} was given",
                )  # fmt: skip
            given = model.layers[0].num_embeddings
            if given is not None and given < vocabulary:
                raise LayerError(
                    "layers.0.num_embeddings", "too_few",
                    f"num_embeddings {given:,} is less than the {vocabulary:,} tokens of the"
                    " vocabulary: leave it out, or give as many at least",
                )  # fmt: skip
            _check_causal(model.layers, "layers")
            return
        case models.Transformer(causal=False):
            raise LayerError(
                "causal", "looks_ahead",
                "causal false shows each token those that it is to predict: leave it out",
            )  # fmt: skip
        case models.RNNModel() | models.LSTMModel() | models.GRUModel() if model.bidirectional:
            raise LayerError("bidirectional", "looks_ahead", f"bidirectional true {_BACKWARDS}")
        case _:
            pass
    for name in ("pooling", "length"):
        if (given := getattr(model, name)) is not None:
            raise LayerError(
                name, "conflict",
                f"{name} {given} is of models with one output a row; a model of language has"
                " outputs for each token of its context: leave it out",
            )  # fmt: skip


_BACKWARDS: Final = (
    "reads the tokens that are to be predicted: leave it out, so that each token sees those before"
    " it alone"
)


def _check_causal(layers: Sequence[k.Layer], path: str) -> None:
    for number, layer in enumerate(layers):
        field = f"{path}.{number}"
        match layer:
            case k.Residual():
                _check_causal(layer.layers, f"{field}.layers")
                _check_causal(layer.shortcut, f"{field}.shortcut")
            case k.Branches():
                for place, branch in enumerate(layer.branches):
                    _check_causal(branch, f"{field}.branches.{place}")
                _check_along(layer, field)
            case k.Skip():
                _check_along(layer, field)
            case k.MultiheadAttention(causal=causal):
                if not causal:
                    raise LayerError(
                        f"{field}.causal", "looks_ahead",
                        "causal false shows each token those that it is to predict: set it to true",
                    )  # fmt: skip
            case k.RNN() | k.LSTM() | k.GRU():
                if layer.bidirectional:
                    raise LayerError(
                        f"{field}.bidirectional", "looks_ahead", f"bidirectional true {_BACKWARDS}"
                    )
            case _ if not isinstance(layer, _IN_TIME):
                raise LayerError(
                    field, "looks_ahead",
                    f"{layer.kind} mixes the tokens of a context, so that some would see those that"
                    " they are to predict: use causal attention or recurrent layers",
                )  # fmt: skip
            case _:
                pass


def _check_along(layer: k.Branches | k.Skip, field: str) -> None:
    if layer.combine == "cat" and layer.dim not in (2, -1):
        raise LayerError(
            f"{field}.dim", "looks_ahead",
            f"dim {layer.dim} puts times behind each other: give 2, the axis of the features",
        )  # fmt: skip


def refuse_embeddings(layers: Sequence[k.Layer], path: str = "layers") -> None:
    """Check that no layer takes ids of tokens, which only texts have. Raises `LayerError`."""
    for number, layer in enumerate(layers):
        field = f"{path}.{number}"
        match layer:
            case k.Residual():
                refuse_embeddings(layer.layers, f"{field}.layers")
                refuse_embeddings(layer.shortcut, f"{field}.shortcut")
            case k.Branches():
                for place, branch in enumerate(layer.branches):
                    refuse_embeddings(branch, f"{field}.branches.{place}")
            case k.Embedding():
                raise LayerError(
                    field, "no_tokens",
                    "an embedding takes ids of tokens, and these rows are numbers: leave it out, or"
                    " use the problem language_model",
                )  # fmt: skip
            case _:
                pass
