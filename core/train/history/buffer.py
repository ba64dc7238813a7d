"""Rows on their way out of the loop: arrays of a fixed size, emptied in batches."""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.messages.parts import Columns
from core.specs.base import Json

MAX_ROWS: Final = 4096
MAX_BYTES: Final = 4 * 2**20
"""A buffer holds at most this much, and at least one row beside the last."""


class RowBuffer:
    """The rows of the training history that have not left yet.

    The row of step k has index (k − first_step) / every; the last row of a run is kept even where
    its step is no multiple, at the index after. So every row is written into its place, and one
    that is not a multiple is overwritten by the next unless `keep_last` is called.

    Args:
        every: `record.every`.
        dim: numbers of a function's point (series `x`); None: no such series.
        first_step: the step of row 0.
        with_cosine: there is a series `grad_cosine`.
    """

    def __init__(
        self, every: int, dim: int | None, first_step: int = 0, *, with_cosine: bool = False
    ) -> None:
        row_bytes = 8 * (4 + with_cosine + (dim or 0))
        self._size = max(2, min(MAX_ROWS, MAX_BYTES // row_bytes))
        self._every = every
        self._first_step = first_step
        self._steps, self._losses, self._rates, self._norms = np.empty((4, self._size))
        self._cosines = np.empty(self._size) if with_cosine else None
        self._points: NDArray[np.float64] | None = (
            None if dim is None else np.empty((self._size, dim))
        )
        self._used = 0
        self._loose = False
        self.first_row = 0
        """Index of the first row that has not left."""

    def keeps(self, step: int) -> bool:
        """Tell whether the row of `step` stays even if others follow."""
        return (step - self._first_step) % self._every == 0

    def put(
        self,
        step: int,
        loss: float,
        lr: float,
        grad_norm: float,
        point: NDArray[Any] | None,
        grad_cosine: float = math.nan,
    ) -> bool:
        """Store a row (there must be room: see `full`); returns whether it is a kept one."""
        at = self._used
        self._steps[at] = step
        self._losses[at] = loss
        self._rates[at] = lr
        self._norms[at] = grad_norm
        if self._cosines is not None:
            self._cosines[at] = grad_cosine
        if self._points is not None:
            self._points[at] = point
        kept = (step - self._first_step) % self._every == 0
        if kept:
            self._used = at + 1
        self._loose = not kept
        return kept

    @property
    def full(self) -> bool:
        """True when `take` must come before the next `put`."""
        return self._used >= self._size - 1

    def keep_last(self) -> None:
        """Keep the row that was put last: the run is over."""
        if self._loose:
            self._used += 1
            self._loose = False

    def take(self) -> tuple[int, Columns] | None:
        """Return the index of the first and copies of all rows that have not left; None when there
        are none."""
        if self._used == 0:
            return None
        used, first = self._used, self.first_row
        columns = {name: array[:used].copy() for name, array in self._arrays().items()}
        if self._loose:
            for array in self._arrays().values():
                array[0] = array[used]
        self._used = 0
        self.first_row += used
        return first, columns

    def loose_row(self) -> Json | None:
        """Return the latest row as JSON when it may still be overwritten: part of a checkpoint."""
        if not self._loose:
            return None
        return {name: array[self._used].tolist() for name, array in self._arrays().items()}

    def resume(self, step: int, loose_row: Json | None) -> None:
        """Go on before the row of `step`, with the rows before it counted as gone."""
        self.first_row = -(-(step - self._first_step) // self._every)
        self._used = 0
        self._loose = loose_row is not None
        for name, value in (loose_row or {}).items():
            self._arrays()[name][0] = value

    def _arrays(self) -> Columns:
        arrays = {
            "step": self._steps,
            "loss": self._losses,
            "lr": self._rates,
            "grad_norm": self._norms,
        }
        if self._cosines is not None:
            arrays["grad_cosine"] = self._cosines
        return arrays if self._points is None else {**arrays, "x": self._points}
