"""Shampoo and SOAP: gradients preconditioned by what was seen along each of their axes.

Of a parameter with k axes, the statistic of axis i is a matrix as wide as the axis,

    Lᵢ ← Lᵢ + G⁽ⁱ⁾G⁽ⁱ⁾ᵀ,    G⁽ⁱ⁾ = the gradient with axis i first and the others as one

**Shampoo** (Gupta et al. 2018, arXiv 1802.09568, algorithm 2; a matrix has L and R, a vector one,
so that its update is full-matrix AdaGrad's) begins with εI and moves by

    m ← μm + (1−μ)g,    w ← w − lr·(L₁^(−1/2k) ×₁ … Lₖ^(−1/2k) ×ₖ m)

where ×ᵢ multiplies along axis i. An axis longer than `max_preconditioner_dim` keeps the diagonal of
its statistic alone (the paper's diagonal variant), and the roots are computed anew at the first
update and each `precondition_frequency`-th.

**SOAP** (Vyas et al. 2024, arXiv 2409.11321, algorithms 3 and 4) runs Adam in the eigenvectors Qᵢ
of averages of these statistics (Lᵢ ← β_s·Lᵢ + (1−β_s)·G⁽ⁱ⁾G⁽ⁱ⁾ᵀ):

    g' = Q₁ᵀ ×₁ … g,    m ← β₁m + (1−β₁)g,    v ← β₂v + (1−β₂)g'²
    w ← w − lr·Q₁ ×₁ … ((Q₁ᵀ ×₁ … m)/(√v + ε))    with Adam's corrections, then w ← w − lr·λ·w

As in the authors' implementation the first gradient gives the first eigenvectors and moves nothing
(t counts from the second), the statistics take a gradient after the update by it, and each
`precondition_frequency`-th t replaces Q by the Q of a QR decomposition of LQ, its columns in
falling order of the eigenvalues that they stand for; v's entries change places with them. Longer
axes are not turned, nor are those of vectors without `precondition_1d`.

Eigenvectors are found in double precision. Where a statistic holds what is not finite its matrix is
not a number, so that the next row shows that the run has diverged; where a decomposition of finite
numbers does not converge, the matrix stays as it was. Matrices are kept row by row, as they come
back from a checkpoint: products of others have other bits.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from core.train.optim.rules.cautious import masked

State = dict[str, Any]


class _ByAxes(torch.optim.Optimizer):
    """An optimizer that keeps a statistic and a matrix for each axis of each parameter.

    A parameter's state are its counted updates (`step`), tensors of its shape, and `statistic_i`
    and `matrix_i` of axis i: a square matrix, a vector (the diagonal), or nothing (the axis is left
    alone).
    """

    decays_after: ClassVar[bool] = False
    """Decoupled decay is of the weights after the update."""

    def __init__(self, params: Sequence[Tensor], **options: Any) -> None:
        super().__init__(params, options)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make one update by the gradients as they are; parameters without one stay."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: Tensor, gradient: Tensor, o: dict[str, Any]) -> None:
        decay, decoupled = o["weight_decay"], o["decoupled_weight_decay"]
        if o["maximize"]:
            gradient = -gradient
        if decay and not decoupled:
            gradient = gradient.add(parameter, alpha=decay)
        update = self._update(gradient, self.state[parameter], o)
        if update is None:
            return
        if o["cautious"]:
            update = masked(update.reshape(1, -1), gradient.reshape(1, -1)).view_as(parameter)
        shrink = o["lr"] * decay if decoupled else 0.0
        if shrink and not self.decays_after:
            parameter.mul_(1.0 - shrink)
        parameter.add_(update)
        if shrink and self.decays_after:
            parameter.mul_(1.0 - shrink)

    def _update(self, gradient: Tensor, state: State, o: dict[str, Any]) -> Tensor | None:
        """Return what to add to the parameter, without decoupled decay; None: nothing moves."""
        raise NotImplementedError


class Shampoo(_ByAxes):
    """Shampoo, with a mean of gradients where there is a momentum."""

    def _update(self, gradient: Tensor, state: State, o: dict[str, Any]) -> Tensor:
        axes = gradient.reshape(1) if gradient.dim() == 0 else gradient
        if not state:
            state["step"], state["mean"] = 0, torch.zeros_like(gradient)
            for axis, length in enumerate(axes.shape):
                first = axes.new_full((length,), o["eps"])
                whole = length <= o["max_preconditioner_dim"]
                state[f"statistic_{axis}"] = torch.diag(first) if whole else first
        due = state["step"] == 0 or (state["step"] + 1) % o["precondition_frequency"] == 0
        state["step"] += 1
        power = -0.5 / axes.dim()
        for axis in range(axes.dim()):
            statistic = state[f"statistic_{axis}"].add_(_seen(axes, axis, state))
            if due:
                before = state.get(f"matrix_{axis}")
                state[f"matrix_{axis}"] = inverse_root(statistic, power, o["eps"], before)
        mean: Tensor = state["mean"].lerp_(gradient, 1.0 - o["momentum"])
        found = mean.view_as(axes)
        for axis in range(axes.dim()):
            found = _along(found, axis, state[f"matrix_{axis}"])
        return found.reshape(gradient.shape).mul(-o["lr"])


class Soap(_ByAxes):
    """SOAP; its decoupled decay comes after the update, as in the authors' implementation."""

    decays_after = True

    def _update(self, gradient: Tensor, state: State, o: dict[str, Any]) -> Tensor | None:
        beta1, beta2 = o["betas"]
        beta = beta2 if o["shampoo_beta"] is None else o["shampoo_beta"]
        if not state:
            state["step"] = 0
            state["mean"], state["square"] = (torch.zeros_like(gradient) for _ in range(2))
            turns = gradient.dim() > 1 or (gradient.dim() == 1 and o["precondition_1d"])
            for axis, length in enumerate(gradient.shape if turns else ()):
                if length <= o["max_preconditioner_dim"]:
                    statistic = gradient.new_zeros(length, length)
                    statistic.lerp_(_product(gradient, axis), 1.0 - beta)
                    state[f"statistic_{axis}"] = statistic
                    state[f"matrix_{axis}"] = eigenvectors(statistic)
            return None
        state["step"] += 1
        t = state["step"]
        mean = state["mean"].lerp_(gradient, 1.0 - beta1)
        square = state["square"].lerp_(_turned(gradient, state).square(), 1.0 - beta2)
        step = _turned(mean, state) / square.sqrt().add_(o["eps"])
        step = _turned(step, state, back=True)
        if o["normalize_grads"]:
            step = step / (1e-30 + step.square().mean().sqrt())
        lr = o["lr"]
        if o["correct_bias"]:
            lr = lr * math.sqrt(1.0 - beta2**t) / (1.0 - beta1**t)
        for axis in range(gradient.dim()):
            if f"statistic_{axis}" in state:
                statistic = state[f"statistic_{axis}"]
                statistic.lerp_(_product(gradient, axis), 1.0 - beta)
                if t % o["precondition_frequency"] == 0:
                    _iterate(statistic, axis, state)
        return step.mul(-lr)


