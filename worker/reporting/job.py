"""Reports of the training loop about a job on their way into the store."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.ids import rfc3339, utc_now
from core.jobs import Event, TimelineEntry, Usage
from core.specs.base import Json
from core.store.history.bundles import num_bytes
from core.store.history.layout import Columns, HistoryKind
from core.store.history.times import Times
from core.store.protocols.types import Claim
from core.store.protocols.worker import WorkerStore
from worker.reporting.spool import Rows, join
from worker.reporting.writer import Notes, Writer

Append = tuple[HistoryKind, int, Columns]


class JobRows(Writer[Append]):
    """Collects the rows and fields of one attempt at a job; see `Writer`.

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
        super().__init__(
            lost=lost, spill_folder=spill_folder, memory_bytes=memory_bytes, linger_s=linger_s
        )
        self._store = store
        self._claim = claim
        self._to_truncate: set[HistoryKind] = {"train", "eval"} if resumed else set()
        self._rewinds = 0
        self._kept: list[Rows] = []
        self._keep_bytes = 0 if resumed else keep_bytes
        self._untold: list[TimelineEntry] = []
        self.times: Times = ()
        """Times of the rows that are being written."""
        self._num_rows: dict[HistoryKind, int] = {}
        self._samples: list[Sequence[float | None]] = []
        self._interventions = {_mark(each) for each in claim.job.interventions}

    def add(self, kind: HistoryKind, first_row: int, columns: Columns, times: Times = ()) -> None:
        """Take the rows `first_row …` of a history, and when the job came to them."""
        cut = kind in self._to_truncate
        stop = first_row + len(columns["step"])
        self._num_rows[kind] = stop
        rows = Rows(kind, first_row, columns, truncate=cut, times=times, rewinds=self._rewinds)
        self._to_truncate.discard(kind)
        if self._keep_bytes:
            self._keep_bytes = max(0, self._keep_bytes - rows.num_bytes)
            self._kept = [*self._kept, rows] if self._keep_bytes else []
        self._put([rows])

    def found(self, num_rows: Mapping[HistoryKind, int]) -> None:
        """Take how many rows of each kind former attempts have left in the store."""
        self._num_rows |= num_rows

    @property
    def num_rows(self) -> Mapping[HistoryKind, int]:
        """The rows of each kind in the store, once all are there."""
        return self._num_rows

    @property
    def num_bytes(self) -> int:
        """Bytes of the job's rows in the store, once all are there."""
        layouts = self._claim.layouts
        return sum(
            num_bytes(layouts[kind], count)
            for kind, count in self._num_rows.items()
            if kind in layouts
        )

    def rewind(self, kind: HistoryKind, num_rows: int, interventions: Sequence[Json]) -> None:
        """Take back the rows from `num_rows` on: the run has gone back, and they are none of it any
        more. `interventions`: all so far, that which made it go back included."""
        self._rewinds = _num_rewinds(interventions)
        layout = self._claim.layouts.get(kind)
        if layout is None:
            return
        widths = layout.widths.items()
        self._num_rows[kind] = num_rows
        columns = {name: np.empty((0, width) if name == "x" else 0) for name, width in widths}
        self._keep_bytes, self._kept = 0, []
        nothing = {"step": np.empty(0), **columns}
        back = Rows(kind, num_rows, nothing, truncate=True, rewinds=self._rewinds, is_rewind=True)
        self._put([back])

    def set(self, **fields: object) -> None:
        """Set fields of the record (`WorkerStore.update`): the last value of each is written. A
        phase, and each new one of the `interventions`, goes into the timeline too."""
        phase, interventions = fields.get("phase"), fields.get("interventions")
        if isinstance(phase, str):
            self.tell("phase", phase)
        if isinstance(interventions, list):
            self._rewinds = _num_rewinds(interventions)
            self._tell_interventions(interventions)
        self._note(fields)

    def used(self, usage: Usage) -> None:
        """Note what the attempt has used; what was not measured stays what it was."""
        with self._cond:
            known = {name: value for name, value in vars(usage).items() if value is not None}
            before = self._notes.get("usage", Usage())
            self._note({"usage": replace(before, **known)})

    def sample(self, row: Sequence[float | None]) -> None:
        """Take a sample of the job's process (`core.store.history.samples`)."""
        with self._cond:
            self._samples.append(row)
            self._note({"samples": tuple(self._samples)})

    def tell(self, event: Event, detail: str) -> None:
        """Add an entry of this moment to the job's timeline."""
        with self._cond:
            self._untold.append(TimelineEntry(rfc3339(utc_now()), event, detail))
            self._note({"timeline": tuple(self._untold)})

    def _tell_interventions(self, several: Sequence[Json]) -> None:
        """Add the new interventions to the timeline. A resumed run reports again what it did before
        its checkpoint, and repeats the rest."""
        for each in several:
            if _mark(each) not in self._interventions:
                self._interventions.add(_mark(each))
                self.tell("intervention", f"{each['action']} at step {each['step']}")

    def history(self, kind: HistoryKind) -> Columns | None:
        """Return all rows of this attempt where it began at row 0 and they are few; otherwise None:
        they are in the store."""
        if not self._keep_bytes:
            return None
        rows = join([rows for rows in self._kept if rows.kind == kind])
        return rows[0].columns if rows else {}

    def _send(self, rows: list[Append], notes: Notes) -> None:
        fields = {name: note for name, note in notes.items() if name != "samples"}
        samples = notes.get("samples", ())
        self._store.update(self._claim, fields, rows=rows, times=self.times, samples=samples)
        with self._cond:
            del self._samples[: len(samples)]
            if "samples" in self._notes:  # more came meanwhile
                self._notes["samples"] = tuple(self._samples)
            del self._untold[: len(notes.get("timeline", ()))]
            if "timeline" in self._notes:  # more was told meanwhile
                self._notes["timeline"] = tuple(self._untold)

    def _prepare(self, rows: list[Rows]) -> list[Append]:
        """Cut histories down where batches say so, those before them written first; return the
        batches that are left to be written."""
        self.times = [time for batch in rows for time in batch.times]
        left: list[Append] = []
        for batch in rows:
            if batch.truncate:
                if left:
                    self._store.update(self._claim, {}, rows=left)
                left = []
                self._store.truncate_rows(
                    self._claim,
                    batch.kind,
                    batch.first_row,
                    batch.rewinds,
                    is_rewind=batch.is_rewind,
                )
            if batch.num_rows:
                left.append((batch.kind, batch.first_row, batch.columns))
        return left


def _num_rewinds(interventions: Sequence[Json]) -> int:
    return sum(each["action"] == "rollback" for each in interventions)


def _mark(intervention: Json) -> tuple[int, str, float | None]:
    """Return what tells an intervention from the others: the rate changes with each."""
    return intervention["step"], intervention["action"], intervention.get("lr_after")
