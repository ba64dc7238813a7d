"""The histories of a stack on their way out, all runs of a flush together."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.messages.parts import Kind, Times
from core.messages.reports import PopulationProgress
from core.train.events import Emit
from core.train.fused.events import RowBatch, StackEvent
from core.train.fused.history.buffer import Rows, StackedRows
from core.train.fused.history.evaluations import Evaluations
from core.train.history.flush import FIRST_INTERVAL_S, INTERVAL_S, Clock

Slots = NDArray[np.int64]


class StackFlush:
    """Sends what the histories have gathered: soon at first, then every quarter of a second.

    Args:
        names: by which the runs that the stack began with are reported.
        earlier_s, earlier_share_s: how long each of them had trained before this stack, and what
            it had of that time.
    """

    def __init__(
        self,
        rows: StackedRows,
        evaluations: Evaluations | None,
        emit: Emit[StackEvent],
        names: NDArray[np.int64],
        earlier_s: NDArray[np.float64],
        earlier_share_s: NDArray[np.float64],
        clock: Clock,
    ) -> None:
        self._rows = rows
        self._evaluations = evaluations
        self._emit = emit
        self._names = names
        self._earlier_s = earlier_s
        self._earlier_share_s = earlier_share_s
        self._times: Times = []
        """Times that have not left: they leave with rows."""
        self._noted = -1.0
        """The step of the latest of all."""
        self._clock: Final = clock
        self._interval = FIRST_INTERVAL_S
        self._due = clock() + self._interval

    @property
    def due(self) -> bool:
        """Tell whether it is time, or there is no room for another row."""
        return self._rows.full or self._clock() >= self._due

    def begin(self, step: int, elapsed_s: float) -> None:
        """Note that training begins, or goes on: the stack has taken so long for `step` updates."""
        self._times = [[step, elapsed_s]]
        self._noted = step

    def send(
        self, slots: Slots, runs: Slots, now: list[float], share_s: float, *, ends: bool
    ) -> None:
        """Send the rows of these slots, whose runs have these numbers; `ends`: they are over.
        `now`: the step, and how long the stack has trained."""
        if now[0] != self._noted:  # of a step, the first moment counts: it begins at zero
            self._times.append(now)
            self._noted = now[0]
        self._pass_on("train", runs, self._rows.of(slots, ends=ends))
        if self._evaluations is not None:
            self._pass_on("eval", runs, self._evaluations.of(slots, share_s=share_s))

    def flush(self, slots: Slots, runs: Slots, now: list[float], num_updates: int) -> None:
        """Send all rows that have not left; `slots` are those that still train."""
        if len(slots):
            self.send(slots, runs, now, 0.0, ends=False)
        self._rows.clear()
        if self._evaluations is not None:
            self._evaluations.clear()
        self._emit(PopulationProgress(num_updates, len(slots)))
        self._interval = min(INTERVAL_S, 2 * self._interval)
        self._due = self._clock() + self._interval

    def _pass_on(self, kind: Kind, runs: Slots, rows: Rows | None) -> None:
        if rows is None:
            return
        share_s = self._earlier_share_s[runs][:, None] + rows.share_s
        names = self._names[runs].tolist()
        times, self._times = self._times, []
        earlier_s = self._earlier_s[runs].tolist()
        self._emit(RowBatch(kind, names, rows.first_row, rows.columns, share_s, times, earlier_s))
