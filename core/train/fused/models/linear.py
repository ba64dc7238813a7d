"""Affine maps of many runs at once, whose gradients come out contiguous, one run after another."""

from typing import Any, Final, cast

import torch
from torch import Tensor

_onednn: Final[Any] = (
    torch.ops.mkldnn._linear_pointwise
    if torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    else None
)
"""x·Wᵀ by oneDNN, which has kernels of its own for the vectors of every processor. torch multiplies
float32 matrices by MKL, which uses half of their width on processors that are not Intel's: 32 x 64
rows of 64 numbers times a matrix of 64 x 64 took 167 µs there, 78 by oneDNN."""


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return affine_values(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, Tensor, Tensor | None]:
        (g,) = gradients
        x, weight = ctx.saved_tensors
        return (
            torch.bmm(g, weight) if ctx.needs_input_grad[0] else None,
            torch.bmm(g.transpose(1, 2), x),
            g.sum(1) if ctx.has_bias else None,
        )


class _Outputs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return output_values(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, Tensor, Tensor | None]:
        (g,) = gradients
        x, weight = ctx.saved_tensors
        return (
            torch.bmm(g.transpose(1, 2), weight) if ctx.needs_input_grad[0] else None,
            torch.bmm(g, x),
            g.sum(2) if ctx.has_bias else None,
        )


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute x·Wᵀ + b a run: (runs, rows, in), (runs, out, in), (runs, out) -> (runs, rows,
    out)."""
    return cast(Tensor, _Affine.apply(x, weight, bias))  # type: ignore[no-untyped-call]


def outputs(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute `affine` transposed: (runs, out, rows).

    A softmax over ten classes is computed rows at a time then, which is five times faster.
    """
    return cast(Tensor, _Outputs.apply(x, weight, bias))  # type: ignore[no-untyped-call]


def affine_values(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute `affine` without automatic differentiation."""
    turned = weight.transpose(1, 2)
    return torch.bmm(x, turned) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, turned)


def output_values(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute `outputs` without automatic differentiation."""
    turned = x.transpose(1, 2)
    if bias is None:
        return torch.bmm(weight, turned)
    return torch.baddbmm(bias.unsqueeze(2), weight, turned)


def takes_shared_products(like: Tensor) -> bool:
    """Tell whether there are `shared_products` of such numbers."""
    return _onednn is not None and like.dtype == torch.float32 and like.device.type == "cpu"


def shared_products(left: Tensor, right: Tensor) -> Tensor:
    """Multiply all runs' matrices by one: (runs, n, k), (m, k) -> (runs, n, m), left·rightᵀ.

    The runs' rows are the rows of one matrix. The bits of a row do not depend on the others,
    whether there are more of them or fewer; only a single row (of one run) has other ones.
    """
    products: Tensor = _onednn(left, right, None, "none", [], "")
    return products


def shared_outputs(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute `outputs` of the same x (rows, in) in all runs: (runs, out, rows)."""
    found = shared_products(weight, x)
    return found if bias is None else found.add_(bias.unsqueeze(2))
