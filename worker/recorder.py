"""The training loop's reports on their way into the store.

Reports are cheap for whoever makes them: they are kept, and once `start` was called a thread of
this recorder writes them in batches, so that a slow or absent Redis holds up nobody. Those of a
run too short to be worth a thread all leave together with the job's close.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from core.errors import NotFoundError, StaleAttemptError, StoreUnavailableError
from core.store.base import Claim, Columns, HistoryKind, Json, WorkerStore
from worker.backlog import Backlog, Rows, join

log = logging.getLogger("thalweg.worker")

T = TypeVar("T")
Append = tuple[HistoryKind, int, Columns]

_BATCH_BYTES = 2**20
_FIRST_BACKOFF_S = 0.1
_LAST_BACKOFF_S = 2.0


class Recorder:
    """Collects the rows and fields of one attempt and writes them, in order, without loss.

    While Redis is away rows wait (`memory_bytes` of them in memory, the rest in a file in
    `spill_folder`) and catch up afterwards. `lost` is called once when the attempt turns out to be
    stale; nothing is written from then on.

    Args:
        resumed: the attempt starts at a checkpoint, so that its first rows of each kind replace
            all that a former attempt wrote from there on.
        keep_bytes: up to this size the whole history also stays here, for the diagnosis.
    """

    def __init__(
        self,
        store: WorkerStore,
        claim: Claim,
        *,
        lost: Callable[[], None],
        resumed: bool = False,
        spill_folder: Path | None = None,
        memory_bytes: int = 64 * 2**20,
        keep_bytes: int = 32 * 2**20,
        linger_s: float = 0.05,
    ) -> None:
        self._store = store
        self._claim = claim
        self._lost = lost
        self._linger_s = linger_s
        self._backlog = Backlog(spill_folder, memory_bytes)
        self._fields: Json = {}
        self._to_truncate: set[HistoryKind] = {"train", "eval"} if resumed else set()
        self._kept: list[Rows] = []
        self._keep_bytes = 0 if resumed else keep_bytes
        self._sealed = False
        self._cond = threading.Condition()
        self._writer: threading.Thread | None = None

    def start(self) -> None:
        """Write on the way from now on; called again, nothing."""
        if self._writer is None:
            self._writer = threading.Thread(target=self._run, name="recorder", daemon=True)
            self._writer.start()

    def add(self, kind: HistoryKind, first_row: int, columns: Columns) -> None:
        """Rows `first_row …` of a history."""
        rows = Rows(kind, first_row, columns, truncate=kind in self._to_truncate)
        self._to_truncate.discard(kind)
        if self._keep_bytes:
            self._keep_bytes = max(0, self._keep_bytes - rows.num_bytes)
            self._kept = [*self._kept, rows] if self._keep_bytes else []
        with self._cond:
            self._backlog.put(rows)
            self._cond.notify_all()

    def rewind(self, kind: HistoryKind, num_rows: int) -> None:
        """The run has gone back: the rows from `num_rows` on are none of it any more."""
        layout = self._claim.layouts.get(kind)
        if layout is None:
            return
        widths = layout.widths.items()
        columns = {name: np.empty((0, width) if name == "x" else 0) for name, width in widths}
        self._keep_bytes, self._kept = 0, []
        with self._cond:
            self._backlog.put(Rows(kind, num_rows, {"step": np.empty(0), **columns}, truncate=True))
            self._cond.notify_all()

    def set(self, **fields: object) -> None:
        """Fields of the record (`WorkerStore.update`): the last value of each is written."""
        with self._cond:
            self._fields.update(fields)
            self._cond.notify_all()

    def seal(self) -> None:
        """No more reports will come; the thread ends, and what it has not written is left to
        `finish`."""
        with self._cond:
            self._sealed = True
            self._cond.notify_all()
        if self._writer is not None:
            self._writer.join()

    def finish(self, close: Callable[[list[Append], Json], T]) -> T:
        """Once sealed: write what is left, the last of it (all of a short run) by `close`, which
        gets the rows and fields to take along and whose answer is returned.

        Raises what the store raises; call it again after `StoreUnavailableError`.
        """
        while len(self._backlog) > 0:
            rows = self._backlog.take(_BATCH_BYTES)
            if not self._backlog:
                self._backlog.put_back(rows)
                break
            self._write(rows, {})
        rows = self._backlog.take(2 * _BATCH_BYTES)
        try:
            answer = close(_appends(self._cut(rows)), self._fields)
        except StoreUnavailableError:
            self._backlog.put_back(rows)
            raise
        self._fields = {}
        return answer

    def history(self, kind: HistoryKind) -> Columns | None:
        """All rows of this attempt where it began at row 0 and they are few; otherwise None: they
        are in the store."""
        if not self._keep_bytes:
            return None
        rows = join([rows for rows in self._kept if rows.kind == kind])
        return rows[0].columns if rows else {}

    def close(self) -> None:
        """Drop what is left."""
        self.seal()
        self._backlog.close()

    def _run(self) -> None:
        backoff = 0.0
        while True:
            with self._cond:
                self._cond.wait_for(lambda: self._sealed or self._pending)
                # What comes next may come at once: leave together.
                self._cond.wait_for(lambda: self._sealed, timeout=max(self._linger_s, backoff))
                if self._sealed:
                    return
                rows, fields = self._backlog.take(_BATCH_BYTES), self._fields
                self._fields = {}
            try:
                self._write(rows, fields)
            except StoreUnavailableError as error:
                if not backoff:
                    log.warning("rows wait for the store: %s", error)
                backoff = min(max(2 * backoff, _FIRST_BACKOFF_S), _LAST_BACKOFF_S)
                with self._cond:
                    self._fields = {**fields, **self._fields}
            except (StaleAttemptError, NotFoundError):
                self._lost()
                return
            else:
                backoff = 0.0

    @property
    def _pending(self) -> bool:
        return bool(self._fields) or len(self._backlog) > 0

    def _write(self, rows: list[Rows], fields: Json) -> None:
        try:
            appends = _appends(self._cut(rows))
            if appends or fields:
                self._store.update(self._claim, fields, rows=appends)
        except StoreUnavailableError:
            with self._cond:
                self._backlog.put_back(rows)
            raise

    def _cut(self, rows: list[Rows]) -> list[Rows]:
        """Cut histories down where batches say so, those before them written first; the batches
        that are left to be written. May be repeated."""
        left: list[Rows] = []
        for batch in rows:
            if batch.truncate:
                if appends := _appends(left):
                    self._store.update(self._claim, {}, rows=appends)
                left = []
                self._store.truncate_rows(self._claim, batch.kind, batch.first_row)
            left.append(batch)
        return left


def _appends(rows: list[Rows]) -> list[Append]:
    return [(batch.kind, batch.first_row, batch.columns) for batch in rows if batch.num_rows]
