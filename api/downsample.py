"""Which rows a view of several series shows: extremes of each, and all that is not finite."""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from core.store.downsample import select_rows

METHOD: Final[Literal["minmax"]] = "minmax"
"""What the reply calls it: the lowest and the highest row of each of equally long stretches."""

Column = NDArray[np.float64]
Rows = NDArray[np.int64]

_ROOM: Final = 4
"""Rows that the first series is left with at least: both ends, its lowest and its highest."""


def choose_rows(columns: Sequence[Column], num_points: int) -> Rows:
    """Rows to keep, rising: at most `num_points`, and beyond that every one that is not finite.

    `columns`: scalar series of equal length. The first is followed closely (see `select_rows`); the
    others keep their lowest and highest values, as far as there is room.
    """
    first, *others = columns
    extremes = list(dict.fromkeys(row for other in others for row in _extremes(other)))
    extremes = extremes[: max(0, num_points - _ROOM)]
    broken = [np.flatnonzero(~np.isfinite(other)) for other in others]
    chosen = select_rows(first, num_points - len(extremes))
    rows: Rows = np.unique(np.concatenate([chosen, np.array(extremes, dtype=np.int64), *broken]))
    return rows


def _extremes(column: Column) -> list[int]:
    """Rows of the lowest and the highest finite value, the first of each."""
    finite = np.isfinite(column)
    if finite.all():
        return [int(column.argmin()), int(column.argmax())]
    if not finite.any():
        return []
    low, high = np.where(finite, column, np.inf), np.where(finite, column, -np.inf)
    return [int(low.argmin()), int(high.argmax())]
