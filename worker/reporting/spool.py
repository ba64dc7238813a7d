"""Rows on their way to the store: in memory, and beyond a bound in a file.

While a file holds rows, later ones join it, so that the order stays.
"""

import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import BufferedRandom
from pathlib import Path

import numpy as np

from core.store.history.layout import Columns, HistoryKind
from core.store.history.times import Times
from worker.trainer import frames

History = tuple[int, HistoryKind]
"""The run and the kind of a history."""


@dataclass(frozen=True)
class Rows:
    """Rows `first_row …` of a history. `truncate`: the history is first cut down to `first_row`,
    after so many `rewinds` of the run; `is_rewind`: this is the last of them. `run`: whose it is,
    where there are several. `arrived`: when, on a monotonic clock; of rows that were in a file,
    long ago. `times`: when a job came to them and to those before them."""

    kind: HistoryKind
    first_row: int
    columns: Columns
    truncate: bool = False
    run: int = 0
    arrived: float = field(default_factory=time.monotonic)
    times: Times = ()
    rewinds: int | None = None
    is_rewind: bool = False

    @property
    def num_rows(self) -> int:
        return len(self.columns["step"])

    @cached_property
    def num_bytes(self) -> int:
        return sum(column.nbytes for column in self.columns.values())


Chain = deque[Rows]
"""The rows of one history that wait, in their order."""


def every(chain: Chain) -> bool:
    """Accept the rows of every history."""
    return True


class Spool:
    """A queue of `Rows`, of which at most about `max_bytes` stay in memory. Not thread-safe.

    Those of a history come out in their order; of the histories in memory, first those that have
    waited longest, each with all that waits of it.
    """

    def __init__(self, folder: Path | None, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._waiting: dict[History, deque[Rows]] = {}
        self._num_in_memory = 0
        self.num_bytes = 0
        """Bytes in memory."""
        self._file: BufferedRandom | None = None
        self._read_at = 0
        self._num_in_file = 0

    def __len__(self) -> int:
        return self._num_in_memory + self._num_in_file

    def put(self, rows: Rows) -> None:
        """Add rows at the end."""
        full = self.num_bytes + rows.num_bytes > self._max_bytes and self._waiting
        if self._num_in_file or full:
            self._spill(rows)
        else:
            self._keep(rows)

    def take(self, max_bytes: int, wanted: Callable[[Chain], bool] = every) -> list[Rows]:
        """Remove the oldest rows that are wanted, up to about `max_bytes` (but at least one batch
        if there is one); neighbours in a history are joined, and a history is cut only where it
        is long."""
        taken: list[Rows] = []
        size = 0
        for history in self._oldest_first():
            chain = self._waiting[history]
            if not wanted(chain):
                continue
            most = max_bytes
            while chain:
                if taken and size + chain[0].num_bytes > most:
                    return join(taken)
                rows = chain.popleft()
                self._num_in_memory -= 1
                self.num_bytes -= rows.num_bytes
                size += rows.num_bytes
                taken.append(rows)
                most = 2 * max_bytes
            del self._waiting[history]
        return join(taken)

    def _oldest_first(self) -> Iterator[History]:
        """Yield the histories in memory; once they are gone, those in the file."""
        yield from list(self._waiting)
        while self._num_in_file and not self._waiting:
            rows = self._unspill()
            self._keep(rows)
            yield rows.run, rows.kind

    def holds_more(self, run: int, kind: HistoryKind) -> bool:
        """Tell whether rows of this history may wait."""
        return self.has_file or (run, kind) in self._waiting

    @property
    def has_file(self) -> bool:
        """True when rows wait in the file, of whatever history."""
        return self._num_in_file > 0

    def put_back(self, taken: Iterable[Rows]) -> None:
        """Return what `take` gave and nobody could use, to the front."""
        others, self._waiting = self._waiting, {}
        for rows in taken:
            self._keep(rows)
        for history, chain in others.items():
            self._waiting.setdefault(history, deque()).extend(chain)

    def close(self) -> None:
        """Drop all rows."""
        self._waiting.clear()
        self._num_in_memory = self._num_in_file = self.num_bytes = 0
        if self._file is not None:
            self._file.close()
            self._file = None

    def _keep(self, rows: Rows) -> None:
        self._waiting.setdefault((rows.run, rows.kind), deque()).append(rows)
        self._num_in_memory += 1
        self.num_bytes += rows.num_bytes

    def _spill(self, rows: Rows) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - outlives the call
        self._file.seek(0, 2)
        header = {
            "kind": rows.kind,
            "first_row": rows.first_row,
            "truncate": rows.truncate,
            "run": rows.run,
            "times": rows.times,
            "rewinds": rows.rewinds,
            "is_rewind": rows.is_rewind,
            "type": "rows",
        }
        self._file.write(frames.pack(header, rows.columns))
        self._num_in_file += 1

    def _unspill(self) -> Rows:
        assert self._file is not None
        self._file.seek(self._read_at)
        frame = frames.read(self._file)
        if frame is None:
            raise EOFError("the file of waiting rows has lost its end")
        self._read_at = self._file.tell()
        self._num_in_file -= 1
        if not self._num_in_file:
            self._file.close()
            self._file = None
            self._read_at = 0
        header, columns = frame
        del header["type"]
        return Rows(columns=columns, arrived=0.0, **header)


def join(batches: list[Rows]) -> list[Rows]:
    """Join the rows into fewer batches: one after another of a history become one."""
    groups: dict[History, list[list[Rows]]] = {}
    for rows in batches:
        chains = groups.setdefault((rows.run, rows.kind), [])
        last = chains[-1][-1] if chains else None
        if last and not rows.truncate and rows.first_row == last.first_row + last.num_rows:
            chains[-1].append(rows)
        else:
            chains.append([rows])
    return [_joined(chain) for chains in groups.values() for chain in chains]


def _joined(chain: list[Rows]) -> Rows:
    if len(chain) == 1:
        return chain[0]
    names = chain[0].columns
    columns = {name: np.concatenate([rows.columns[name] for rows in chain]) for name in names}
    return replace(chain[0], columns=columns, times=[t for rows in chain for t in rows.times])
