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


class Extremes:
    """The rows of a series' lowest and highest finite values, the first of each, and all rows that
    are not finite; of a series that comes in blocks, `num_finite` of whose rows are finite."""

    def __init__(self) -> None:
        self._low: tuple[float, int] | None = None
        self._high: tuple[float, int] | None = None
        self._broken: list[Rows] = []
        self.num_finite = 0

    def add(self, first_row: int, values: Column) -> None:
        """Look at the rows `first_row …`."""
        finite = np.isfinite(values)
        count = int(np.count_nonzero(finite))
        if count < len(values):
            self._broken.append(first_row + np.flatnonzero(~finite))
        if not count:
            return
        self.num_finite += count
        low, high = values, values
        if count < len(values):
            low, high = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
        at, to = int(low.argmin()), int(high.argmax())
        if self._low is None or low[at] < self._low[0]:
            self._low = float(low[at]), first_row + at
        if self._high is None or high[to] > self._high[0]:
            self._high = float(high[to]), first_row + to

    @property
    def rows(self) -> list[int]:
        return [found[1] for found in (self._low, self._high) if found is not None]

    @property
    def broken(self) -> Rows:
        return _joined(self._broken)


class Stretches:
    """The choice among the rows of a series that comes in blocks: every row that is not finite, and
    at most `num_rows` ≥ 1 more.

    The `num_finite` rows that are finite are cut into equal stretches, of which each shows its
    lowest and its highest; with the first and the last row. So from 4 rows on, the curve's extremes
    are kept. 1 gives the last finite row, 2 the first as well, 3 the lowest as well. Where no more
    than `num_rows` rows are finite, all are chosen.
    """

    def __init__(self, num_finite: int, num_rows: int) -> None:
        self._num_rows = num_rows
        self._all = num_finite <= num_rows
        num_stretches = max(1, (num_rows - 2) // 2)
        self._stretch = max(1, -(-num_finite // num_stretches))
        self._seen = 0
        self._ends: tuple[int, int] | None = None
        self._open = Extremes()
        """Extremes of the stretch that the last block has left unfinished."""
        self._chosen: list[Rows] = []

    def add(self, first_row: int, values: Column) -> None:
        """Look at the rows `first_row …`."""
        finite = np.isfinite(values)
        rows = np.arange(first_row, first_row + len(values))
        if self._all:
            self._chosen.append(rows)
            return
        if not finite.all():
            self._chosen.append(rows[~finite])
            rows, values = rows[finite], values[finite]
        if not len(rows):
            return
        self._ends = (self._ends[0] if self._ends else int(rows[0])), int(rows[-1])
        if self._num_rows >= 3:
            self._add_finite(rows, values)
        self._seen += len(rows)

    def _add_finite(self, rows: Rows, values: Column) -> None:
        stretch = self._stretch
        left = min(-self._seen % stretch, len(values))
        self._extend(rows[:left], values[:left], ends=(self._seen + left) % stretch == 0)
        whole = (len(values) - left) // stretch
        if whole:
            table = values[left : left + whole * stretch].reshape(whole, stretch)
            starts = left + np.arange(whole) * stretch
            self._chosen.append(rows[starts + table.argmin(axis=1)])
            if self._num_rows > 3:
                self._chosen.append(rows[starts + table.argmax(axis=1)])
        rest = left + whole * stretch
        self._extend(rows[rest:], values[rest:], ends=False)

    def _extend(self, rows: Rows, values: Column, *, ends: bool) -> None:
        """Go on with the open stretch, which may end here. Between `rows` others may lie."""
        if not len(rows):
            return
        found = Extremes()
        found.add(0, values)
        for at in dict.fromkeys(found.rows):
            self._open.add(int(rows[at]), values[at : at + 1])
        if ends:
            self._close()

    def _close(self) -> None:
        rows = self._open.rows[:1] if self._num_rows == 3 else self._open.rows
        self._chosen.append(np.array(rows, dtype=np.int64))
        self._open = Extremes()

    def rows(self) -> Rows:
        """Return the rows chosen, in rising order. Asked once, after the last block."""
        self._close()
        ends = self._ends or ()
        shown = ends[1:] if self._num_rows == 1 else ends
        return np.unique(_joined([*self._chosen, np.array(shown, dtype=np.int64)]))


def choose_rows(columns: Sequence[Column], num_points: int) -> Rows:
    """Choose the rows to keep, in rising order: at most `num_points`, and beyond that every one
    that is not finite.

    `columns`: scalar series of equal length. The first is followed closely (see `Stretches`); the
    others keep their lowest and highest values, as far as there is room.
    """
    found = [Extremes() for _ in columns]
    for each, column in zip(found, columns, strict=True):
        each.add(0, column)
    room = num_points_left(found[1:], num_points)
    stretches = Stretches(found[0].num_finite, room)
    stretches.add(0, columns[0])
    return merged(stretches.rows(), found[1:], num_points)


def num_points_left(others: Sequence[Extremes], num_points: int) -> int:
    """Return the number of rows that the first series has besides the others' extremes."""
    return num_points - len(_extremes_kept(others, num_points))


def merged(chosen: Rows, others: Sequence[Extremes], num_points: int) -> Rows:
    """Add what the others need to the rows chosen for the first series."""
    extremes = np.array(_extremes_kept(others, num_points), dtype=np.int64)
    rows: Rows = np.unique(_joined([chosen, extremes, *(other.broken for other in others)]))
    return rows


def _extremes_kept(others: Sequence[Extremes], num_points: int) -> list[int]:
    extremes = list(dict.fromkeys(row for other in others for row in other.rows))
    return extremes[: max(0, num_points - _ROOM)]


def _joined(parts: Sequence[Rows]) -> Rows:
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])
