"""The losses of supervised problems and what they ask of the targets."""

from collections.abc import Callable
from functools import partial
from typing import Final, Literal, assert_never

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

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""(outputs rows x outputs, targets) -> the mean over rows and outputs, 0-dim."""

TargetForm = Literal["class_ids", "binary", "values"]
"""Form of the targets that a loss takes: int64 ids of shape (rows,); 0.0 and 1.0, or values, of
shape (rows, outputs) in the model's precision."""


def build_loss(spec: Loss) -> LossFunction:
    """Build torch.nn.functional's loss of this name with the spec's options."""
    match spec:
        case CrossEntropy() if spec.class_weights is not None or spec.ignore_index is not None:
            return WeightedCrossEntropy(spec)
        case CrossEntropy(label_smoothing=0.0):
            return functional.cross_entropy
        case CrossEntropy():
            return partial(functional.cross_entropy, label_smoothing=spec.label_smoothing)
        case BinaryCrossEntropy(pos_weight=None):
            return functional.binary_cross_entropy_with_logits
        case BinaryCrossEntropy():
            return positively_weighted(spec)
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
        case Quantile():
            return partial(quantile_loss, quantile=spec.quantile)
        case _:
            assert_never(spec)


class TokenLoss:
    """A loss of classes, taken of tokens: outputs (rows, time, tokens), targets (rows, time)."""

    def __init__(self, loss: LossFunction) -> None:
        self._loss = loss

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self._loss(outputs.flatten(0, 1), targets.flatten())


def settled_loss(spec: Loss, targets: Tensor, num_classes: int) -> Loss:
    """Return the loss with its class weights as numbers. `targets`: of the training rows.

    A class without a row there counts as if it had one: where it is evaluated, it is seen.
    """
    if not isinstance(spec, CrossEntropy) or spec.class_weights != "balanced":
        return spec
    classes = [number for number in range(num_classes) if number != spec.ignore_index]
    counts = [int((targets == number).sum()) for number in classes]
    rows = sum(counts)
    weights = [0.0] * num_classes
    for number, count in zip(classes, counts, strict=True):
        weights[number] = rows / (len(classes) * max(1, count))
    return spec.model_copy(update={"class_weights": tuple(weights)})


class WeightedCrossEntropy:
    """torch's cross-entropy with a weight for each class and rows that are ignored; 0 where no row
    of a batch has a weight, which is 0/0 in torch.

    Args:
        spec: settled; see `settled_loss`.
    """

    def __init__(self, spec: CrossEntropy) -> None:
        self.smoothing = spec.label_smoothing
        self.ignore_index = spec.ignore_index
        if isinstance(spec.class_weights, str):
            raise ValueError("the class weights must be settled before the loss is built")
        self._weights = spec.class_weights
        self._held: Tensor | None = None

    def weights(self, like: Tensor) -> Tensor | None:
        """Return the classes' weights on the device and in the precision of `like`."""
        if self._weights is None:
            return None
        held = self._held
        if held is None or held.device != like.device or held.dtype != like.dtype:
            held = self._held = torch.tensor(self._weights, dtype=like.dtype, device=like.device)
        return held

    def of_rows(self, targets: Tensor, like: Tensor) -> Tensor:
        """Return each row's weight, in the shape of `targets`."""
        counted = torch.ones_like(targets, dtype=torch.bool)
        if self.ignore_index is not None:
            counted = targets != self.ignore_index
        classes = self.weights(like)
        if classes is None:
            return counted.to(like.dtype)
        return classes[torch.where(counted, targets, 0)] * counted

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        found = functional.cross_entropy(
            outputs,
            targets,
            weight=self.weights(outputs),
            ignore_index=_NOTHING if self.ignore_index is None else self.ignore_index,
            label_smoothing=self.smoothing,
            reduction="sum",
        )
        total = self.of_rows(targets, outputs).sum()
        return found / total.clamp(min=torch.finfo(outputs.dtype).tiny)


_NOTHING: Final = -(2**40)
"""A number that is no target, and is ignored in vain."""


def share_of(loss: LossFunction, some: Tensor, every: Tensor, nothing: float = 0.0) -> float:
    """Return the share that the mean loss of some rows has in that of all: by their number, or by
    their weights; `nothing` where none has a weight. `some`, `every`: targets."""
    if not isinstance(loss, WeightedCrossEntropy):
        return len(some) / len(every)
    like = torch.empty((), dtype=torch.float64, device=every.device)
    total = float(loss.of_rows(every, like).sum())
    return float(loss.of_rows(some, like).sum()) / total if total else nothing


def positively_weighted(spec: BinaryCrossEntropy) -> LossFunction:
    """Return torch's binary cross-entropy with a weight on targets that are 1; also of runs with a
    leading axis."""

    def loss(outputs: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
        weight = torch.tensor(spec.pos_weight, dtype=outputs.dtype, device=outputs.device)
        return functional.binary_cross_entropy_with_logits(
            outputs, targets, pos_weight=weight, reduction=reduction
        )

    return loss


def quantile_loss(
    outputs: Tensor, targets: Tensor, *, quantile: float, reduction: str = "mean"
) -> Tensor:
    """Return the mean of max(q·e, (q − 1)·e), e the target less the output; `none`: of each.
    Written with |e|, whose second derivative torch has."""
    errors = targets - outputs
    losses = (quantile - 0.5) * errors + 0.5 * errors.abs()
    return losses if reduction == "none" else losses.mean()


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
        case MSE() | L1() | SmoothL1() | Huber() | Quantile():
            return "values"
        case _:
            assert_never(spec)
