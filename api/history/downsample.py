"""Choice of the rows that a view of several series shows: extremes of each, and all that is not
finite."""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

METHOD: Final[Literal["minmax"]] = "minmax"
"""The method's name in the reply: the lowest and the highest row of each of equally long
stretches."""

Column = NDArray[np.float64]
Rows = NDArray[np.int64]

_ROOM: Final = 4
"""Rows that the first series is left with at least: both ends, its lowest and its highest."""


def select_rows(loss: NDArray[np.float64], num_rows: int) -> NDArray[np.int64]:
    """Choose row numbers, ascending: every row whose loss is not finite, and at most `num_rows` ≥ 1
    more.

    `loss`: (rows,). The finite rows are cut into equal stretches, of which each shows its lowest
    and its highest; with the first and the last row. So from 4 rows on, the curve's extremes are
    kept. 1 gives the last finite row, 2 the first as well, 3 the lowest as well.
    """
    finite = np.isfinite(loss)
    if np.count_nonzero(finite) <= num_rows:
        return np.arange(len(loss))
    if not finite.all():
        rows = np.flatnonzero(finite)
        shown: NDArray[np.int64] = rows[select_rows(loss[rows], num_rows)]
        return np.union1d(shown, np.flatnonzero(~finite))
    ends = np.array([0, len(loss) - 1])
    match num_rows:
        case 1:
            chosen = ends[1:]
        case 2:
            chosen = ends
        case 3:
            chosen = np.append(ends, loss.argmin())
        case _:
            chosen = np.concatenate([ends, _extremes(loss, (num_rows - 2) // 2)])
    return np.unique(chosen)


def _extremes(values: NDArray[np.float64], num_stretches: int) -> NDArray[np.int64]:
    """Return the places of the lowest and the highest value of each of `num_stretches`
    stretches."""
    stretch = -(-len(values) // num_stretches)
    whole = len(values) // stretch
    table = values[: whole * stretch].reshape(whole, stretch)
    starts = np.arange(whole) * stretch
    found = [starts + table.argmin(axis=1), starts + table.argmax(axis=1)]
    if (rest := values[whole * stretch :]).size:
        found.append(whole * stretch + np.array([rest.argmin(), rest.argmax()]))
    return np.concatenate(found)


def choose_rows(columns: Sequence[Column], num_points: int) -> Rows:
    """Choose the rows to keep, in rising order: at most `num_points`, and beyond that every one
    that is not finite.

    `columns`: scalar series of equal length. The first is followed closely (see `select_rows`); the
    others keep their lowest and highest values, as far as there is room.
    """
    first, *others = columns
    extremes = list(dict.fromkeys(row for other in others for row in _ends_of_series(other)))
    extremes = extremes[: max(0, num_points - _ROOM)]
    broken = [np.flatnonzero(~np.isfinite(other)) for other in others]
    chosen = select_rows(first, num_points - len(extremes))
    rows: Rows = np.unique(np.concatenate([chosen, np.array(extremes, dtype=np.int64), *broken]))
    return rows


def _ends_of_series(column: Column) -> list[int]:
    """Return the rows of the lowest and the highest finite value, the first of each."""
    finite = np.isfinite(column)
    if finite.all():
        return [int(column.argmin()), int(column.argmax())]
    if not finite.any():
        return []
    low, high = np.where(finite, column, np.inf), np.where(finite, column, -np.inf)
    return [int(low.argmin()), int(high.argmax())]
