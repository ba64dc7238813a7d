"""Rules of losses: the targets must be what the loss wants, classes, labels or values."""

from typing import assert_never

from core.specs.data import Builtin, Data, Inline, InlineText, Synthetic, Upload
from core.specs.job import DataProblem, Reconstruction
from core.specs.losses import BinaryCrossEntropy, CrossEntropy, Loss
from core.specs.sizes.shapes import DataShape, inline_classes, loss_family, output_width
from core.specs.splits.kinds import FoldsSplit, FractionSplit
from core.specs.validation.errors import FieldErrorList, shown
from core.specs.validation.supervised.rows import DATA


def check_loss(problem: DataProblem, loss: Loss, shape: DataShape, faults: FieldErrorList) -> None:
    """Check that the loss suits the targets, and its own numbers the classes or labels.
    `loss`: the one given, or the default."""
    family, inline = loss_family(loss), isinstance(problem.data, Inline)
    if isinstance(problem, Reconstruction):
        if family != "values":
            faults.add(
                "problem.loss", "loss_does_not_fit",
                f"problem.loss {loss.kind} wants classes, and the targets of a reconstruction are"
                " its features; use mse, l1, smooth_l1, huber or quantile",
            )  # fmt: skip
        return
    if problem.data.scale_targets and family != "values":
        faults.add(
            f"{DATA}.scale_targets", "no_values",
            f"{DATA}.scale_targets true is for targets that are values, and the loss {loss.kind}"
            " wants classes: leave it out, or use the loss mse, l1, smooth_l1 or huber",
        )  # fmt: skip
    if family == "values":
        if shape.num_classes is not None and not inline:
            way_out = "binary_cross_entropy or " if shape.num_classes == 2 else ""
            faults.add(
                "problem.loss", "loss_does_not_fit",
                f"problem.loss {loss.kind} wants values, but the targets of"
                f" {_name(problem)} are {shape.num_classes} classes; use {way_out}cross_entropy",
            )  # fmt: skip
        return
    if isinstance(loss, BinaryCrossEntropy) and _has_labels(problem.data):
        _check_labels(problem.data, faults)
    elif shape.num_classes is None:
        _refuse_values(problem, loss, faults)
    elif isinstance(problem.data, Inline):
        ignored = loss.ignore_index if isinstance(loss, CrossEntropy) else None
        _check_ids(problem.data, faults, chosen=problem.loss is not None, ignored=ignored)
    _check_weights(problem.data, loss, output_width(loss, shape), faults)
    if family == "binary" and (shape.num_classes or 2) != 2:
        faults.add(
            "problem.loss", "loss_does_not_fit",
            f"problem.loss binary_cross_entropy wants 2 classes; {_name(problem)} has"
            f" {shape.num_classes}; use cross_entropy",
        )  # fmt: skip


def _has_labels(data: Data) -> bool:
    """Tell whether the targets are several numbers a row: labels where the loss wants classes."""
    if isinstance(data, Upload):
        return len(data.targets) > 1
    return isinstance(data, Inline) and isinstance(data.given_targets[0], tuple)


def _check_labels(data: Data, faults: FieldErrorList) -> None:
    if not isinstance(data, Inline):
        return
    for row, labels in enumerate(data.given_targets):
        if isinstance(labels, tuple) and not set(labels) <= {0.0, 1.0}:
            faults.add(
                f"{DATA}.targets.{row}", "loss_does_not_fit",
                f"{DATA}.targets: row {row} has {shown(labels)}, and binary_cross_entropy wants 0"
                " or 1 for each label; write those, or use the loss mse, l1, smooth_l1 or huber",
            )  # fmt: skip
            return


