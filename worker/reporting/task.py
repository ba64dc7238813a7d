"""The reports of a study's task on their way into the store."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from core.jobs import AttemptEnd, Status, Usage
from core.messages.reports import RowsOfRuns
from core.store.history.bundles import MAX_HISTORY_BYTES, num_bytes
from core.store.history.layout import HistoryKind, RowCounts, RunRows
from core.store.history.times import RunTimes
from core.store.protocols.types import Layouts, TaskClaim
from core.store.protocols.worker import WorkerStudies
from core.studies import RunRecord
from worker.reporting.spool import Chain, History, Rows
from worker.reporting.writer import Notes, Writer

# Placement of the rows of a task's runs in the store: with other runs' rows, or in chunks.
MAX_SEGMENTS: Final = 8
"""Segments of a history, about: one on the way holds such a share of all rows that may come."""
LEAST_ROWS: Final = 64
"""Rows that a segment on the way has at least: a segment costs as much space as a few rows."""


class RowPlacement:
    """The place of each history in the store. Short histories lie in bundles, segment after
    segment, as long as their rows come in few parts; the others, and those that were cut, in chunks
    of their own.

    Args:
        layouts: of the histories of each run.
    """

    def __init__(self, layouts: Mapping[int, Layouts]) -> None:
        self._layouts = layouts
        self._bundled: dict[History, int] = {}
        """Rows of a history that lie in bundles."""
        self._chunked: set[History] = set()

    def makes_segment(
        self, history: History, first_row: int, num_rows: int, *, last: bool, anew: bool = False
    ) -> bool:
        """Tell whether these rows may be a history's next segment. `last`: no other row follows.
        `anew`: what there was after `first_row` is taken back."""
        if anew:
            if first_row > 0:
                return False
        elif history in self._chunked or first_row != self._bundled.get(history, 0):
            return False
        run, kind = history
        layout = self._layouts[run][kind]
        most = first_row + num_rows if last else layout.expected_rows
        if not num_rows or most is None or num_bytes(layout, most) > MAX_HISTORY_BYTES:
            return False
        return last or num_rows >= max(LEAST_ROWS, most / MAX_SEGMENTS)

    def goes_to_chunks(self, history: History) -> bool:
        """Note that no segment follows. Return whether there are rows in bundles, which have to
        move."""
        self._chunked.add(history)
        return history in self._bundled

    def written(self, history: History, num_rows: int, *, bundled: bool) -> None:
        """Note where the history's rows lie now, and how many they are."""
        if bundled:
            self._bundled[history] = num_rows
            self._chunked.discard(history)
        else:
            self._bundled.pop(history, None)


T = TypeVar("T")

HOLD_S: Final = 1.5
"""Rows of many runs wait for so long: the history of a run that ends by then is written together
with others', and that of a longer one in fewer and larger parts. A thousand histories of 1,000 rows
took Redis 1.4 s in seven parts each, in chunks of their own, and 0.3 s in bundles."""
EARLY_BYTES: Final = 8 * 2**20
"""Bytes that leave before their time, so that the store works while the training goes on."""
BATCH_BYTES: Final = 4 * 2**20

_DEVICE: Final = "device"
_USAGE: Final = "usage"
_UPDATES: Final = "num_updates"
_TIMES: Final = "times"
_TIMED: Final = "timed"


