"""Rules of supervised problems: data, loss, model and batch must fit one another."""

from math import prod
from typing import Final, Literal, TypeVar, assert_never

from core.specs.base import is_whole
from core.specs.data import (
    Blobs,
    Builtin,
    Data,
    ExplicitOrder,
    Inline,
    InlineText,
    Spirals,
    Synthetic,
    Upload,
)
from core.specs.job import DataProblem, JobSpec, Reconstruction
from core.specs.layers.expand import dropout_of, settled
from core.specs.layers.kinds import BatchNormLayer, GroupNorm, LayerNormLayer
from core.specs.layers.trace import LayerError, Placed
from core.specs.losses import MSE, BinaryCrossEntropy, CrossEntropy, Loss
from core.specs.optimizers.kinds import LBFGS, Rprop
from core.specs.sizes.shapes import (
    DataShape,
    inline_classes,
    inputs_of,
    layers_of,
    loss_family,
    output_width,
    problem_rows,
    problem_shape,
)
from core.specs.sizes.uploads import Uploads
from core.specs.splits.kinds import FoldsSplit, FractionSplit
from core.specs.validation.augment import check_augment
from core.specs.validation.errors import FieldErrorList, shown
from core.specs.validation.limits import Limits
from core.specs.validation.split import check_short_form, check_split, in_short_form
from core.specs.validation.uploads.dataset import resolve_upload
from core.specs.validation.uploads.weights import resolve_weights

DEFAULT_BATCH: Final = 64
MOST_SPREAD: Final = 1e15
"""Squares of such numbers, and sums of them, are finite in float32 too."""
FLOAT32_MAX: Final = 3.4028235e38
_DATA: Final = "problem.data"

BatchSize = int | Literal["full"] | None


