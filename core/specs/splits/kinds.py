"""Splits of data into training, evaluation and test rows: fields and defaults."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from core.specs.base import MAX_INT, WHOLE, Fraction, NonNegativeInt, Seed, Spec


class FractionSplit(Spec):
    """Draw rows: a share for evaluation, a share for the test at the end."""

    kind: Literal["fraction"]
    eval: Fraction = 0.2
    """Share of the rows that is held out for evaluation."""
    test: Fraction = 0.0
    """Share of the rows that is held out for the test, which is made once, after training."""
    stratify: bool = False
    """Give each part the same shares of all classes, within one row of each."""
    seed: Seed = 0
    """Seed of the draw."""


class TailSplit(Spec):
    """Take the rows as they stand: first those for training, then evaluation, then the test."""

    kind: Literal["tail"]
    eval: Fraction = 0.2
    """Share of the rows that is held out for evaluation."""
    test: Fraction = 0.0
    """Share of the rows, the last, that is held out for the test after training."""


class FoldsSplit(Spec):
    """Draw parts of equal size, within one row, and evaluate with one of them (cross-validation).

    The same `num`, `seed` and `stratify` give the same folds: a study sweeps `fold`.
    """

    kind: Literal["folds"]
    num: Annotated[int, Field(ge=2, le=MAX_INT), WHOLE] = 5
    """Number of folds."""
    fold: NonNegativeInt = 0
    """The fold that is held out for evaluation, from 0 on."""
    stratify: bool = False
    """Give each fold the same shares of all classes, within one row of each."""
    seed: Seed = 0
    """Seed of the draw."""


def _cell_tag(value: object) -> str:
    if isinstance(value, bool):
        return "~truth"
    return "~number" if isinstance(value, (int, float)) else "~text"


Cell = Annotated[
    Annotated[bool, Tag("~truth")]
    | Annotated[Annotated[int, Field(ge=-MAX_INT, le=MAX_INT), WHOLE], Tag("~number")]
    | Annotated[str, Tag("~text")],
    Discriminator(_cell_tag),
]
"""A value of a column: a category, a whole number, true or false."""


class ColumnSplit(Spec):
    """Have a column of the data set say where each row belongs; the column is no feature. Rows with
    any other value, or none, are for training."""

    kind: Literal["column"]
    name: Annotated[str, Field(min_length=1)]
    """Name of the column: of categories, whole numbers or truth values."""
    eval: tuple[Cell, ...] = ()
    """Values of the rows that are held out for evaluation."""
    test: tuple[Cell, ...] = ()
    """Values of the rows that are held out for the test after training."""


Split = Annotated[FractionSplit | TailSplit | FoldsSplit | ColumnSplit, Field(discriminator="kind")]
