"""Resolution of supervised problems: rows, loss, split, model and weights, checked in turn and
written out."""

from typing import Final, assert_never

from core.specs.base import is_whole
from core.specs.data import Builtin, Inline, InlineText, Synthetic, Upload
from core.specs.job import DataProblem, Reconstruction
from core.specs.losses import MSE, CrossEntropy
from core.specs.sizes.shapes import DataShape, loss_family, problem_shape
from core.specs.sizes.uploads import Uploads
from core.specs.validation.augment import check_augment
from core.specs.validation.errors import FieldErrorList
from core.specs.validation.limits import Limits
from core.specs.validation.split import check_short_form, check_split, in_short_form
from core.specs.validation.supervised.losses import check_loss
from core.specs.validation.supervised.model import settle_model
from core.specs.validation.supervised.rows import (
    DATA,
    check_generator,
    check_given_features,
    check_given_targets,
    check_inline,
)
from core.specs.validation.uploads.dataset import resolve_upload
from core.specs.validation.uploads.weights import resolve_weights

_CROSS_ENTROPY: Final = CrossEntropy(kind="cross_entropy")


def resolve_supervised(
    problem: DataProblem, limits: Limits, faults: FieldErrorList, uploads: Uploads
) -> DataProblem | None:
    """Check data and loss and write the loss out; None where the data's shape is not known.
    `uploads`: the data sets that it may name."""
    before = len(faults.errors)
    check_short_form(problem.data, faults)
    check_given_targets(problem, faults)
    check_given_features(problem, faults)
    if len(faults.errors) > before:
        return None
    problem = _resolve_rows(_with_ids(problem), limits, faults, uploads)
    if len(faults.errors) > before:
        return None
    shape = problem_shape(problem)
    loss = problem.loss or (MSE(kind="mse") if shape.num_classes is None else _CROSS_ENTROPY)
    check_loss(problem, loss, shape, faults)
    check_split(problem, shape, limits, faults)
    check_augment(problem.data, shape, faults)
    if len(faults.errors) > before:
        return None
    problem = problem if problem.loss else problem.model_copy(update={"loss": loss})
    problem = settle_model(problem, limits, faults)
    if len(faults.errors) > before:
        return None
    problem = resolve_weights(problem, uploads, limits, faults)
    if len(faults.errors) > before:
        return None
    return _split_written_out(problem, shape)


def _resolve_rows(
    problem: DataProblem, limits: Limits, faults: FieldErrorList, uploads: Uploads
) -> DataProblem:
    """Check where the rows come from, and write out what follows from an upload's record."""
    match problem.data:
        case Inline():
            check_inline(problem.data, faults)
        case Synthetic():
            check_generator(problem.data, limits, faults)
        case Builtin():
            pass
        case InlineText():
            faults.add(
                f"{DATA}.kind", "data_does_not_fit",
                f"{DATA}.kind text is for the problem language_model, and {problem.kind} learns"
                " from rows of features: use inline, dataset, builtin or synthetic",
            )  # fmt: skip
        case Upload() as named:
            found = resolve_upload(
                named, uploads, problem.loss, limits, faults,
                targets_wanted=not isinstance(problem, Reconstruction),
            )  # fmt: skip
            if found is not None and found is not named:
                return problem.model_copy(update={"data": found})
        case _:
            assert_never(problem.data)
    return problem


def _split_written_out(problem: DataProblem, shape: DataShape) -> DataProblem:
    fields = in_short_form(problem.data, shape.num_rows)
    if all(getattr(problem.data, name) == value for name, value in fields.items()):
        return problem
    data = problem.data.model_copy(update=fields)
    return problem.model_copy(update={"data": data})


def _with_ids(problem: DataProblem) -> DataProblem:
    """Take whole targets that are written as `1.0` for class ids, where the loss wants classes."""
    data, loss = problem.data, problem.loss
    if not isinstance(data, Inline) or loss is None or loss_family(loss) == "values":
        return problem
    targets = data.targets
    if targets is None or isinstance(targets[0], int) or not all(map(is_whole, targets)):
        return problem
    ids = tuple(int(target) for target in targets if not isinstance(target, tuple))
    return problem.model_copy(update={"data": data.with_targets(ids)})
