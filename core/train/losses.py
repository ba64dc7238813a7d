"""The losses of supervised problems and what they ask of the targets."""

from collections.abc import Callable
from functools import partial
from typing import Literal, assert_never

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
    SmoothL1,
)

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""(outputs rows x outputs, targets) -> the mean over rows and outputs, 0-dim."""

TargetForm = Literal["class_ids", "binary", "values"]
"""Form of the targets that a loss takes: int64 ids of shape (rows,); 0.0 and 1.0, or values, of
shape (rows, outputs) in the model's precision."""


def build_loss(spec: Loss) -> LossFunction:
    """Build torch.nn.functional's loss of this name with the spec's options."""
    match spec:
        case CrossEntropy(label_smoothing=0.0):
            return functional.cross_entropy
        case CrossEntropy():
            return partial(functional.cross_entropy, label_smoothing=spec.label_smoothing)
        case BinaryCrossEntropy():
            return functional.binary_cross_entropy_with_logits
        case MultiMargin():
            return partial(functional.multi_margin_loss, p=spec.p, margin=spec.margin)
        case MSE():
            return functional.mse_loss
        case L1():
            return functional.l1_loss
        case SmoothL1():
            return partial(functional.smooth_l1_loss, beta=spec.beta)
        case Huber():
            return partial(functional.huber_loss, delta=spec.delta)
        case _:
            assert_never(spec)


def twice_differentiable(spec: Loss) -> LossFunction:
    """`build_loss` with a second derivative, which torch's multi-margin loss does not have."""
    if isinstance(spec, MultiMargin):
        return partial(_multi_margin, p=spec.p, margin=spec.margin)
    return build_loss(spec)


def _multi_margin(outputs: Tensor, ids: Tensor, *, p: int, margin: float) -> Tensor:
    """Mean over rows of Σ_{j≠y} max(0, margin − z_y + z_j)^p / classes."""
    chosen = ids.unsqueeze(1)
    gaps = (margin - outputs.gather(1, chosen) + outputs).clamp(min=0) ** p
    others = torch.ones_like(outputs).scatter(1, chosen, 0.0)
    return (gaps * others).mean(dim=1).mean()


def target_form(spec: Loss) -> TargetForm:
    """Return the form of the targets that the loss takes."""
    match spec:
        case CrossEntropy() | MultiMargin():
            return "class_ids"
        case BinaryCrossEntropy():
            return "binary"
        case MSE() | L1() | SmoothL1() | Huber():
            return "values"
        case _:
            assert_never(spec)
