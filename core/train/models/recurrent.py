"""Recurrent layers written out step by step, where torch's own have no rule for many at once."""

from collections.abc import Callable
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.specs.layers import kinds as k

Cell = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor | None]]
"""Map from what the input adds to the gates, the state and the cell to the next two."""


def written_out(layer: k.RNN | k.LSTM | k.GRU, module: nn.RNNBase, x: Tensor) -> Tensor:
    """Compute torch's module on (rows, time, features) → (rows, time, states of both directions).

    The formulas are those of torch's documentation of RNN, LSTM and GRU.
    """
    for number in range(layer.num_layers):
        found = [_one_way(layer, module, x, f"_l{number}", reverse=False)]
        if layer.bidirectional:
            found.append(_one_way(layer, module, x, f"_l{number}_reverse", reverse=True))
        x = torch.cat(found, -1) if layer.bidirectional else found[0]
    return x


def _one_way(
    layer: k.RNN | k.LSTM | k.GRU, module: nn.RNNBase, x: Tensor, suffix: str, *, reverse: bool
) -> Tensor:
    def of(name: str) -> Tensor | None:
        found: Tensor | None = getattr(module, f"{name}{suffix}") if layer.bias else None
        return found

    added = functional.linear(x, getattr(module, f"weight_ih{suffix}"), of("bias_ih"))
    step = _cell(layer, getattr(module, f"weight_hh{suffix}"), of("bias_hh"))
    state = x.new_zeros((*x.shape[:-2], layer.hidden_size))
    cell = x.new_zeros(state.shape) if isinstance(layer, k.LSTM) else None
    times = range(x.shape[-2])
    states = []
    for time in reversed(times) if reverse else times:
        state, cell = step(added[..., time, :], state, cell)
        states.append(state)
    return torch.stack(states[::-1] if reverse else states, -2)


def _cell(layer: k.RNN | k.LSTM | k.GRU, weight: Tensor, bias: Tensor | None) -> Cell:
    match layer:
        case k.RNN(nonlinearity=nonlinearity):
            act = torch.tanh if nonlinearity == "tanh" else torch.relu

            def rnn(added: Tensor, state: Tensor, cell: Tensor | None) -> tuple[Tensor, None]:
                return act(added + functional.linear(state, weight, bias)), None

            return rnn
        case k.LSTM():

            def lstm(added: Tensor, state: Tensor, cell: Tensor | None) -> tuple[Tensor, Tensor]:
                gates = added + functional.linear(state, weight, bias)
                i, f, _, o = gates.sigmoid().chunk(4, -1)
                new = gates.narrow(-1, 2 * layer.hidden_size, layer.hidden_size).tanh()
                assert cell is not None
                cell = torch.addcmul(f * cell, i, new)
                return o * cell.tanh(), cell

            return lstm
        case k.GRU():

            def gru(added: Tensor, state: Tensor, cell: Tensor | None) -> tuple[Tensor, None]:
                from_state = functional.linear(state, weight, bias)
                width = 2 * layer.hidden_size
                gates = (added.narrow(-1, 0, width) + from_state.narrow(-1, 0, width)).sigmoid()
                reset, update = gates.chunk(2, -1)
                last = added.narrow(-1, width, layer.hidden_size)
                new = torch.addcmul(
                    last, reset, from_state.narrow(-1, width, layer.hidden_size)
                ).tanh()
                return torch.lerp(new, state, update), None

            return gru
        case _:
            assert_never(layer)
