"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/): momentum made orthogonal.

A hidden layer's matrix W with the gradient G moves by

    B ← μB + (1−μ)G,    D = μB + (1−μ)G (Nesterov) or B,    W ← (1 − lr·λ)W − lr·f·NS(D),

as in `torch.optim.Muon`. NS(D) has the singular vectors of D = U·S·Vᵀ, and singular values near 1:
Newton and Schulz's iteration takes each s to p(p(…p(s/‖D‖))) with p(s) = as + bs³ + cs⁵. The factor
f makes updates of matrices of different shapes alike: √max(1, rows/columns) ("original"), or
0.2·√max(rows, columns), the size of an AdamW update ("match_rms_adamw"; Liu et al. 2025, arXiv
2502.16982).

torch iterates in bfloat16; here it is the parameter's own precision, so that a run in a stack and
the same run alone agree to rounding.

All other parameters move by AdamW (arXiv 1711.05101) at lr · `adamw_lr_scale`: biases, norms,
points of functions, and, as Jordan et al. advise, the output layer and tables of embeddings (of
tokens, categories and positions). The first layer of a perceptron is a dense map and counts as
hidden.
"""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from core.specs.optimizers.kinds import hidden_matrices, rate_factor

Scalar = float | Tensor
"""A number, or one a matrix: (…, 1, 1)."""


def orthogonalized(
    matrices: Tensor, coefficients: tuple[Scalar, Scalar, Scalar], steps: int, eps: Scalar
) -> Tensor:
    """Apply NS to one matrix (rows, columns), or to each of (runs, rows, columns), contiguous.

    Each is divided by its Frobenius norm (`eps` where that is smaller), which bounds the singular
    values by 1. The products are those of the shorter side: for D with more rows than columns,
    NS(D) = NS(Dᵀ)ᵀ.
    """
    a, b, c = coefficients
    tall = matrices.shape[-2] > matrices.shape[-1]
    norms = torch.linalg.vector_norm(matrices.flatten(-2), dim=-1)[..., None, None]
    x = (matrices.mT if tall else matrices) / torch.clamp(norms, min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = _with_product(x, a, _with_product(gram, b, gram, gram, c), x, 1.0)
    return x.mT if tall else x


def _with_product(base: Tensor, beta: Scalar, left: Tensor, right: Tensor, alpha: Scalar) -> Tensor:
    """Return beta·base + alpha·left·right."""
    if isinstance(beta, Tensor) or isinstance(alpha, Tensor):
        return base * beta + (left @ right) * alpha
    fused: Callable[..., Tensor] = torch.addmm if base.dim() == 2 else torch.baddbmm
    return fused(base, left, right, beta=beta, alpha=alpha)


class Muon(torch.optim.Optimizer):
    """Muon for the hidden layers' matrices, AdamW for the other parameters.

    The options have `torch.optim.Muon`'s names; `adamw_…` are the other parameters' own, which
    share `lr` (times `adamw_lr_scale`) and `weight_decay`. The rate and momentum are read from the
    group at each step, where schedules write them.
    """

    def __init__(
        self,
        params: Sequence[Tensor],
        *,
        lr: float,
        weight_decay: float,
        momentum: float,
        nesterov: bool,
        ns_coefficients: tuple[float, float, float],
        eps: float,
        ns_steps: int,
        adjust_lr_fn: str | None,
        adamw_betas: tuple[float, float],
        adamw_eps: float,
        adamw_lr_scale: float,
        tables: Collection[int] = (),
    ) -> None:
        """Take the parameters; `tables`: places of those that are tables of vectors."""
        params = list(params)
        hidden = hidden_matrices([each.shape for each in params], tables)
        self._hidden = dict(zip(params, hidden, strict=True))
        super().__init__(
            params,
            {
                "lr": lr,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "nesterov": nesterov,
                "ns_coefficients": ns_coefficients,
                "eps": eps,
                "ns_steps": ns_steps,
                "adjust_lr_fn": adjust_lr_fn,
                "adamw_betas": adamw_betas,
                "adamw_eps": adamw_eps,
                "adamw_lr_scale": adamw_lr_scale,
            },
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make one update by the gradients as they are; parameters without one stay."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                move = _by_adamw if self._hidden[parameter] is None else _by_muon
                move(parameter, parameter.grad, self.state[parameter], group)


def _by_muon(parameter: Tensor, gradient: Tensor, state: dict[str, Any], o: dict[str, Any]) -> None:
    if not state:
        state["momentum_buffer"] = torch.zeros_like(parameter)
    momentum, lr = o["momentum"], o["lr"]
    buffer = state["momentum_buffer"].lerp_(gradient, 1.0 - momentum)
    direction = gradient.lerp(buffer, momentum) if o["nesterov"] else buffer
    step = orthogonalized(direction, o["ns_coefficients"], o["ns_steps"], o["eps"])
    factor = rate_factor(parameter.shape[0], parameter.shape[1], o["adjust_lr_fn"])
    parameter.mul_(1.0 - lr * o["weight_decay"]).add_(step, alpha=-lr * factor)


def _by_adamw(
    parameter: Tensor, gradient: Tensor, state: dict[str, Any], o: dict[str, Any]
) -> None:
    if not state:
        state["step"] = 0
        state["exp_avg"], state["exp_avg_sq"] = (torch.zeros_like(parameter) for _ in range(2))
    state["step"] += 1
    (beta1, beta2), lr = o["adamw_betas"], o["lr"] * o["adamw_lr_scale"]
    mean = state["exp_avg"].lerp_(gradient, 1.0 - beta1)
    square = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
    root = math.sqrt(1.0 - beta2 ** state["step"])
    below = (square.sqrt() / root).add_(o["adamw_eps"])
    parameter.mul_(1.0 - lr * o["weight_decay"])
    parameter.addcdiv_(mean, below, value=-lr / (1.0 - beta1 ** state["step"]))
