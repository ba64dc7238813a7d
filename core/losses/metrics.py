"""What an evaluation measures beside the loss."""

from typing import Literal, assert_never

from torch import Tensor

from core.losses.build import TargetForm

MetricName = Literal["accuracy", "mae"]


def metric_name(form: TargetForm) -> MetricName:
    """`accuracy` where the targets are classes, `mae` (mean absolute error) where values."""
    return "mae" if form == "values" else "accuracy"


def metric_sum(outputs: Tensor, targets: Tensor, form: TargetForm) -> float:
    """The metric's sum over the rows: rows that are right, or each row's mean absolute error.

    A tie goes to the lower class; a logit of 0 counts as class 0; a row of NaN is never right.
    """
    match form:
        case "class_ids":
            chosen = outputs.argmax(dim=1)
            right = (chosen == targets) & ~outputs.isnan().any(dim=1)
            return float(right.sum().item())
        case "binary":
            right = (outputs > 0) == (targets > 0.5)
            return float((right & ~outputs.isnan()).sum().item())
        case "values":
            return float((outputs - targets).abs().double().mean(dim=1).sum().item())
        case _:
            assert_never(form)
