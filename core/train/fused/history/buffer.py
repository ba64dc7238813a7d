"""Rows of many runs on their way out: columns of (rows, slots), emptied in batches."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.messages.parts import Columns

MAX_ROWS: Final = 4096
MAX_BYTES: Final = 32 * 2**20
"""A buffer holds at most this much, and at least one row beside the last."""


class Rows(NamedTuple):
    """Rows of some slots: the index of the first, columns of (slots, rows, …), and the share of the
    time at each row: (rows,)."""

    first_row: int
    columns: Columns
    share_s: NDArray[np.float64]


class StackedRows:
    """Rows of a history, as core.train.history.buffer.RowBuffer, for slots that record the same
    steps.

    Args:
        every: `record.every`, the same for all.
        dim: numbers of a function's point; None: no such series.
    """

    def __init__(self, slots: int, every: int, dim: int | None) -> None:
        self._size = max(2, min(MAX_ROWS, MAX_BYTES // (8 * slots * (3 + (dim or 0)))))
        self._every = every
        self._steps = np.empty(self._size)
        self._shares = np.zeros(self._size)
        self._columns: dict[str, NDArray[np.float64]] = {
            name: np.empty((self._size, slots)) for name in ("loss", "lr", "grad_norm")
        }
        if dim is not None:
            self._columns["x"] = np.empty((self._size, slots, dim))
        self._used = 0
        self._loose = False
        self.first_row = 0
        """Index of the first row that has not left."""

    def put(
        self,
        step: int,
        losses: NDArray[Any],
        rates: NDArray[Any],
        norms: NDArray[Any],
        points: NDArray[Any] | None,
        share_s: float = 0.0,
    ) -> bool:
        """Store every slot's row of `step` (there must be room: see `full`); whether it is kept
        even if others follow."""
        at, columns = self._used, self._columns
        self._steps[at] = step
        self._shares[at] = share_s
        columns["loss"][at] = losses
        columns["lr"][at] = rates
        columns["grad_norm"][at] = norms
        if points is not None:
            columns["x"][at] = points
        kept = step % self._every == 0
        self._used += kept
        self._loose = not kept
        return kept

    @property
    def full(self) -> bool:
        """True when `clear` must come before the next `put`."""
        return self._used >= self._size - 1

    def of(self, slots: NDArray[np.int64], *, ends: bool) -> Rows | None:
        """Return the rows of these slots that have not left; None without any.

        `ends`: their runs are over, so the last row counts in any case.
        """
        used = self._used + (1 if ends and self._loose else 0)
        if used == 0:
            return None
        columns = {
            name: np.ascontiguousarray(column[:used, slots].swapaxes(0, 1))
            for name, column in self._columns.items()
        }
        steps = np.tile(self._steps[:used], (len(slots), 1))
        return Rows(self.first_row, {"step": steps, **columns}, self._shares[:used].copy())

    def clear(self) -> None:
        """Forget all slots' rows, which have left, but for a loose last one."""
        if self._loose:
            for column in (self._steps, self._shares, *self._columns.values()):
                column[0] = column[self._used]
        self.first_row += self._used
        self._used = 0

    def compact(self, kept: NDArray[np.int64]) -> None:
        self._columns = {name: column[:, kept] for name, column in self._columns.items()}

    def state(self) -> dict[str, Any]:
        """Return everything; all rows but a loose one must have left."""
        loose = {name: column[0] for name, column in self._columns.items()}
        return {"first_row": self.first_row, "loose": self._loose, "step": self._steps[0], **loose}

    def load_state(self, state: dict[str, Any]) -> None:
        self.first_row, self._loose = state["first_row"], state["loose"]
        self._used = 0
        self._steps[0] = state["step"]
        for name, column in self._columns.items():
            column[0] = state[name]

    def pause(self, slots: NDArray[np.int64]) -> dict[str, Any]:
        shared = {"first_row": self.first_row, "loose": self._loose, "step": self._steps[0]}
        columns = {name: np.full(len(slots), value) for name, value in shared.items()}
        return columns | {name: column[0, slots] for name, column in self._columns.items()}

    def resume(self, columns: dict[str, Any]) -> None:
        shared = {name: columns[name][0].item() for name in ("first_row", "loose", "step")}
        self.load_state({**columns, **shared})