def resolve_supervised(
    problem: DataProblem, limits: Limits, faults: FieldErrorList, uploads: Uploads
) -> DataProblem | None:
    """Check data and loss and write the loss out; None where the data's shape is not known.
    `uploads`: the data sets that it may name."""
    before = len(faults.errors)
    check_short_form(problem.data, faults)
    check_given_targets(problem, faults)
    if len(faults.errors) > before:
        return None
    problem = _resolve_rows(_with_ids(problem), limits, faults, uploads)
    if len(faults.errors) > before:
        return None
    shape = problem_shape(problem)
    loss = problem.loss or (MSE(kind="mse") if shape.num_classes is None else _CROSS_ENTROPY)
    _check_loss(problem, loss, shape, faults)
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
            _check_generator(problem.data, limits, faults)
        case Builtin():
            pass
        case InlineText():
            faults.add(
                f"{_DATA}.kind", "data_does_not_fit",
                f"{_DATA}.kind text is for the problem language_model, and {problem.kind} learns"
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


_Problem = TypeVar("_Problem", bound=DataProblem)


def settle_model(problem: _Problem, limits: Limits, faults: FieldErrorList) -> _Problem:
    """Return the problem with its model written out, whose layers are checked. Its data and its
    loss are resolved."""
    assert problem.loss is not None
    outputs = output_width(problem.loss, problem_shape(problem))
    model = settled(problem.model, inputs_of(problem), outputs)
    if model is not problem.model:
        problem = problem.model_copy(update={"model": model})
    _check_layers(problem, limits, faults)
    return problem


def _split_written_out(problem: DataProblem, shape: DataShape) -> DataProblem:
    fields = in_short_form(problem.data, shape.num_rows)
    if all(getattr(problem.data, name) == value for name, value in fields.items()):
        return problem
    data = problem.data.model_copy(update=fields)
    return problem.model_copy(update={"data": data})


def check_given_targets(problem: DataProblem, faults: FieldErrorList) -> None:
    """Check that a reconstruction has no targets, and inline rows of other problems have."""
    data = problem.data
    if not isinstance(problem, Reconstruction):
        if isinstance(data, Inline) and data.targets is None:
            faults.add(
                f"{_DATA}.targets", "missing",
                f"{_DATA}.targets is required: one for each row of features; a problem of"
                " reconstruction has none",
            )  # fmt: skip
        return
    given: dict[str, object] = {}
    if isinstance(data, Inline):
        given["targets"] = data.targets
    if isinstance(data, Upload):
        given["target"] = data.target
    for name, value in given.items():
        if value is not None:
            faults.add(
                f"{_DATA}.{name}", "no_targets",
                f"{_DATA}.{name}: a reconstruction has no targets but the features themselves:"
                f" leave it out{', and name the features' if name == 'target' else ''}",
            )  # fmt: skip
    if data.scale_targets:
        faults.add(
            f"{_DATA}.scale_targets", "no_targets",
            f"{_DATA}.scale_targets: a reconstruction has no targets but the features themselves:"
            " use standardize",
        )  # fmt: skip


_CROSS_ENTROPY: Final = CrossEntropy(kind="cross_entropy")


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


def check_inline(data: Inline, faults: FieldErrorList) -> None:
    """Check that there is a row of targets for each of features, and all of one length."""
    widths = data.counted.feature_widths
    if len(widths) > 1:
        usual = widths.most_common(1)[0][0]
        odd = next(i for i, row in enumerate(data.features) if len(row) != usual)
        faults.add(
            f"{_DATA}.features.{odd}", "ragged",
            f"{_DATA}.features: row {odd} has {len(data.features[odd])} numbers, most rows have"
            f" {usual}; give every row the same number",
        )  # fmt: skip
    if data.targets is not None and len(data.targets) != len(data.features):
        faults.add(
            f"{_DATA}.targets", "length_mismatch",
            f"{_DATA}.targets has {len(data.targets):,} entries for {len(data.features):,} rows of"
            " features; give one a row",
        )  # fmt: skip
    target_widths = data.counted.target_widths
    if len(target_widths) > 1:
        faults.add(
            f"{_DATA}.targets", "ragged",
            f"{_DATA}.targets: rows have {min(target_widths)} to {max(target_widths)} numbers; give"
            " every row the same number",
        )  # fmt: skip


def _check_generator(data: Synthetic, limits: Limits, faults: FieldErrorList) -> None:
    generator = data.generator
    for name, value in generator:
        if isinstance(value, float) and value > MOST_SPREAD:
            faults.add(
                f"{_DATA}.generator.{name}", "less_than_equal",
                f"{_DATA}.generator.{name} must be at most {MOST_SPREAD:g}, for the data's variance"
                f" to be finite; {value:g} was given",
            )  # fmt: skip
    if generator.num_samples > limits.max_samples:
        faults.add(
            f"{_DATA}.generator.num_samples", "less_than_equal",
            f"{_DATA}.generator.num_samples must be at most {limits.max_samples:,} on this service;"
            f" {generator.num_samples:,} was given",
        )  # fmt: skip
    if isinstance(generator, (Blobs, Spirals)) and generator.num_classes > generator.num_samples:
        faults.add(
            f"{_DATA}.generator.num_classes", "less_than_equal",
            f"{_DATA}.generator.num_classes must be at most num_samples ="
            f" {generator.num_samples:,}; {generator.num_classes:,} was given",
        )  # fmt: skip


def _check_loss(problem: DataProblem, loss: Loss, shape: DataShape, faults: FieldErrorList) -> None:
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
            f"{_DATA}.scale_targets", "no_values",
            f"{_DATA}.scale_targets true is for targets that are values, and the loss {loss.kind}"
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
                f"{_DATA}.targets.{row}", "loss_does_not_fit",
                f"{_DATA}.targets: row {row} has {shown(labels)}, and binary_cross_entropy wants 0"
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
            f"{path}.ignore_index {ignored:,} is no class, by which {_DATA}.split.stratify could"
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
        f"{_DATA}.targets", "loss_does_not_fit",
        f"{_DATA}.targets: {shown(targets[first])} (row {first}) is no class id, which"
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
            f"{_DATA}.targets", "class_id_out_of_range",
            f"{_DATA}.targets: class ids start at 0; {negative} was given{way_out}",
        )  # fmt: skip
    elif len(present) < count:
        absent = next(i for i in range(count) if i not in present)
        faults.add(
            f"{_DATA}.targets", "class_id_out_of_range",
            f"{_DATA}.targets: class ids must be 0 … C−1, each at least once; the largest is"
            f" {count - 1:,}, but no row has {absent}{way_out}",
        )  # fmt: skip
    elif count < 2:
        faults.add(
            f"{_DATA}.targets", "class_id_out_of_range",
            f"{_DATA}.targets names one class only; give rows of at least two{way_out}",
        )  # fmt: skip


