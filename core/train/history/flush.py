"""Sending of rows from the loop: soon at first, then every quarter of a second."""

from collections.abc import Callable
from typing import Final

from core.messages.parts import Times
from core.messages.reports import HistoryRows, Progress
from core.train.checkpoint.writer import ArtifactWriter
from core.train.events import Emit, RunEvent
from core.train.history.metrics import Metrics

FIRST_INTERVAL_S: Final = 0.02
INTERVAL_S: Final = 0.25
"""A row waits for at most this long and one step more. A slower step's row leaves at once."""

DeviceUse = tuple[float | None, int | None]
"""Use of a GPU: percent, and bytes of memory."""


def no_device_use() -> DeviceUse:
    """Say that there is no GPU."""
    return None, None


Clock = Callable[[], float]


class Flusher:
    """Reports what the ledger has gathered."""

    def __init__(
        self,
        emit: Emit[RunEvent],
        ledger: Metrics,
        saver: ArtifactWriter,
        clock: Clock,
        device_use: Callable[[], DeviceUse] = no_device_use,
    ) -> None:
        self._emit = emit
        self._ledger = ledger
        self._saver = saver
        self._clock = clock
        self._device_use = device_use
        self._interval = FIRST_INTERVAL_S
        self._last = clock()
        self._last_step = -1
        self._due = self._last + self._interval
        self._began = self._last
        self._times: Times = []
        """Times that have not left: they leave with rows."""
        self._noted = -1
        """The step of the latest of all."""

    def begin(self, step: int, elapsed_s: float) -> None:
        """Note that training begins, or goes on: `step` updates have taken so long."""
        self._began = self._clock() - elapsed_s
        self._times = [[step, elapsed_s]]
        self._noted = step

    def row_entered(self, step: int) -> None:
        """Report if it is time, or there is no room for another row.

        Row `step` is complete and the next update has not begun."""
        if step in self._saver.awaited:
            self._saver.learned(step, {"loss": self._ledger.trace.last})
        if self._ledger.rows.full or self._clock() >= self._due:
            self.report(step)

    def report(self, step: int) -> None:
        """Send everything now; `step` updates are applied."""
        now = self._clock()
        self.send_rows(step)
        for saved in self._saver.finished():
            self._emit(saved)
        speed = None
        if self._last_step >= 0 and now > self._last:
            speed = (step - self._last_step) / (now - self._last)
        latest, best = self._ledger.latest(), self._ledger.best.summary()
        began_at = self._ledger.trace.began_at
        self._emit(Progress(step, speed, latest, best, began_at, *self._device_use()))
        self._last, self._last_step = now, step
        self._interval = min(INTERVAL_S, 2 * self._interval)
        self._due = now + self._interval

    def went_back(self, step: int) -> None:
        """Go back: the run goes on after `step` updates, earlier than the last report said."""
        self._last, self._last_step = self._clock(), step
        self._times = [time for time in self._times if time[0] < step]
        self._times.append([step, self._last - self._began])
        self._noted = step

    def send_rows(self, step: int) -> None:
        """Send the rows of both histories that have not left; `step` updates are applied."""
        if step != self._noted:  # of a step, the first moment counts: it begins at zero
            self._times.append([step, self._clock() - self._began])
            self._noted = step
        times = self._times
        train = self._ledger.rows.take()
        if train is not None:
            self._emit(HistoryRows("train", *train, times))
            self._times, times = [], []
        evaluations = self._ledger.take_evaluations()
        if evaluations is not None:
            self._emit(HistoryRows("eval", *evaluations, times))
            self._times = []