class TaskRows(Writer[RunRows]):
    """Collects the rows and records of one attempt at a task; see `Writer`.

    Args:
        layouts: of the histories of each run.
        going_on: runs that have rows already; their first rows of each kind replace all that was
            written from there on.
        early_bytes: when more waits, what makes a good segment leaves before its time.
    """

    def __init__(
        self,
        studies: WorkerStudies,
        claim: TaskClaim,
        layouts: Mapping[int, Layouts],
        *,
        lost: Callable[[], None],
        going_on: Collection[int] = (),
        spill_folder: Path | None = None,
        memory_bytes: int = 128 * 2**20,
        linger_s: float = 0.1,
        hold_s: float = HOLD_S,
        early_bytes: int = EARLY_BYTES,
    ) -> None:
        super().__init__(
            lost=lost,
            spill_folder=spill_folder,
            memory_bytes=memory_bytes,
            linger_s=linger_s,
            hold_s=hold_s,
            batch_bytes=BATCH_BYTES,
        )
        self._studies = studies
        self._claim = claim
        self._layouts = layouts
        self._early_bytes = early_bytes
        self._placing = RowPlacement(layouts)
        self._over: set[int] = set()
        self._usage = Usage()
        self._times: dict[int, list[Sequence[float]]] = {}
        """Times that have not been written, of each group of runs."""
        self._timed: dict[int, RunTimes] = {}
        """The group of each run whose rows came with times; and what of it was not written."""
        self._untold: dict[int, RunTimes] = {}
        self._num_rows: dict[int, dict[HistoryKind, int]] = {}
        """Rows of each run that has had any from this attempt."""
        self._to_truncate = {(run, kind) for run in going_on for kind in layouts[run]}

    def add(self, rows: RowsOfRuns) -> None:
        """Take rows of several runs."""
        several: list[Rows] = []
        start = 0
        for run, first_row, length in zip(rows.runs, rows.first_rows, rows.lengths, strict=True):
            stop = start + length
            its_own = {name: column[start:stop] for name, column in rows.columns.items()}
            cut = rows.truncate or (run, rows.kind) in self._to_truncate
            batch = Rows(rows.kind, first_row, its_own, cut, run, is_rewind=rows.truncate)
            several.append(batch)
            self._num_rows.setdefault(run, {})[rows.kind] = first_row + length
            self._to_truncate.discard((run, rows.kind))
            start = stop
        if rows.times:
            self._note_times(rows)
        self._put(several)

    def _note_times(self, rows: RowsOfRuns) -> None:
        task = self._claim.task
        with self._cond:
            self._times.setdefault(rows.unit, []).extend(rows.times)
            for run, earlier_s in zip(rows.runs, rows.earlier_s, strict=True):
                entry = RunTimes(f"{task.round}.{task.number}", rows.unit, earlier_s)
                if self._timed.get(run) != entry:
                    self._timed[run] = self._untold[run] = entry
            times = {unit: tuple(pairs) for unit, pairs in self._times.items()}
            self._note({_TIMES: times, _TIMED: dict(self._untold)})

    def _forget_times(self, notes: Notes) -> None:
        """Forget what has been written."""
        with self._cond:
            for unit, pairs in notes.get(_TIMES, {}).items():
                del self._times[unit][: len(pairs)]
                if not self._times[unit]:
                    del self._times[unit]
            for run, entry in notes.get(_TIMED, {}).items():
                if self._untold.get(run) == entry:
                    del self._untold[run]
            if _TIMES in self._notes:  # more came meanwhile
                self._notes[_TIMES] = {unit: tuple(all_) for unit, all_ in self._times.items()}
                self._notes[_TIMED] = dict(self._untold)

    def record(self, runs: Iterable[RunRecord]) -> None:
        """Take records of runs, written after the rows that came before."""
        several = {run.index: run for run in runs}
        self._over.update(index for index, run in several.items() if run.terminal)
        self._note(several)

    def progress(self, num_updates: int) -> None:
        """Take the number of updates that the task has made, in all its attempts."""
        self._note({_UPDATES: num_updates})

    def device(self, name: str) -> None:
        """Take the name of the device on which the attempt trains."""
        self._note({_DEVICE: name})

    def used(self, usage: Usage) -> None:
        """Note what the task has used; it is written with its close, or after `note_usage`."""
        known = {name: value for name, value in vars(usage).items() if value is not None}
        self._usage = replace(self._usage, **known)

    def note_usage(self) -> None:
        """Have what the task has used written with the rest: it is handed over, and not closed."""
        self._note({_USAGE: self._usage})

    def write_rest(self) -> None:
        """Write what is left, once sealed. Raises what the store raises; may be repeated."""
        self.finish(self._send)

    def close_task(self, status: Status, end: AttemptEnd) -> Status:
        """Write what is left, once sealed, and close the task, as `WorkerStudies.close`.

        Raises what the store raises; may be repeated.
        """

        def close(rows: list[RunRows], notes: Notes) -> Status:
            return self._studies.close(
                self._claim,
                status,
                end,
                rows=rows,
                runs=_records(notes),
                num_updates=notes.get(_UPDATES),
                usage=self._usage,
                times=notes.get(_TIMES),
                timed=notes.get(_TIMED),
                num_rows=self._counts(notes),
            )

        return self.finish(close)

    def _counts(self, notes: Notes) -> RowCounts:
        """Return how many rows there must be of the runs that have ended, or that pause, for their
        records to say so."""
        return {
            run.index: self._num_rows.get(run.index, {})
            for run in _records(notes)
            if run.terminal or run.paused is not None
        }

    def _may_overtake(self, key: Any, note: Any) -> bool:
        if not isinstance(note, RunRecord):
            return True
        return not note.terminal and note.paused is None

    def _due(self) -> Callable[[Chain], bool]:
        due = super()._due()
        if self._backlog.num_bytes < self._early_bytes:
            return due
        return lambda chain: due(chain) or self._is_good_segment(chain)

    def _is_good_segment(self, chain: Chain) -> bool:
        first = chain[0]
        if any(rows.truncate for rows in islice(chain, 1, None)):
            return False
        last = first.run in self._over and not self._backlog.has_file
        return self._placing.makes_segment(
            (first.run, first.kind),
            first.first_row,
            sum(rows.num_rows for rows in chain),
            last=last,
            anew=first.truncate,
        )

    def _prepare(self, rows: list[Rows]) -> list[RunRows]:
        parts = Counter((batch.run, batch.kind) for batch in rows)
        return [self._placed(batch, alone=parts[batch.run, batch.kind] == 1) for batch in rows]

    def _placed(self, batch: Rows, *, alone: bool) -> RunRows:
        """Decide where rows are to lie. `alone`: no other rows of its history are written with
        it."""
        history: History = (batch.run, batch.kind)
        bundled = (
            alone
            and not batch.is_rewind
            and self._placing.makes_segment(
                history,
                batch.first_row,
                batch.num_rows,
                last=batch.run in self._over and not self._more_waits(batch),
                anew=batch.truncate,
            )
        )
        # Rows in bundles move into chunks when they are cut, even if nothing is cut off.
        moves = not bundled and self._placing.goes_to_chunks(history)
        return RunRows(
            index=batch.run,
            kind=batch.kind,
            layout=self._layouts[batch.run][batch.kind],
            first_row=batch.first_row,
            columns=batch.columns,
            truncate=batch.truncate or moves,
            bundled=bundled,
            is_rewind=batch.is_rewind,
        )

    def _send(self, rows: list[RunRows], notes: Notes) -> None:
        if rows or notes:
            self._studies.write(
                self._claim,
                rows=rows,
                runs=_records(notes),
                num_updates=notes.get(_UPDATES),
                device=notes.get(_DEVICE),
                usage=notes.get(_USAGE),
                times=notes.get(_TIMES),
                timed=notes.get(_TIMED),
                num_rows=self._counts(notes),
            )
            self._forget_times(notes)
        for each in rows:
            stop = each.first_row + len(each.columns["step"])
            self._placing.written((each.index, each.kind), stop, bundled=each.bundled)


def _records(notes: Notes) -> list[RunRecord]:
    return [note for note in notes.values() if isinstance(note, RunRecord)]
