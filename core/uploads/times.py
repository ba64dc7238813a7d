"""Steps in time from row to row, counted while a column of dates is written."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.specs.base import Json
from core.specs.columns.times import Times

_PER_DOUBLING: Final = 16
"""Lengths of steps that are told apart between one length and twice it."""
_USUAL: Final = 0.1
"""Share of the steps that makes a length a usual one."""
_APART: Final = 1.5
"""Factor from which on a step is longer, or shorter, than the usual ones."""


class Steps:
    """Counts the steps of a column of dates (`Times`), piece by piece.

    Lengths are kept by their logarithm, so that a file of any length takes a few of them.
    """

    def __init__(self) -> None:
        self._num_rows = 0
        self._last: float | None = None
        self._num = {"back": 0, "same": 0}
        self._first: dict[str, int] = {}
        self._lengths: dict[int, tuple[int, int, float]] = {}  # how many, first row, its length

    def add(self, piece: NDArray[Any] | bytes) -> NDArray[Any] | bytes:
        """Look at the times of a piece (seconds, NaN where missing), and return it."""
        values = np.asarray(piece)
        rows = np.flatnonzero(~np.isnan(values))
        times = values[rows]
        rows += self._num_rows
        self._num_rows += len(values)
        if self._last is not None:
            times, rows = np.concatenate([[self._last], times]), np.concatenate([[-1], rows])
        if not len(times):
            return piece
        self._last = float(times[-1])
        steps, rows = np.diff(times), rows[1:]
        for name, found in (("back", steps < 0), ("same", steps == 0)):
            self._num[name] += int(found.sum())
            if found.any():
                self._first.setdefault(name, int(rows[found.argmax()]))
        onward = steps > 0
        self._note(steps[onward], rows[onward])
        return piece

    def _note(self, steps: NDArray[np.float64], rows: NDArray[np.int64]) -> None:
        places = np.floor(_PER_DOUBLING * np.log2(steps)).astype(np.int64)
        found = np.unique(places, return_index=True, return_counts=True)
        for place, first, count in zip(*(each.tolist() for each in found), strict=True):
            before = self._lengths.get(place, (0, int(rows[first]), float(steps[first])))
            self._lengths[place] = (before[0] + count, *before[1:])

    @property
    def found(self) -> Json:
        """The column's fields that follow."""
        lengths = [self._lengths[place] for place in sorted(self._lengths)]
        onward = sum(count for count, _, _ in lengths)
        ends = np.cumsum([count for count, _, _ in lengths])
        usual = lengths[int(np.searchsorted(ends, onward / 2))][2] if lengths else 0.0
        among = [usual, *(each for count, _, each in lengths if count >= _USUAL * onward)]
        low, high = min(among) / _APART, max(among) * _APART
        uneven = [each for each in lengths if not low <= each[2] <= high]
        _, first, length = min(uneven, key=lambda each: each[1], default=(0, None, 0.0))
        times = Times(
            num_steps=onward + sum(self._num.values()),
            usual_s=usual,
            num_back=self._num["back"],
            first_back=self._first.get("back"),
            num_same=self._num["same"],
            first_same=self._first.get("same"),
            num_uneven=sum(count for count, _, _ in uneven),
            first_uneven=first,
            uneven_s=length,
        )
        return {"times": times}
