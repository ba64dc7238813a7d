"""The mean loss of each run's batch: outputs (runs, outputs, rows) -> (runs,)."""

from collections.abc import Callable
from functools import partial
from typing import Any, assert_never, cast

import torch
from torch import Tensor
from torch.nn import functional

from core.specs.losses import (
    L1,
    MSE,
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    Loss,
    MultiMargin,
    Quantile,
    SmoothL1,
)
from core.train.losses import WeightedCrossEntropy, positively_weighted, quantile_loss

StackedLoss = Callable[[Tensor, Tensor], Tensor]
"""(outputs (runs, outputs, rows), targets: ids (runs, rows) or values (runs, rows, outputs))."""


def stacked_loss(spec: Loss) -> StackedLoss:
    """Return the loss that `spec` names, as core.train.losses.build_loss has it for one run."""
    match spec:
        case CrossEntropy() if spec.class_weights is not None or spec.ignore_index is not None:
            return partial(_weighted_cross_entropy, single=WeightedCrossEntropy(spec))
        case CrossEntropy():
            return CrossEntropyLoss(spec.label_smoothing)
        case MultiMargin():
            return partial(_multi_margin, p=spec.p, margin=spec.margin)
        case BinaryCrossEntropy(pos_weight=None):
            return _mean_of(functional.binary_cross_entropy_with_logits)
        case BinaryCrossEntropy():
            return _mean_of(positively_weighted(spec))
        case MSE():
            return _mean_of(functional.mse_loss)
        case L1():
            return _mean_of(functional.l1_loss)
        case SmoothL1():
            return _mean_of(partial(functional.smooth_l1_loss, beta=spec.beta))
        case Huber():
            return _mean_of(partial(functional.huber_loss, delta=spec.delta))
        case Quantile():
            return _mean_of(partial(quantile_loss, quantile=spec.quantile))
        case _:
            assert_never(spec)


class _CrossEntropy(torch.autograd.Function):
    """Mean over the rows of −Σ_c q_c log softmax(z)_c, q the smoothed one-hot target.

    torch's own, class by class in the last axis, takes four times as long for few classes.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        log_p = torch.log_softmax(z, 1)
        ctx.save_for_backward(z, targets)
        ctx.smoothing = smoothing
        return _cross_entropy_values(log_p, targets, smoothing)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        (g,) = gradients
        z, targets = ctx.saved_tensors
        found = _cross_entropy_gradient(torch.softmax(z, 1), targets, ctx.smoothing)
        return found.mul_(g.view(-1, 1, 1)), None, None


class CrossEntropyLoss:
    """The cross entropy of class ids."""

    def __init__(self, smoothing: float) -> None:
        self._smoothing = smoothing

    def __call__(self, z: Tensor, targets: Tensor) -> Tensor:
        apply = _CrossEntropy.apply
        return cast(Tensor, apply(z, targets, self._smoothing))  # type: ignore[no-untyped-call]

    def with_gradient(self, z: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses, and the gradient of each in its run's outputs.

        The softmax is computed anew: `exp` is MKL's, which takes ten times as long for a number
        whose exponential is 0 or denormal, as those of a run that is sure of its classes are.
        """
        losses = _cross_entropy_values(torch.log_softmax(z, 1), targets, self._smoothing)
        return losses, _cross_entropy_gradient(torch.softmax(z, 1), targets, self._smoothing)


def _cross_entropy_values(log_p: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    losses = log_p.gather(1, targets.unsqueeze(1)).squeeze(1).mean(1).neg_()
    if smoothing:
        losses = (1.0 - smoothing) * losses - smoothing * log_p.mean((1, 2))
    return losses


def _cross_entropy_gradient(grad: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Return (p − q)/rows in the place of p, which is what `grad` holds."""
    _, classes, rows = grad.shape
    if smoothing:
        grad.sub_(smoothing / classes)
    if targets.stride(0) == 0:  # all runs have the same: one matrix serves all, in half the time
        one_hot = torch.eye(classes, dtype=grad.dtype, device=grad.device)
        grad.sub_(one_hot.index_select(1, targets[0]), alpha=1.0 - smoothing)
    else:
        ids = targets.unsqueeze(1)
        grad.scatter_(1, ids, grad.gather(1, ids).sub_(1.0 - smoothing))
    return grad.mul_(1.0 / rows)


def with_gradient(loss: StackedLoss, z: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return each run's loss, and its gradient in the run's outputs."""
    if isinstance(loss, CrossEntropyLoss):
        return loss.with_gradient(z, targets)
    with torch.inference_mode(False):
        z = z.clone().requires_grad_()  # an inference tensor could not be differentiated
        losses = loss(z, targets)
        (gradient,) = torch.autograd.grad(losses, z, torch.ones_like(losses))
    return losses.detach(), gradient


def _weighted_cross_entropy(z: Tensor, targets: Tensor, *, single: WeightedCrossEntropy) -> Tensor:
    log_p = torch.log_softmax(z, 1)
    weights = single.of_rows(targets, z)
    ids = torch.where(weights != 0, targets, 0).unsqueeze(1)
    losses = -(log_p.gather(1, ids).squeeze(1) * weights).sum(1)
    if single.smoothing:
        classes = single.weights(z)
        of_all = log_p if classes is None else log_p * classes.view(1, -1, 1)
        counted = 1.0 if single.ignore_index is None else targets != single.ignore_index
        smooth = -(of_all.sum(1) * counted).sum(1) / z.shape[1]
        losses = (1.0 - single.smoothing) * losses + single.smoothing * smooth
    return losses / weights.sum(1).clamp(min=torch.finfo(z.dtype).tiny)


def _multi_margin(z: Tensor, targets: Tensor, *, p: int, margin: float) -> Tensor:
    runs, classes, rows = z.shape
    each = functional.multi_margin_loss(
        z.transpose(1, 2).reshape(runs * rows, classes),
        targets.reshape(-1),
        p=p,
        margin=margin,
        reduction="none",
    )
    return each.view(runs, rows).mean(1)


def _mean_of(loss: Callable[..., Tensor]) -> StackedLoss:
    def mean(z: Tensor, targets: Tensor) -> Tensor:
        wanted = targets.expand(z.shape[0], -1, -1)
        return loss(z.transpose(1, 2), wanted, reduction="none").mean((1, 2))

    return mean