def _check_weights(data: Data, loss: Loss, outputs: int, faults: FieldErrorList) -> None:
    path = "problem.loss"
    factors = loss.pos_weight if isinstance(loss, BinaryCrossEntropy) else None
    if isinstance(factors, tuple) and len(factors) != outputs:
        faults.add(
            f"{path}.pos_weight", "length_mismatch",
            f"{path}.pos_weight has {len(factors):,} numbers for {outputs:,} labels; give one for"
            " each, or one number",
        )  # fmt: skip
    if not isinstance(loss, CrossEntropy):
        return
    weights, ignored = loss.class_weights, loss.ignore_index
    if isinstance(weights, tuple) and len(weights) != outputs:
        faults.add(
            f"{path}.class_weights", "length_mismatch",
            f"{path}.class_weights has {len(weights):,} numbers for {outputs:,} classes; give one"
            ' for each, or "balanced"',
        )  # fmt: skip
    elif isinstance(weights, tuple) and not any(weights):
        faults.add(
            f"{path}.class_weights", "all_zero",
            f"{path}.class_weights are all 0, so that nothing would be learned; give one above 0",
        )  # fmt: skip
    if ignored is None:
        return
    if ignored >= outputs:
        faults.add(
            f"{path}.ignore_index", "unknown_class",
            f"{path}.ignore_index must be a class, 0 … {outputs - 1}, or a negative number, which"
            f" is none; {ignored:,} was given",
        )  # fmt: skip
    elif ignored < 0 and isinstance(data.split, FractionSplit | FoldsSplit) and data.split.stratify:
        faults.add(
            f"{path}.ignore_index", "conflict",
            f"{path}.ignore_index {ignored:,} is no class, by which {DATA}.split.stratify could"
            " split: give a class, or leave stratify out",
        )  # fmt: skip


def _refuse_values(problem: DataProblem, loss: Loss, faults: FieldErrorList) -> None:
    if not isinstance(problem.data, Inline):
        faults.add(
            "problem.loss", "loss_does_not_fit",
            f"problem.loss {loss.kind} wants classes, but the targets of {_name(problem)} are"
            " values; use mse, l1, smooth_l1 or huber",
        )  # fmt: skip
        return
    targets = problem.data.given_targets
    first = next((i for i, target in enumerate(targets) if not isinstance(target, int)), 0)
    faults.add(
        f"{DATA}.targets", "loss_does_not_fit",
        f"{DATA}.targets: {shown(targets[first])} (row {first}) is no class id, which"
        f" the loss {loss.kind} wants: write whole numbers 0, 1, …, or use the loss mse, l1,"
        " smooth_l1 or huber",
    )  # fmt: skip


def _check_ids(data: Inline, faults: FieldErrorList, *, chosen: bool, ignored: int | None) -> None:
    count = inline_classes(data)
    present = data.counted.ids - ({ignored} if ignored is not None and ignored < 0 else set())
    negative = min(present, default=0)
    way_out = "" if chosen else "; if the targets are values, set problem.loss to mse"
    if negative < 0:
        faults.add(
            f"{DATA}.targets", "class_id_out_of_range",
            f"{DATA}.targets: class ids start at 0; {negative} was given{way_out}",
        )  # fmt: skip
    elif len(present) < count:
        absent = next(i for i in range(count) if i not in present)
        faults.add(
            f"{DATA}.targets", "class_id_out_of_range",
            f"{DATA}.targets: class ids must be 0 … C−1, each at least once; the largest is"
            f" {count - 1:,}, but no row has {absent}{way_out}",
        )  # fmt: skip
    elif count < 2:
        faults.add(
            f"{DATA}.targets", "class_id_out_of_range",
            f"{DATA}.targets names one class only; give rows of at least two{way_out}",
        )  # fmt: skip


def _name(problem: DataProblem) -> str:
    match problem.data:
        case Synthetic(generator=generator):
            return generator.kind
        case Inline():
            return "the inline data"
        case InlineText():
            return "the text"
        case Builtin(name=name):
            return name
        case Upload(target=target):
            return shown(target)
        case _:
            assert_never(problem.data)
