"""Raw rows: what a source gives before they are split, standardized and cast."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.specs.base import Json

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
    """

    features: Float
    targets: Float
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...] | None
    preprocessing: Json | None = None


def numbered(prefix: str, count: int, first: int = 1) -> tuple[str, ...]:
    """Return `("x1", "x2", …)`."""
    return tuple(f"{prefix}{index}" for index in range(first, first + count))
