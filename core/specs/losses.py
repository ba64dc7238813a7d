"""Losses, by torch.nn.functional's names and options. The mean over the rows of a batch."""

from typing import Annotated, Literal

from pydantic import Field

from core.specs.base import WHOLE, Fraction, NonNegative, Positive, Spec


class CrossEntropy(Spec):
    """Softmax cross-entropy of class ids 0 … C−1 (logits: rows × C)."""

    kind: Literal["cross_entropy"]
    label_smoothing: Fraction = 0.0


class BinaryCrossEntropy(Spec):
    """Sigmoid cross-entropy of targets in {0, 1} on one logit a row (torch's
    binary_cross_entropy_with_logits)."""

    kind: Literal["binary_cross_entropy"]


class MultiMargin(Spec):
    """Multi-class hinge loss of class ids (multi_margin_loss)."""

    kind: Literal["multi_margin"]
    p: Annotated[int, Field(ge=1, le=2), WHOLE] = 1
    margin: NonNegative = 1.0


class MSE(Spec):
    kind: Literal["mse"]


class L1(Spec):
    kind: Literal["l1"]


class SmoothL1(Spec):
    kind: Literal["smooth_l1"]
    beta: NonNegative = 1.0


class Huber(Spec):
    kind: Literal["huber"]
    delta: Positive = 1.0


Loss = Annotated[
    CrossEntropy | BinaryCrossEntropy | MultiMargin | MSE | L1 | SmoothL1 | Huber,
    Field(discriminator="kind"),
]
