"""Reports reach the store in order, whatever becomes of it meanwhile."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from core.errors import StaleAttemptError, StoreUnavailableError
from core.jobs import JobRecord, TimelineEntry, Usage
from core.specs.base import Json
from core.store.history.layout import Columns, HistoryKind
from core.store.protocols.types import Claim
from core.store.protocols.worker import WorkerStore
from worker.reporting.job import Append, JobRows

CLAIM = Claim(JobRecord("job_1", "running", {}, ""), token=1, attempt=1)


class Shelf:
    """A store that keeps what it is given, and fails when told to."""

    def __init__(self) -> None:
        self.rows: dict[str, list[float]] = {"train": [], "eval": []}
        self.fields: dict[str, Any] = {}
        self.timeline: list[TimelineEntry] = []
        self.num_writes = 0
        self.num_refused = 0
        self.samples: list[Any] = []
        self.error: Exception | None = None
        self.changed = threading.Condition()

    def _check(self) -> None:
        with self.changed:
            if self.error is not None:
                self.num_refused += 1
                self.changed.notify_all()
                raise self.error

    def update(
        self,
        claim: Claim,
        fields: dict[str, Any],
        rows: Sequence[Append] = (),
        times: Any = (),
        samples: Any = (),
    ) -> None:
        self._check()
        with self.changed:
            self.num_writes += 1
            self.samples += samples
            entries = fields.get("timeline", ())
            self.timeline += [entry for entry in entries if entry not in self.timeline]
            self.fields.update({name: fields[name] for name in fields if name != "timeline"})
            for kind, first_row, columns in rows:
                self.rows[kind][first_row:] = columns["step"].tolist()
            self.changed.notify_all()

    def truncate_rows(
        self,
        claim: Claim,
        kind: HistoryKind,
        num_rows: int,
        rewinds: int | None = None,
        *,
        is_rewind: bool = False,
    ) -> None:
        self._check()
        del self.rows[kind][num_rows:]

    def wait_for(self, condition: Any) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, timeout=60)


def steps(first: int, count: int) -> Columns:
    return {"step": np.arange(first, first + count, dtype=np.float64)}


def recorder(shelf: Shelf, **options: Any) -> JobRows:
    claim = options.pop("claim", CLAIM)
    return JobRows(cast(WorkerStore, shelf), claim, lost=options.pop("lost", None), **options)


def finish(shelf: Shelf, recorder: JobRows) -> None:
    recorder.seal()
    recorder.finish(lambda rows, fields: shelf.update(CLAIM, fields, rows))
    recorder.close()


def test_a_short_run_is_written_once_with_its_close() -> None:
    shelf = Shelf()
    it = recorder(shelf)
    it.add("train", 0, steps(0, 25))
    it.set(phase="training")
    it.add("train", 25, steps(25, 25))
    it.used(Usage(2**30, 1.5))
    it.used(Usage(stored_bytes=7))  # what was known stays
    finish(shelf, it)
    assert shelf.num_writes == 1
    assert shelf.rows["train"] == list(range(50))
    assert shelf.fields == {"phase": "training", "usage": Usage(2**30, 1.5, 7)}


def test_a_long_run_is_written_on_the_way() -> None:
    shelf = Shelf()
    it = recorder(shelf, linger_s=0)
    it.start()
    it.add("train", 0, steps(0, 5))
    shelf.wait_for(lambda: len(shelf.rows["train"]) == 5)
    it.add("train", 5, steps(5, 5))
    shelf.wait_for(lambda: len(shelf.rows["train"]) == 10)
    finish(shelf, it)


def test_rows_wait_while_the_store_is_away_and_catch_up(tmp_path: Path) -> None:
    shelf = Shelf()
    it = recorder(shelf, linger_s=0, memory_bytes=100, spill_folder=tmp_path)
    it.start()
    it.add("train", 0, steps(0, 5))
    shelf.wait_for(lambda: shelf.rows["train"])
    shelf.error = StoreUnavailableError("away")
    for first in range(5, 105, 5):
        it.add("train", first, steps(first, 5))
        it.set(progress=first)
    shelf.wait_for(lambda: shelf.num_refused)
    shelf.error = None
    shelf.wait_for(lambda: len(shelf.rows["train"]) == 105)
    finish(shelf, it)
    assert shelf.rows["train"] == list(range(105))
    assert shelf.fields == {"progress": 100}


def test_a_close_that_found_the_store_away_can_be_tried_again() -> None:
    shelf = Shelf()
    it = recorder(shelf)
    it.add("train", 0, steps(0, 200_000))
    it.add("train", 200_000, steps(200_000, 200_000))
    it.set(phase="saving")
    shelf.error = StoreUnavailableError("away")
    with pytest.raises(StoreUnavailableError):
        finish(shelf, it)
    shelf.error = None
    finish(shelf, it)
    assert shelf.rows["train"] == list(range(400_000))
    assert shelf.fields == {"phase": "saving"}


def intervention(step: int, lr: float) -> Json:
    return {"step": step, "action": "rollback", "loss": float("nan"), "lr_after": lr}


@pytest.mark.parametrize("outage", [False, True])
def test_each_phase_and_intervention_goes_into_the_timeline_once(outage: bool) -> None:
    former = [intervention(30, 0.5), intervention(20, 0.25)]
    claim = Claim(JobRecord("job_1", "running", {}, "", interventions=tuple(former)), 1, 2)
    shelf = Shelf()
    it = recorder(shelf, claim=claim, linger_s=0, resumed=True)
    it.start()
    it.set(phase="preparing")
    shelf.wait_for(lambda: shelf.timeline)
    if outage:
        shelf.error = StoreUnavailableError("away")
    it.set(phase="training")
    it.set(interventions=former[:1])  # its checkpoint was before the second
    if outage:
        shelf.wait_for(lambda: shelf.num_refused)
        shelf.error = None
    it.set(interventions=[intervention(30, 0.5), intervention(20, 0.25), intervention(25, 0.125)])
    it.tell("restarted", "why")
    finish(shelf, it)
    assert [(entry.event, entry.detail) for entry in shelf.timeline] == [
        ("phase", "preparing"),
        ("phase", "training"),
        ("intervention", "rollback at step 25"),
        ("restarted", "why"),
    ]


def test_a_stale_attempt_is_told_and_writes_nothing_more() -> None:
    shelf = Shelf()
    shelf.error = StaleAttemptError("stale")
    lost = threading.Event()
    it = recorder(shelf, linger_s=0, lost=lost.set)
    it.start()
    it.add("train", 0, steps(0, 5))
    assert lost.wait(60)
    shelf.error = None
    it.add("train", 5, steps(5, 5))
    it.close()
    assert shelf.num_writes == 0


def test_a_resumed_attempt_replaces_what_the_former_wrote_after_its_checkpoint() -> None:
    shelf = Shelf()
    shelf.rows["train"] = [float(step) for step in range(90)]
    it = recorder(shelf, resumed=True)
    it.add("train", 50, steps(50, 10))
    it.add("train", 60, steps(60, 10))
    finish(shelf, it)
    assert shelf.rows["train"] == list(range(70))


def test_the_history_stays_at_hand_while_it_is_small() -> None:
    it = recorder(Shelf(), keep_bytes=1000)
    it.add("train", 0, steps(0, 50))
    it.add("train", 50, steps(50, 50))
    columns = it.history("train")
    assert columns is not None
    assert columns["step"].tolist() == list(range(100))
    it.add("train", 100, steps(100, 50))
    assert it.history("train") is None
    it.close()


def test_samples_wait_for_the_store_and_come_once() -> None:
    shelf = Shelf()
    it = recorder(shelf)
    shelf.error = StoreUnavailableError("away")
    it.start()
    it.sample([5.0, 99.0, 1.0, None, None])
    shelf.wait_for(lambda: shelf.num_refused)
    it.sample([10.0, 99.0, 1.0, None, None])
    shelf.error = None
    shelf.wait_for(lambda: len(shelf.samples) >= 2)
    it.sample([15.0, 99.0, 1.0, None, None])
    shelf.wait_for(lambda: len(shelf.samples) >= 3)
    it.close()
    assert [row[0] for row in shelf.samples] == [5.0, 10.0, 15.0]
