"""Raw rows: what a source gives before they are split, standardized and cast."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import JobFailure
from core.specs.base import Json
from core.specs.splits.kinds import ColumnSplit, Split, TailSplit
from core.specs.splits.rows import TRAIN, Codes

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Features and targets in float64.

    Attributes:
        features: rows x columns.
        targets: class ids or values, rows x targets (one column for classes).
        feature_names: one a column.
        class_names: one a class, in order of id; None when the targets are values.
        preprocessing: how the columns of a file became features; None where there was none.
        codes: the part that each row belongs to, where the source had to know it.
        target_names: columns of a file that the targets are; empty elsewhere.
        numbers: each row's place in the source, where others were left out.
    """

    features: Float
    targets: Float
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...] | None
    preprocessing: Json | None = None
    codes: Codes | None = None
    target_names: tuple[str, ...] = ()
    numbers: NDArray[np.int64] | None = None

    def number(self, row: int) -> int:
        """Return the place of a row in the source, counted from 0."""
        return row if self.numbers is None else int(self.numbers[row])


def numbered(prefix: str, count: int, first: int = 1) -> tuple[str, ...]:
    """Return `("x1", "x2", …)`."""
    return tuple(f"{prefix}{index}" for index in range(first, first + count))


def checked(codes: Codes, split: Split) -> Codes:
    """Check that rows are left for training. Raises `JobFailure`."""
    if not (codes == TRAIN).any():
        by = " by its column" if isinstance(split, ColumnSplit) else ""
        raise JobFailure(
            "data_unavailable",
            f"The split{by} leaves none of the {len(codes):,} rows for training: hold out fewer.",
            "problem.data.split",
        )
    return codes


def check_classes(rows: Rows, codes: Codes, ignored: int | None, split: Split) -> None:
    """Check that a split that draws nothing leaves two classes or more for training, rows whose
    class is `ignored` left out. Raises `JobFailure`."""
    if rows.class_names is None or not isinstance(split, TailSplit | ColumnSplit):
        return
    found = np.unique(rows.targets[codes == TRAIN, 0])
    found = found if ignored is None else found[found != ignored]
    if len(found) >= 2:
        return
    left = f"class {rows.class_names[int(found[0])]!r} alone" if len(found) else "no class"
    order = "bring the rows into another order, or choose" if split.kind == "tail" else "choose"
    raise JobFailure(
        "data_unavailable",
        f"The split by {split.kind} leaves {left} for training, and there must be two: {order}"
        " another split, such as fraction.",
        "problem.data.split",
    )
