"""Data of a supervised problem: where the rows come from, how they are split and in what order."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag
from pydantic.json_schema import SkipJsonSchema

from core.specs.augment.kinds import Augmentation
from core.specs.base import (
    DATA_PATTERN,
    MAX_INT,
    WHOLE,
    Fraction,
    NonNegativeInt,
    PositiveInt,
    Seed,
    Spec,
    list_or_object,
)
from core.specs.generators import Generator, NumClasses
from core.specs.splits.kinds import ColumnSplit, FractionSplit, Split
from core.specs.splits.rows import PartRows, part_rows


class Shuffled(Spec):
    """Every epoch a new permutation, drawn from (seed, epoch)."""

    kind: Literal["shuffled"] = "shuffled"


class SequentialOrder(Spec):
    kind: Literal["sequential"]


class ExplicitOrder(Spec):
    """`steps[k % len(steps)]` are the training rows of step k; it replaces `batch_size`."""

    kind: Literal["explicit"]
    steps: Annotated[
        tuple[Annotated[tuple[NonNegativeInt, ...], Field(min_length=1, fail_fast=True)], ...],
        Field(min_length=1, fail_fast=True),
    ]


Order = Annotated[Shuffled | SequentialOrder | ExplicitOrder, Field(discriminator="kind")]


class DataSpec(Spec):
    eval_fraction: Fraction | None = 0.2
    """Share of the rows that is held out for evaluation: the short form of a `fraction` split.
    Null where `split` is given."""
    split_seed: Seed | None = 0
    """Seed of the draw of the rows that are held out. Null where `split` is given."""
    split: Split | None = None
    """Rows for training, evaluation and test. Null: as `eval_fraction` and `split_seed` say."""
    standardize: bool = True
    """Features to zero mean and unit variance, by the training rows' statistics."""
    scale_targets: bool = False
    """Values to zero mean and unit variance too, by the training rows' statistics: losses are then
    of those, metrics and predictions of the values as they came."""
    drop_last: bool = False
    order: Order = Shuffled()
    augment: Annotated[tuple[Augmentation, ...], Field(max_length=16)] = ()
    """Random changes of the rows of each training batch, in this order, but for `noise`, which
    comes last; drawn from the job's seed and the step. Rows for evaluation stay as they are."""

    @property
    def held_out(self) -> float:
        """The share of the rows for evaluation, where no split is given."""
        return 0.2 if self.eval_fraction is None else self.eval_fraction

    @property
    def chosen_split(self) -> Split:
        """The split, be it given in its short form or left out."""
        if self.split is not None:
            return self.split
        return FractionSplit(kind="fraction", eval=self.held_out, seed=self.split_seed or 0)


class Builtin(DataSpec):
    """A data set that scikit-learn ships."""

    kind: Literal["builtin"]
    name: Literal["digits", "iris", "wine", "breast_cancer", "diabetes"]


class Synthetic(DataSpec):
    """Rows drawn by a generator from `seed`."""

    kind: Literal["synthetic"]
    generator: Generator
    seed: Seed = 0


# fail_fast: a list of a million bad numbers is one error here, not a gigabyte of them;
# `core.specs.parsing.messages` looks up the next ones itself, up to its limit.
Row = Annotated[tuple[float, ...], Field(min_length=1, fail_fast=True)]
Rows = Annotated[tuple[Row, ...], Field(min_length=2, fail_fast=True)]
FeatureRows = Annotated[tuple[Row, ...], Field(fail_fast=True)]


def _targets_tag(value: object) -> str:
    tag = list_or_object(value)
    if tag == "~list" and isinstance(value, (list, tuple)):
        return "~ids" if all(type(v) is int and abs(v) <= MAX_INT for v in value) else "~values"
    return "~values" if tag == "~object" else tag


Targets = Annotated[
    Annotated[tuple[int, ...], Field(min_length=2), Tag("~ids")]
    | Annotated[tuple[float, ...], Field(min_length=2, fail_fast=True), Tag("~values")]
    | Annotated[Rows, Tag("~rows")],
    Discriminator(_targets_tag),
]
"""Targets: one whole number a row, one number a row, or a list a row."""


