"""Layers of sequences: recurrent ones and attention."""

from typing import Annotated, Literal

from pydantic import Field

from core.specs.base import WHOLE, Fraction, PositiveInt
from core.specs.layers.kinds.base import NamedLayer


class Recurrent(NamedLayer):
    """A recurrent layer: (time, features) to (time, hidden states of both directions)."""

    hidden_size: PositiveInt
    num_layers: Annotated[int, Field(ge=1, le=100), WHOLE] = 1
    bias: bool = True
    dropout: Fraction = 0.0
    """Dropout between the layers, of which it needs two or more."""
    bidirectional: bool = False


class RNN(Recurrent):
    """Elman's recurrent layer (1990): h_t = tanh(W x_t + b + U h_(t−1) + c)."""

    kind: Literal["rnn"] = "rnn"
    nonlinearity: Literal["tanh", "relu"] = "tanh"


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997), with torch's order of gates: input,
    forget, cell, output."""

    kind: Literal["lstm"] = "lstm"


class GRU(Recurrent):
    """Gated recurrent units (Cho et al. 2014, arXiv 1406.1078), with torch's order of gates: reset,
    update, new."""

    kind: Literal["gru"] = "gru"


class MultiheadAttention(NamedLayer):
    """Self-attention of (time, features) (Vaswani et al. 2017, arXiv 1706.03762)."""

    kind: Literal["multihead_attention"] = "multihead_attention"
    num_heads: PositiveInt
    dropout: Fraction = 0.0
    """Dropout of the attention weights."""
    bias: bool = True
    causal: bool = False
    """Each time sees itself and those before it alone."""
    rotary: bool = False
    """Positions by rotation of queries and keys (Su et al. 2021, arXiv 2104.09864)."""


class FinalState(NamedLayer):
    """State of a recurrent layer after its last step: (time, features) to (features,)."""

    kind: Literal["final_state"] = "final_state"
    bidirectional: bool = False
    """The second half of the features is of the way back, which ends at the first time."""
