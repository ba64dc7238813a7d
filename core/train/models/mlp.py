"""Fully connected networks; without hidden layers, an affine map."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

Activation = Callable[[Tensor], Tensor]
MakeNorm = Callable[[int, bool], nn.Module]
"""Width and whether it has a shift -> a norm over that many features."""


class Affine(nn.Linear):
    """torch's Linear, left unfilled: `core.train.models.initializers` draws its weights, once."""

    def reset_parameters(self) -> None:
        """Leave the parameters undrawn: `initialize` fills them."""


class Hidden(nn.Module):
    """A hidden layer's parameters: `linear`, and `norm` where there is one."""

    def __init__(self, linear: nn.Linear, norm: nn.Module | None) -> None:
        super().__init__()
        self.linear = linear
        if norm is not None:
            self.norm = norm


class MLP(nn.Module):
    """Rows of features -> rows of outputs: linear → norm → activation → dropout, …, linear.

    Parameters are named `hidden.{i}.linear.weight`, `hidden.{i}.norm.weight`, …, `output.weight`;
    they are made on the CPU, unfilled. A bias before a norm of the batch, which it would take away
    again, is not there (`core.specs.sizes.model`).

    The forward pass calls torch's functions on the parameters directly, which spares the modules'
    call overhead. The numbers are those of
    `nn.Sequential(nn.Linear, norm, activation, nn.Dropout, …, nn.Linear)`.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        dtype: torch.dtype,
        biases: Sequence[bool],
        shifts: Sequence[bool] = (),
        activation: Activation | None = None,
        make_norm: MakeNorm | None = None,
        dropout: float = 0.0,
    ) -> None:
        """Take the widths of the input, of each hidden layer and of the output as `widths`; whether
        each linear map has a bias and each norm a shift as `biases` and `shifts`."""
        super().__init__()
        *inner, last = [
            Affine(wide, out, bias=bias, dtype=dtype)
            for (wide, out), bias in zip(itertools.pairwise(widths), biases, strict=True)
        ]
        norms = [
            None if make_norm is None else make_norm(linear.out_features, shift)
            for linear, shift in zip(inner, shifts, strict=True)
        ]
        if inner:
            self.hidden = nn.ModuleList(map(Hidden, inner, norms))
        self.output = last
        self.dropout = dropout
        # Plain Python containers, so that the modules are not registered twice.
        self._plan = list(zip(inner, norms, strict=True))
        self._activation = activation

    @property
    def first(self) -> nn.Linear:
        """The linear map of the features."""
        return self._plan[0][0] if self._plan else self.output

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` (rows x inputs) -> rows x outputs."""
        activation = self._activation
        for linear, norm in self._plan:
            x = functional.linear(x, linear.weight, linear.bias)
            if norm is not None:
                x = norm(x)
            if activation is not None:
                x = activation(x)
            if self.dropout:
                x = functional.dropout(x, self.dropout, self.training)
        return functional.linear(x, self.output.weight, self.output.bias)
