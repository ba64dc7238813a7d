"""Shapes and counts that follow from a problem: rows, widths, parameters.

Torch-free, so that the API can refuse what does not fit; tests hold the counts against torch.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, assert_never

from core.specs.data import (
    Builtin,
    Data,
    Inline,
    InlineText,
    Synthetic,
    Upload,
    split_rows,
)
from core.specs.formulas.values import dimension
from core.specs.generators import (
    AddingProblem,
    Blobs,
    Circles,
    Friedman1,
    Generator,
    LinearRegressionData,
    Moons,
    Parity,
    SineSequence,
    Sinusoid,
    Spirals,
)
from core.specs.job import (
    DataProblem,
    Forecast,
    FunctionProblem,
    JobSpec,
    LanguageModel,
    Reconstruction,
)
from core.specs.layers import kinds as k
from core.specs.layers.expand import Expanded, expand
from core.specs.layers.inputs import Inputs, Place
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
    Targets,
)
from core.specs.sizes.sequences import context_rows, token_counts, vocabulary_size, window_rows
from core.specs.splits.rows import PartRows

_TABLES: Final = Path(__file__).parents[1] / "tables"

LossFamily = Literal["classes", "binary", "values"]


class DataShape(NamedTuple):
    """The facts about a data set that are known before it is loaded.

    Attributes:
        num_rows: before the split.
        num_features: columns.
        num_classes: None for targets that are values (and for inline rows, until a loss decides).
        target_width: numbers a row of targets; 1 for class ids.
        sample_shape: the shape of a row's features, where the data have one.
        categories: the features that are a category each, as columns of 0 and 1.
    """

    num_rows: int
    num_features: int
    num_classes: int | None
    target_width: int = 1
    sample_shape: tuple[int, ...] | None = None
    categories: tuple[Place, ...] = ()


@cache
def builtin_table() -> dict[str, dict[str, Any]]:
    """Load `tables/datasets.json`: rows, features, classes and names of the builtin data sets."""
    table: dict[str, dict[str, Any]] = json.loads((_TABLES / "datasets.json").read_text())
    return table


def data_shape(data: Data) -> DataShape:
    """Return the rows and columns of the data set. Inline rows are taken to be rectangular."""
    match data:
        case Builtin():
            return _builtin(data.name)
        case Synthetic():
            return _generated(data.generator)
        case Inline():
            first = data.targets[0] if data.targets is not None else None
            width = len(first) if isinstance(first, tuple) else 1
            classes = max(2, inline_classes(data)) if isinstance(first, int) else None
            features = len(data.features[0]) if data.features else 0
            return DataShape(data.num_rows, features, classes, width)
        case Upload():
            sizes = data.sizes
            return DataShape(
                sizes.num_rows,
                sizes.num_features,
                sizes.num_classes,
                sizes.target_width,
                sizes.sample_shape,
                tuple(Place(*each) for each in sizes.categories),
            )
        case InlineText():
            return DataShape(len(data.text), 1, None)
        case _:
            assert_never(data)


@cache
def _builtin(name: str) -> DataShape:
    entry = builtin_table()[name]
    sample = entry.get("sample_shape")
    return DataShape(
        entry["num_rows"],
        entry["num_features"],
        entry["num_classes"],
        sample_shape=None if sample is None else tuple(sample),
    )


def _generated(generator: Generator) -> DataShape:
    rows = generator.num_samples
    match generator:
        case Blobs():
            return DataShape(rows, generator.num_features, generator.num_classes)
        case Moons() | Circles():
            return DataShape(rows, 2, 2)
        case Spirals():
            return DataShape(rows, 2, generator.num_classes)
        case LinearRegressionData() | Friedman1():
            return DataShape(rows, generator.num_features, None)
        case Sinusoid():
            return DataShape(rows, 1, None)
        case SineSequence():
            return DataShape(rows, generator.length, None)
        case AddingProblem():
            return DataShape(rows, 2 * generator.length, None, 1, (generator.length, 2))
        case Parity():
            return DataShape(rows, generator.length, 2)
        case _:
            assert_never(generator)


def inline_classes(data: Inline) -> int:
    """Return the largest class id and one more, or 0 where the targets are not whole numbers."""
    return data.counted.largest_id + 1


def loss_family(loss: Loss) -> LossFamily:
    """Name what the loss compares outputs with: class ids, one class of two, or values."""
    match loss:
        case BinaryCrossEntropy():
            return "binary"
        case CrossEntropy() | MultiMargin():
            return "classes"
        case MSE() | L1() | SmoothL1() | Huber() | Quantile():
            return "values"
        case _:
            assert_never(loss)


def targets_of(loss: Loss, shape: DataShape) -> Targets:
    """Name what the loss compares outputs with, several labels apart from one class of two."""
    match loss_family(loss):
        case "classes":
            return "classes"
        case "binary":
            return "two_classes" if output_width(loss, shape) == 1 else "labels"
        case "values":
            return "values"


def output_width(loss: Loss, shape: DataShape) -> int:
    """Return how many numbers the model gives for each row."""
    match loss_family(loss):
        case "binary":
            return 1 if shape.num_classes is not None else shape.target_width
        case "classes":
            return shape.num_classes or 0
        case "values":
            return shape.target_width


def problem_shape(problem: DataProblem) -> DataShape:
    """Return the rows and columns that a problem makes of its data: of a reconstruction the targets
    are a row's features; windows of a series; contexts of a text (of byte pairs at most as many as
    there may be)."""
    match problem:
        case LanguageModel(context=context):
            rows = sum(problem_rows(problem))
            return DataShape(rows, context, vocabulary_size(problem), context)
        case Forecast(window=window, horizon=horizon):
            series = data_shape(problem.data)
            channels = series.num_features + series.target_width
            return DataShape(
                sum(problem_rows(problem)),
                window * channels,
                None,
                horizon * series.target_width,
                (window, channels),
            )
        case Reconstruction():
            shape = data_shape(problem.data)
            return shape._replace(num_classes=None, target_width=shape.num_features)
        case _:
            return data_shape(problem.data)


def draws_rows(spec: JobSpec) -> bool:
    """Tell whether the loss of a resolved spec is of rows that differ from step to step: batches,
    or rows that augmentation changes."""
    problem = spec.problem
    if not isinstance(problem, DataProblem):
        return False
    return spec.batch_size != "full" or bool(problem.data.augment)


def problem_rows(problem: DataProblem) -> PartRows:
    """Return how many rows are for training, evaluation and test. `problem`: resolved, but for
    model and loss."""
    match problem:
        case LanguageModel():
            return context_rows(token_counts(problem), problem.context)
        case Forecast(window=window, horizon=horizon):
            parts = split_rows(problem.data, data_shape(problem.data).num_rows)
            return window_rows(parts, window, horizon)
        case _:
            return split_rows(problem.data, data_shape(problem.data).num_rows)


def inputs_of(problem: DataProblem) -> Inputs:
    """Return a row of the problem as its model gets it."""
    shape = problem_shape(problem)
    return Inputs(
        shape.num_features,
        shape.sample_shape,
        shape.categories,
        window=isinstance(problem, Forecast),
        tokens=isinstance(problem, LanguageModel),
    )


def layers_of(problem: DataProblem) -> Expanded:
    """Return the layers of a resolved problem's model."""
    width = output_width(settled_loss(problem), problem_shape(problem))
    return expand(problem.model, inputs_of(problem), width)


def tables_of(problem: DataProblem | FunctionProblem) -> frozenset[int]:
    """Return the places, among a model's parameters, of tables of vectors: a row of one is taken
    for a token, a category or a place in a sequence, and no vector is multiplied by it."""
    if isinstance(problem, FunctionProblem):
        return frozenset()
    of_tables = [
        isinstance(placed.layer, k.Embedding | k.EmbedCategories | k.Positions)
        for placed in layers_of(problem).all_layers
        for _ in placed.parameters
    ]
    return frozenset(place for place, is_table in enumerate(of_tables) if is_table)


def problem_parameters(problem: DataProblem | FunctionProblem) -> int:
    """Count the parameters of the model (its loss resolved), or the coordinates of the point."""
    if isinstance(problem, FunctionProblem):
        return dimension(problem.function)
    return layers_of(problem).num_parameters


def settled_loss(problem: DataProblem) -> Loss:
    """Return the loss of a resolved problem."""
    if problem.loss is None:
        raise ValueError("resolve the spec first: its loss is not settled")
    return problem.loss
