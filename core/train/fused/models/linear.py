"""Affine maps of many runs at once, whose gradients come out contiguous, one run after another."""

import re
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor

_onednn: Final[Any] = (
    torch.ops.mkldnn._linear_pointwise
    if torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    else None
)
"""x·Wᵀ by oneDNN, which has kernels of its own for the vectors of every processor."""


def halves_vectors(cpuinfo: str) -> bool:
    """Tell whether the processor takes vectors of 512 bits as two halves: AMD's family 25 (Zen 3
    and 4) does. `cpuinfo`: the text of Linux's `/proc/cpuinfo`."""
    known = dict(re.findall(r"^(vendor_id|cpu family)\s*:\s*(\S+)$", cpuinfo, re.MULTILINE))
    return known == {"vendor_id": "AuthenticAMD", "cpu family": "25"}


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


WIDE: Final = torch.backends.cpu.get_cpu_capability() == "AVX512" and not halves_vectors(_cpuinfo())
"""True where oneDNN's products are the faster ones. torch multiplies float32 matrices by MKL, which
uses half of such vectors on processors that are not Intel's: 32 x 64 rows of 64 numbers times a
matrix of 64 x 64 took 167 µs there, 78 by oneDNN. With vectors half as long, MKL is as fast or
faster: the loss and gradients of that model take 0.89 of the time by it, a step 0.94 where the
processor halves them."""

LARGE: Final = 2**14
"""Numbers of a matrix from which a product goes into a row of parameters at once: 4 of 512 x 512
take 8 % less so than with a copy, but 32 of 10 x 64 take 57 µs instead of 33."""
LARGE_PRODUCT: Final = 2**23
"""Multiply-adds of one run from which oneDNN is called run by run: 8 of 128 x 256 by 256 x 256 take
0.7 ms instead of 1.36 (0.45 to 0.9 instead of 0.7 on two threads), 8 of 64 x 128 by 128 x 128 10 %
more than by MKL."""


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
            products(g, weight) if ctx.needs_input_grad[0] else None,
            products(g.transpose(1, 2), x),
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
            products(g.transpose(1, 2), weight) if ctx.needs_input_grad[0] else None,
            products(g, x),
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
    return _shifted_products(x, weight.transpose(1, 2), None if bias is None else bias.unsqueeze(1))


def output_values(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute `outputs` without automatic differentiation."""
    return _shifted_products(weight, x.transpose(1, 2), None if bias is None else bias.unsqueeze(2))


def products(left: Tensor, right: Tensor) -> Tensor:
    """Multiply run by run: (runs, n, k), (runs, k, m) -> (runs, n, m)."""
    if not _are_large(left, right):
        return torch.bmm(left, right)
    found = left.new_empty(len(left), left.shape[1], right.shape[2])
    multiply_into(left, right, found)
    return found


def multiply_into(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Write `products` into `out`, whose matrices need not follow each other."""
    if _are_large(left, right):
        for one, other, place in zip(left.unbind(), right.unbind(), out.unbind(), strict=True):
            place.copy_(_onednn(one, other.t(), None, "none", [], ""))
    elif out[0].numel() >= LARGE:
        torch.bmm(left, right, out=out)
    else:
        out.copy_(torch.bmm(left, right))


def _shifted_products(left: Tensor, right: Tensor, shift: Tensor | None) -> Tensor:
    if shift is None:
        return products(left, right)
    if _are_large(left, right):
        return products(left, right).add_(shift)
    return torch.baddbmm(shift, left, right)


def _are_large(left: Tensor, right: Tensor) -> bool:
    """Tell whether oneDNN multiplies these faster, each run's by themselves."""
    work = left.shape[1] * left.shape[2] * right.shape[2]
    return work >= LARGE_PRODUCT and takes_onednn(left)


def takes_onednn(like: Tensor) -> bool:
    """Tell whether oneDNN multiplies such numbers, faster than MKL: `shared_products` are for these
    only."""
    of_cpu = like.dtype == torch.float32 and like.device.type == "cpu"
    return WIDE and of_cpu and _onednn is not None


def shared_products(left: Tensor, right: Tensor) -> Tensor:
    """Multiply all runs' matrices by one: (runs, n, k), (m, k) -> (runs, n, m), left·rightᵀ.

    The runs' rows are the rows of one matrix. The bits of a row do not depend on the others,
    whether there are more of them or fewer; only a single row (of one run) has other ones.
    """
    found: Tensor = _onednn(left, right, None, "none", [], "")
    return found


def shared_outputs(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute `outputs` of the same x (rows, in) in all runs: (runs, out, rows)."""
    found = shared_products(weight, x)
    return found if bias is None else found.add_(bias.unsqueeze(2))