class Inline(DataSpec):
    """Rows in the request itself: features (rows × columns) and one target a row.

    Whole-number targets are class ids where the loss wants classes, else values; a list a row
    gives several regression targets.
    """

    kind: Literal["inline"]
    features: FeatureRows = ()
    """Numbers, the same count of them in each row. A forecast may leave them out: it then learns
    from the past of its targets alone."""
    targets: Targets | None = None
    """One whole number (class id) or number a row, or a list of numbers a row. A problem of
    reconstruction has none."""

    @property
    def given_targets(self) -> tuple[int, ...] | tuple[float, ...] | tuple[tuple[float, ...], ...]:
        """The targets. Raises `ValueError` where there are none."""
        if self.targets is None:
            raise ValueError("the rows have no targets")
        return self.targets

    @property
    def num_rows(self) -> int:
        """Rows of features; without any, of targets."""
        return len(self.features or self.targets or ())

    @cached_property
    def counted(self) -> "Counted":
        """Facts about the rows that rules and sizes need, counted once: many specs may share
        them."""
        return count_rows(self.features, self.targets or ())

    @cached_property
    def class_counts(self) -> list[int]:
        """The rows of each class id from 0 on; the targets are whole numbers."""
        found = Counter(self.given_targets)
        return [found[number] for number in range(self.counted.largest_id + 1)]

    def with_targets(self, targets: tuple[int, ...]) -> "Inline":
        """Return the same features with other targets."""
        changed = self.model_copy(update={"targets": targets})
        for computed in ("counted", "digest", "class_counts"):  # of the targets that there were
            vars(changed).pop(computed, None)
        return changed

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all numbers, in order."""
        text = json.dumps([self.features, self.targets]).encode()
        return hashlib.blake2b(text, digest_size=16).hexdigest()


@dataclass(frozen=True)
class Counted:
    """Facts about the rows of inline data.

    Attributes:
        feature_widths, target_widths: how many rows have so many numbers (targets: of lists only).
        ids: the targets, where they are whole numbers one a row; else empty.
        largest_id, smallest_id: of them; -1 and 0 without any.
        largest_feature, largest_target: absolute values.
    """

    feature_widths: Counter[int]
    target_widths: Counter[int]
    ids: frozenset[int]
    largest_id: int
    smallest_id: int
    largest_feature: float
    largest_target: float


def count_rows(
    features: tuple[tuple[float, ...], ...], targets: tuple[int | float | tuple[float, ...], ...]
) -> Counted:
    flat = (t for row in targets for t in (row if isinstance(row, tuple) else (row,)))
    whole = bool(targets) and isinstance(targets[0], int)
    ids = frozenset(target for target in targets if isinstance(target, int)) if whole else None
    return Counted(
        feature_widths=Counter(map(len, features)),
        target_widths=Counter(len(row) for row in targets if isinstance(row, tuple)),
        ids=ids or frozenset(),
        largest_id=max(ids) if ids else -1,
        smallest_id=min(ids) if ids else 0,
        largest_feature=max(
            (abs(end) for row in features for end in (min(row), max(row))), default=0.0
        ),
        largest_target=max(map(abs, flat), default=0.0),
    )


ColumnName = Annotated[str, Field(min_length=1)]
ColumnNames = Annotated[tuple[ColumnName, ...], Field(min_length=1, fail_fast=True)]


ImageSide = Annotated[int, Field(ge=1, le=4096), WHOLE]


class TextCounts(Spec):
    """Sizes of a text, from its record."""

    num_characters: PositiveInt
    num_distinct_characters: PositiveInt
    num_bytes: PositiveInt


class StoredRows(Spec):
    """Facts that follow from the data set's record, and the name of the stored content: the service
    writes them, and no reply shows them.

    Attributes:
        num_rows: at most (`missing: "drop"` leaves rows out, of which the record does not say how
            many together).
        num_features: numbers a row, categories coded.
        num_classes: None for targets that are values.
        sample_shape: of a row, where the only feature is an array or an image.
        part_rows: of a split by a column, at most as many rows for training, evaluation and test.
        categories: of each feature that is one, coded `one_hot`, its first column and how many it
            has.
        text: of a text, whose rows follow from the tokenizer.
    """

    file: str
    num_rows: PositiveInt
    num_features: NonNegativeInt
    num_classes: NumClasses | None
    target_width: PositiveInt
    sample_shape: tuple[PositiveInt, ...] | None
    part_rows: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] | None = Field(
        default=None, exclude_if=lambda value: value is None
    )
    categories: tuple[tuple[NonNegativeInt, PositiveInt], ...] = Field(
        default=(), exclude_if=lambda value: not value
    )
    text: TextCounts | None = Field(default=None, exclude_if=lambda value: value is None)


class Upload(DataSpec):
    """Rows of a data set that was uploaded (`POST /v1/datasets`).

    Numbers, dates (seconds since 1970) and arrays are features as they are. Classes are the
    categories of the target's column, or its distinct whole numbers.
    """

    kind: Literal["dataset"]
    id: Annotated[str, Field(pattern=DATA_PATTERN)]
    """Id of the data set."""
    target: (
        Annotated[
            Annotated[ColumnName, Tag("~name")] | Annotated[ColumnNames, Tag("~names")],
            Discriminator(lambda value: "~names" if isinstance(value, (list, tuple)) else "~name"),
        ]
        | None
    ) = None
    """Column to predict, or several of values. Default: `class`, for images."""
    features: tuple[ColumnName, ...] | None = None
    """Columns to predict from, in this order. Default: all but the target. Of a forecast they may
    be none (`[]`): it then learns from the past of its targets alone."""
    missing: Literal["refuse", "mean", "most_frequent", "drop"] = "refuse"
    """Way to deal with missing features: `mean` puts the column's mean in their place
    (of categories and truth values the most frequent one), `most_frequent` its most frequent value,
    both of the training rows; `drop` leaves the rows out, those without a target too; `refuse`
    refuses such features."""
    categorical: Literal["one_hot", "ordinal"] = "one_hot"
    """The coding of categories: a feature of 0 or 1 for each, or one with their number; with one
    place more, for values that the file does not have."""
    image_size: (
        Annotated[
            Annotated[tuple[ImageSide, ImageSide], Tag("~pair")]
            | Annotated[ImageSide, Tag("~side")],
            Discriminator(lambda value: "~pair" if isinstance(value, (list, tuple)) else "~side"),
        ]
        | None
    ) = None
    """Height and width to which images are scaled, or one number for both; null: as they came.
    Scaled by torch.nn.functional.interpolate, bilinear and with antialiasing."""
    stored: SkipJsonSchema[StoredRows | None] = Field(
        default=None, exclude_if=lambda value: value is None
    )

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns to predict; empty where the default is not written out yet."""
        if self.target is None:
            return ()
        return (self.target,) if isinstance(self.target, str) else self.target

    @property
    def image_sides(self) -> tuple[int, int] | None:
        """Height and width to which images are scaled; None: as they came."""
        size = self.image_size
        return (size, size) if isinstance(size, int) else size

    @property
    def no_features(self) -> frozenset[str]:
        """The columns that are features only where they are named: what is to be predicted, and
        what says how the rows are split."""
        by = {self.split.name} if isinstance(self.split, ColumnSplit) else set[str]()
        return frozenset(self.targets) | by

    @property
    def sizes(self) -> StoredRows:
        """The facts that follow from the record. Raises `ValueError` before it is resolved."""
        if self.stored is None:
            raise ValueError("resolve the spec first: the data set's sizes are not known")
        return self.stored


class InlineText(DataSpec):
    """A text in the request itself, for a model of language."""

    kind: Literal["text"]
    text: Annotated[str, Field(min_length=2)]
    """The text; its end is for evaluation."""


Data = Annotated[Builtin | Synthetic | Inline | InlineText | Upload, Field(discriminator="kind")]


def split_rows(data: DataSpec, num_rows: int) -> PartRows:
    """Return how many of the rows are for training, evaluation and test. `data`: resolved."""
    if data.split is None:  # nearly always, and asked several times of each spec
        evaluated = round(num_rows * data.held_out)
        return PartRows(num_rows - evaluated, evaluated, 0)
    if not isinstance(data.split, ColumnSplit):
        return part_rows(data.split, num_rows)
    if not isinstance(data, Upload) or data.sizes.part_rows is None:
        raise ValueError("resolve the spec first: the rows of its split are not known")
    return PartRows(*data.sizes.part_rows)
