"""Reports on their way into the store: rows and what else is to be written, in batches.

Reports are cheap for whoever makes them: they are kept, and once `start` was called a thread of
this writer writes them in batches, so that a slow or absent Redis holds up nobody. Those of work
too short to be worth a thread all leave together with its close.
"""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from core.errors import (
    LostRowsError,
    NotFoundError,
    StaleAttemptError,
    StoreUnavailableError,
)
from worker.reporting.spool import Chain, Rows, Spool

log = logging.getLogger("thalweg.worker")

T = TypeVar("T")
Written = TypeVar("Written")
"""Rows as the store takes them."""
Notes = dict[Any, Any]
"""Values written beside rows: the last value of each key."""

_FIRST_BACKOFF_S = 0.1
_LAST_BACKOFF_S = 2.0


class Writer(ABC, Generic[Written]):
    """Collects the reports of one attempt and writes them, in order, without loss.

    While Redis is away rows wait (`memory_bytes` of them in memory, the rest in a file in
    `spill_folder`) and catch up afterwards. Notes never overtake rows that were there before them.
    `lost` is called once when the attempt turns out to be stale, or rows that were confirmed to be
    lost (`check` raises then); nothing is written from then on.

    Args:
        linger_s: what comes so soon after the first leaves together.
        hold_s: rows are held for so long, or until half of `memory_bytes` wait. Notes that
            `_may_overtake` them do not wait.
        batch_bytes: about what is written at once.
    """

    def __init__(
        self,
        *,
        lost: Callable[[], None],
        spill_folder: Path | None = None,
        memory_bytes: int = 64 * 2**20,
        linger_s: float = 0.05,
        hold_s: float = 0.0,
        batch_bytes: int = 2**20,
    ) -> None:
        self._lost = lost
        self._linger_s = linger_s
        self._hold_s = hold_s
        self._hold_bytes = memory_bytes // 2
        self._batch_bytes = batch_bytes
        self._backlog = Spool(spill_folder, memory_bytes)
        self._notes: Notes = {}
        self._sealed = False
        self._lost_rows: LostRowsError | None = None
        self._cond = threading.Condition()
        self._thread: threading.Thread | None = None

    @abstractmethod
    def _prepare(self, rows: list[Rows]) -> list[Written]:
        """Prepare rows for `_send` or the close; may write what must come first. Repeatable."""

    @abstractmethod
    def _send(self, rows: list[Written], notes: Notes) -> None:
        """Write rows and notes; raises what the store raises, and may be repeated."""

    def _may_overtake(self, key: Any, note: Any) -> bool:
        """Tell whether a note may be written before rows that came earlier."""
        return False

    def _due(self) -> Callable[[Chain], bool]:
        """Return the test that tells whether what waits of a history is to leave now."""
        now, pressed = time.monotonic(), self._backlog.num_bytes >= self._hold_bytes
        return lambda chain: pressed or now >= chain[0].arrived + self._hold_s

    def start(self) -> None:
        """Write on the way from now on; a second call does nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
            self._thread.start()

    def seal(self) -> None:
        """Take no more reports: the thread ends, and what it has not written is left to
        `finish`."""
        with self._cond:
            self._sealed = True
            self._cond.notify_all()
        if self._thread is not None:
            self._thread.join()

    def check(self) -> None:
        """Raise `LostRowsError` where the store has lost rows that were written."""
        if self._lost_rows is not None:
            raise self._lost_rows

    def finish(self, close: Callable[[list[Written], Notes], T]) -> T:
        """Write what is left, once sealed, the last of it (all of a short run) by `close`, which
        gets the rows and notes to take along and whose answer is returned.

        Raises what the store raises; call it again after `StoreUnavailableError`.
        """
        while len(self._backlog) > 0:
            rows = self._backlog.take(self._batch_bytes)
            if not self._backlog:
                self._backlog.put_back(rows)
                break
            self._write(rows, {})
        rows = self._backlog.take(2 * self._batch_bytes)
        try:
            answer = close(self._prepare(rows), self._notes)
        except StoreUnavailableError:
            self._backlog.put_back(rows)
            raise
        self._notes = {}
        return answer

    def close(self) -> None:
        """Drop what is left and end the thread."""
        self.seal()
        self._backlog.close()

    def _put(self, several: list[Rows]) -> None:
        with self._cond:
            for rows in several:
                self._backlog.put(rows)
            self._cond.notify_all()

    def _note(self, notes: Notes) -> None:
        with self._cond:
            self._notes.update(notes)
            self._cond.notify_all()

    def _run(self) -> None:
        backoff = 0.0
        while True:
            with self._cond:
                self._cond.wait_for(lambda: self._sealed or self._pending)
                # More reports may come at once: wait a little, so that they leave together.
                self._cond.wait_for(lambda: self._sealed, timeout=max(self._linger_s, backoff))
            try:
                while self._write_some():
                    backoff = 0.0
                backoff = 0.0
            except StoreUnavailableError as error:
                if not backoff:
                    log.warning("rows wait for the store: %s", error)
                backoff = min(max(2 * backoff, _FIRST_BACKOFF_S), _LAST_BACKOFF_S)
            except LostRowsError as error:
                self._lost_rows = error
                self._lost()
                return
            except (StaleAttemptError, NotFoundError):
                self._lost()
                return
            if self._sealed:
                return

    def _write_some(self) -> bool:
        """Write a batch; return whether more is left that should follow at once."""
        with self._cond:
            if self._sealed:
                return False
            rows = self._backlog.take(self._batch_bytes, self._due())
            waiting = len(self._backlog) > 0
            notes = {
                key: note
                for key, note in self._notes.items()
                if not waiting or self._may_overtake(key, note)
            }
            self._notes = {key: note for key, note in self._notes.items() if key not in notes}
        try:
            self._write(rows, notes)
        except StoreUnavailableError:
            with self._cond:
                self._notes = {**notes, **self._notes}
            raise
        return waiting and bool(rows)

    def _more_waits(self, rows: Rows) -> bool:
        """Tell whether more rows of their history may wait."""
        with self._cond:
            return self._backlog.holds_more(rows.run, rows.kind)

    @property
    def _pending(self) -> bool:
        return bool(self._notes) or len(self._backlog) > 0

    def _write(self, rows: list[Rows], notes: Notes) -> None:
        try:
            prepared = self._prepare(rows)
            if prepared or notes:
                self._send(prepared, notes)
        except StoreUnavailableError:
            with self._cond:
                self._backlog.put_back(rows)
            raise