def resolve_batch(spec: JobSpec, problem: DataProblem, faults: FieldErrorList) -> BatchSize:
    """Return the batch size written out: null with an explicit order, which replaces it."""
    given, data = spec.batch_size, problem.data
    train_rows, eval_rows, test_rows = rows = problem_rows(problem)
    num_rows = sum(rows)
    held_out = f"{eval_rows:,} for evaluation"
    if test_rows:
        held_out += f" and {test_rows:,} for the test"
    if isinstance(data.order, ExplicitOrder):
        if given is not None:
            faults.add(
                "batch_size", "conflict",
                f"batch_size {shown(given)} and problem.data.order explicit exclude each other; the"
                " order names each step's rows: leave batch_size out",
            )  # fmt: skip
        _check_batch_norm(problem, [len(rows) for rows in data.order.steps], faults)
        return None
    if given is None:
        whole = isinstance(spec.optimizer, (LBFGS, Rprop))
        given = "full" if whole else min(DEFAULT_BATCH, train_rows)
    if given != "full" and given > train_rows:
        faults.add(
            "batch_size", "less_than_equal",
            f"batch_size {given:,} is more than the {train_rows:,} training rows ({num_rows:,} rows"
            f' less {held_out}); lower it, or use "full"',
        )  # fmt: skip
        return given
    size = train_rows if given == "full" else given
    rest = 0 if data.drop_last else train_rows % size
    _check_batch_norm(problem, [size, rest] if rest else [size], faults)
    return given


def check_accumulate(
    spec: JobSpec, problem: DataProblem, batch_size: BatchSize, faults: FieldErrorList
) -> None:
    """Check that a batch can be cut into micro batches which compute what it does."""
    count = spec.accumulate
    if count == 1:
        return
    if isinstance(spec.optimizer, LBFGS):
        faults.add(
            "accumulate", "conflict",
            f"accumulate {count:,} cannot be used with lbfgs, which computes the loss many times in"
            " a step: leave it out, or choose another optimizer, such as adam",
        )  # fmt: skip
    layers = layers_of(problem)
    if layers.batch_norms:
        faults.add(
            "accumulate", "conflict",
            f"accumulate {count:,} cannot be used with a norm of the batch, whose statistics are of"
            " all its rows: leave it out, or use a norm of layers or groups",
        )  # fmt: skip
    inside = [p for p in layers.all_layers if dropout_of(p.layer) and p.layer.kind != "dropout"]
    if inside:
        faults.add(
            "accumulate", "conflict",
            f"accumulate {count:,} cannot be used with dropout within {inside[0].layer.kind}"
            f" (problem.model.{inside[0].field}), which is drawn for all rows at once: use layers"
            " of dropout",
        )  # fmt: skip
    train_rows = problem_rows(problem).train
    rows = train_rows if batch_size == "full" else batch_size
    if rows is not None and rows % count:
        faults.add(
            "accumulate", "not_divisible",
            f"accumulate must divide the batch of {rows:,} rows; {count:,} was given",
        )  # fmt: skip


def _check_batch_norm(problem: DataProblem, sizes: list[int], faults: FieldErrorList) -> None:
    if min(sizes) > 1:
        return
    norm = next((placed for placed in layers_of(problem).all_layers if _by_rows(placed)), None)
    if norm is not None:
        faults.add(
            f"problem.model.{norm.field}", "batch_of_one_row",
            f"problem.model.{norm.field}: a norm of the batch cannot train on a batch of one row,"
            " which has no variance; choose another batch_size, set problem.data.drop_last, or use"
            " a norm of layers",
        )  # fmt: skip


def _check_layers(problem: DataProblem, limits: Limits, faults: FieldErrorList) -> None:
    """Check that the model's layers fit together, and that each can learn."""
    try:
        layers = layers_of(problem)
    except LayerError as error:
        param = f"problem.model.{error.field}"
        faults.add(param, error.code, f"{param}: {error}")
        return
    if limits.stored:
        return
    for placed in layers.all_layers:
        if _of_one_unit(placed):
            faults.add(
                f"problem.model.{placed.field}", "norm_of_one_unit",
                f"problem.model.{placed.field}: a norm over one unit ({placed.name}) gives the same"
                " number for every row, so that nothing before it learns; give the layer before it"
                " more units, or use a norm of the batch or none",
            )  # fmt: skip
            return


def _by_rows(placed: Placed) -> bool:
    """Tell whether the layer is a norm that takes one number a row."""
    return isinstance(placed.layer, BatchNormLayer) and prod(placed.input[1:]) == 1


def _of_one_unit(placed: Placed) -> bool:
    match placed.layer:
        case LayerNormLayer():
            return placed.input[-1] == 1
        case GroupNorm(num_groups=groups):
            return prod(placed.input) == groups
        case _:
            return False


def check_float32(problem: DataProblem, faults: FieldErrorList) -> None:
    """Check that inline numbers are finite in the precision that they are trained in."""
    data = problem.data
    if not isinstance(data, Inline):
        return
    counted = data.counted
    largest = {"features": counted.largest_feature, "targets": counted.largest_target}
    for field, value in largest.items():
        if value > FLOAT32_MAX:
            faults.add(
                f"{_DATA}.{field}", "not_finite",
                f"{_DATA}.{field}: {value:g} does not fit float32; scale it, or use the precision"
                " float64",
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