def _seen(gradient: Tensor, axis: int, state: State) -> Tensor:
    """Return what the statistic of an axis takes of a gradient."""
    if state[f"statistic_{axis}"].dim() == 2:
        return _product(gradient, axis)
    others = [other for other in range(gradient.dim()) if other != axis]
    squares = gradient.square()
    return squares.sum(dim=others) if others else squares


def _product(gradient: Tensor, axis: int) -> Tensor:
    """Return G⁽ⁱ⁾G⁽ⁱ⁾ᵀ."""
    unfolded = gradient.movedim(axis, 0).reshape(gradient.shape[axis], -1)
    return unfolded @ unfolded.mT


def _along(tensor: Tensor, axis: int, matrix: Tensor) -> Tensor:
    """Multiply along an axis by a matrix, or a diagonal one."""
    moved = tensor.movedim(axis, -1)
    product = moved * matrix if matrix.dim() == 1 else moved @ matrix.mT
    return product.movedim(-1, axis)


def _turned(tensor: Tensor, state: State, *, back: bool = False) -> Tensor:
    """Turn a tensor into the eigenvectors of all its axes, or back."""
    for axis in range(tensor.dim()):
        matrix = state.get(f"matrix_{axis}")
        if matrix is not None:
            tensor = _along(tensor, axis, matrix if back else matrix.mT)
    return tensor


def inverse_root(
    statistic: Tensor, power: float, least: float, before: Tensor | None = None
) -> Tensor:
    """Return a statistic to a negative power, whose eigenvalues are at least `least`.

    Args:
        statistic: a symmetric matrix, or the diagonal of one.
        before: what stays where the decomposition does not converge; None: the power of the
            diagonal.
    """
    if statistic.dim() == 1:
        return statistic.clamp(min=least) ** power
    if not bool(torch.isfinite(statistic).all()):
        return torch.full_like(statistic, math.nan)
    try:
        values, vectors = torch.linalg.eigh(statistic.double())
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        return torch.diag(statistic.diagonal() ** power) if before is None else before
    root: Tensor = (vectors * values.clamp(min=least) ** power) @ vectors.mT
    return root.to(statistic.dtype).contiguous()


def eigenvectors(statistic: Tensor) -> Tensor:
    """Return the eigenvectors of a symmetric matrix as columns, the largest eigenvalue's first;
    those of the unit matrix where the decomposition does not converge."""
    if not bool(torch.isfinite(statistic).all()):
        return torch.full_like(statistic, math.nan)
    try:
        vectors: Tensor = torch.linalg.eigh(statistic.double())[1]
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        return torch.eye(len(statistic), dtype=statistic.dtype, device=statistic.device)
    return vectors.flip(1).to(statistic.dtype).contiguous()


def _iterate(statistic: Tensor, axis: int, state: State) -> None:
    """Make one step of orthogonal iteration for the eigenvectors of an axis."""
    vectors = state[f"matrix_{axis}"]
    if not bool(torch.isfinite(statistic).all()):
        state[f"matrix_{axis}"] = torch.full_like(vectors, math.nan)
        return
    product = statistic @ vectors
    order = torch.argsort((vectors * product).sum(dim=0), descending=True, stable=True)
    state["square"] = state["square"].index_select(axis, order)
    found: Tensor = torch.linalg.qr(product.index_select(1, order))[0]
    state[f"matrix_{axis}"] = found.contiguous()
