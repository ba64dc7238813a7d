"""The reports of many runs reach the store in order, whatever becomes of it meanwhile."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from core.errors import StaleAttemptError, StoreUnavailableError
from core.jobs import AttemptEnd, Status, Usage
from core.messages.parts import Kind
from core.messages.reports import RowsOfRuns
from core.store.history.layout import Columns, HistoryLayout, RowCounts, RunRows
from core.store.history.times import RunTimes, Times
from core.store.protocols.types import TaskClaim
from core.store.protocols.worker import WorkerStudies
from core.store.redis import RedisStore
from core.studies import RunRecord, StudyRecord, TaskRecord
from tests.worker.bench import Away, Bench, there
from tests.worker.scenarios import Stream
from tests.worker.study_bench import StudyBench
from worker.reporting.task import TaskRows

STUDY = StudyRecord("study_1", "running", {}, "", num_runs=3, max_updates=300)
CLAIM = TaskClaim(STUDY, TaskRecord("study_1", 0, 1, "train", (0, 1, 2)), token=1, attempt=1)
LAYOUT = HistoryLayout(1, {"loss": 1}, 1000)
LAYOUTS: Any = {run: {"train": LAYOUT, "eval": LAYOUT} for run in range(3)}


class Shelf:
    """A store of one task that keeps what it is given, and fails when told to."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, str], list[float]] = {}
        self.records: dict[int, RunRecord] = {}
        self.rows_at_end: dict[int, int] = {}
        """How many training rows a run had when its end was written."""
        self.segments: dict[tuple[int, str], list[int]] = {}
        """Rows in each segment of the histories that lie in bundles."""
        self.num_updates: int | None = None
        self.device: str | None = None
        self.closed: tuple[Status, AttemptEnd] | None = None
        self.usage: Usage | None = None
        self.times: dict[int, list[Any]] = {}
        self.timed: dict[int, RunTimes] = {}
        self.num_calls = 0
        self.num_refused = 0
        self.error: Exception | None = None
        self.changed = threading.Condition()

    def write(
        self,
        claim: TaskClaim,
        *,
        rows: Sequence[RunRows] = (),
        runs: Sequence[RunRecord] = (),
        num_updates: int | None = None,
        device: str | None = None,
        usage: Usage | None = None,
        times: Mapping[int, Times] | None = None,
        timed: Mapping[int, RunTimes] | None = None,
        num_rows: RowCounts | None = None,
    ) -> None:
        with self.changed:
            self.changed.notify_all()
            if self.error is not None:
                self.num_refused += 1
                raise self.error
            self.num_calls += 1
            for unit, pairs in (times or {}).items():
                self.times.setdefault(unit, []).extend(pairs)
            self.timed.update(timed or {})
            for batch in rows:
                held = self.rows.setdefault((batch.index, batch.kind), [])
                if batch.truncate:
                    del held[batch.first_row :]
                    self.segments.pop((batch.index, batch.kind), None)
                assert batch.first_row <= len(held), "a gap"
                steps = batch.columns["step"].tolist()
                held[batch.first_row : batch.first_row + len(steps)] = steps
                self._place(batch)
            for index, counts in (num_rows or {}).items():
                for kind, count in counts.items():
                    assert len(self.rows.get((index, kind), [])) == count
            for run in runs:
                self.records[run.index] = run
                if run.terminal:
                    self.rows_at_end[run.index] = len(self.rows.get((run.index, "train"), []))
            self.num_updates = num_updates or self.num_updates
            self.device = device or self.device
            self.usage = usage or self.usage

    def _place(self, batch: RunRows) -> None:
        """As the store does, and refuses to."""
        history, num_rows = (batch.index, batch.kind), len(batch.columns["step"])
        if not batch.bundled:
            assert history not in self.segments
        elif batch.first_row == 0:
            self.segments[history] = [num_rows]
        else:
            before = self.segments[history]
            while sum(before) > batch.first_row:
                before.pop()
            assert sum(before) == batch.first_row
            before.append(num_rows)

    def close(self, claim: TaskClaim, status: Status, end: AttemptEnd, **written: Any) -> Status:
        self.write(claim, **written)
        self.closed = (status, end)
        return "running"

    def wait_for(self, condition: Any) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, timeout=60)


def recorder(shelf: Shelf, **options: Any) -> TaskRows:
    lost = options.pop("lost", None)
    options.setdefault("hold_s", 0.0)
    return TaskRows(cast(WorkerStudies, shelf), CLAIM, LAYOUTS, lost=lost, **options)


def add(it: TaskRows, kind: Kind, *parts: tuple[int, int, int]) -> None:
    """Rows of several runs: run, first row, how many."""
    steps = np.concatenate(
        [np.arange(first, first + count, dtype=float) for _, first, count in parts]
    )
    columns: Columns = {"step": steps, "loss": steps / 7}
    runs, first_rows, lengths = zip(*parts, strict=True)
    it.add(RowsOfRuns(kind, list(runs), list(first_rows), list(lengths), columns))


def run(index: int, **changes: Any) -> RunRecord:
    return RunRecord(index, index, 0, 7, {}, **changes)


def test_a_short_task_is_written_once_with_its_close() -> None:
    shelf = Shelf()
    it = recorder(shelf)
    it.device("cpu")
    it.record([run(0, status="running"), run(1, status="running")])
    add(it, "train", (0, 0, 5), (1, 0, 3))
    add(it, "train", (0, 5, 5), (1, 3, 4))
    add(it, "eval", (1, 0, 1))
    it.record([run(0, status="succeeded")])
    it.progress(17)
    it.seal()
    it.used(Usage(2**30))
    assert it.close_task("succeeded", "finished") == "running"
    it.close()
    assert shelf.num_calls == 1
    assert shelf.usage == Usage(2**30)
    assert shelf.closed == ("succeeded", "finished")
    assert shelf.rows == {
        (0, "train"): list(range(10)),
        (1, "train"): list(range(7)),
        (1, "eval"): [0],
    }
    assert [shelf.records[index].status for index in (0, 1)] == ["succeeded", "running"]
    assert shelf.num_updates == 17


def test_what_a_task_used_is_written_where_it_is_handed_over() -> None:
    shelf = Shelf()
    it = recorder(shelf)
    it.used(Usage(2**30, 1.5))
    it.seal()
    it.write_rest()
    assert shelf.num_calls == 0  # it goes with the close, where there is one
    it.used(Usage(stored_bytes=7))
    it.note_usage()
    it.write_rest()
    it.write_rest()
    it.close()
    assert shelf.num_calls == 1
    assert shelf.usage == Usage(2**30, 1.5, 7)


def test_a_long_task_is_written_on_the_way() -> None:
    shelf = Shelf()
    it = recorder(shelf, linger_s=0)
    it.start()
    it.device("cuda:0")
    add(it, "train", (2, 0, 5))
    shelf.wait_for(lambda: len(shelf.rows.get((2, "train"), [])) == 5 and shelf.device == "cuda:0")
    it.progress(5)
    shelf.wait_for(lambda: shelf.num_updates == 5)
    it.close()


@pytest.mark.parametrize("memory_bytes", [1, 10**6])
def test_rows_wait_while_the_store_is_away_and_catch_up(tmp_path: Path, memory_bytes: int) -> None:
    shelf = Shelf()
    it = recorder(shelf, linger_s=0, memory_bytes=memory_bytes, spill_folder=tmp_path)
    it.start()
    shelf.error = StoreUnavailableError("away")
    add(it, "train", (0, 0, 5), (1, 0, 5))
    shelf.wait_for(lambda: shelf.num_refused >= 1)
    for first in range(5, 100, 5):
        add(it, "train", (0, first, 5), (1, first, 5))
        it.progress(2 * first)
    shelf.error = None
    shelf.wait_for(lambda: shelf.num_updates == 190)
    it.seal()
    it.close_task("succeeded", "finished")
    it.close()
    assert shelf.rows == {(index, "train"): list(range(100)) for index in (0, 1)}


def test_a_runs_end_is_written_after_all_its_rows() -> None:
    shelf = Shelf()
    it = recorder(shelf, linger_s=0)
    it.start()
    shelf.error = StoreUnavailableError("away")
    for first in range(0, 400_000, 50_000):  # more than one batch
        add(it, "train", (0, first, 50_000))
    it.record([run(0, status="succeeded")])
    shelf.wait_for(lambda: shelf.num_refused >= 1)
    shelf.error = None
    shelf.wait_for(lambda: 0 in shelf.records)
    it.close()
    assert shelf.rows_at_end == {0: 400_000}


def test_rows_are_held_and_a_history_that_ends_meanwhile_leaves_in_one_segment() -> None:
    shelf = Shelf()
    it = recorder(shelf, linger_s=0, hold_s=1000.0)
    it.start()
    it.record([run(index, status="running") for index in range(3)])
    add(it, "train", (0, 0, 5), (1, 0, 5), (2, 0, 5))
    add(it, "eval", (0, 0, 1))
    it.progress(15)
    # What rows have no part in does not wait for them.
    shelf.wait_for(lambda: shelf.num_updates == 15)
    assert shelf.records[2].status == "running"
    assert not shelf.rows
    add(it, "train", (0, 5, 5), (1, 5, 3))
    it.record([run(0, status="succeeded"), run(1, status="cancelled")])
    it.seal()
    it.close_task("succeeded", "finished")
    it.close()
    assert shelf.segments == {(0, "train"): [10], (0, "eval"): [1], (1, "train"): [8]}
    assert {key: len(steps) for key, steps in shelf.rows.items()} == {
        (0, "train"): 10,
        (1, "train"): 8,
        (2, "train"): 5,
        (0, "eval"): 1,
    }


def test_rows_are_held_no_longer_than_there_is_room() -> None:
    shelf = Shelf()
    it = recorder(shelf, linger_s=0, hold_s=1000.0, memory_bytes=10_000)
    it.start()
    add(it, "train", (0, 0, 100))
    add(it, "train", (0, 100, 300))
    shelf.wait_for(lambda: len(shelf.rows.get((0, "train"), [])) == 400)
    it.record([run(0, status="succeeded")])
    add(it, "eval", (0, 0, 3))
    it.close_task("succeeded", "finished")
    it.close()
    assert shelf.segments == {(0, "eval"): [3], (0, "train"): [400]}


@pytest.mark.parametrize("memory_bytes", [3000, 10**9])
def test_a_long_history_lies_in_no_bundle(tmp_path: Path, memory_bytes: int) -> None:
    shelf = Shelf()
    it = recorder(shelf, memory_bytes=memory_bytes, spill_folder=tmp_path)
    for first in range(0, 600_000, 50_000):
        add(it, "train", (0, first, 50_000))
    add(it, "train", (1, 0, 12))
    it.record([run(index, status="succeeded") for index in (0, 1)])
    it.seal()
    it.write_rest()
    it.close()
    assert shelf.segments == {(1, "train"): [12]}
    assert shelf.rows[0, "train"] == list(range(600_000))


def test_rows_that_were_taken_back_lie_in_no_bundle() -> None:
    shelf = Shelf()
    it = recorder(shelf)
    add(it, "train", (0, 0, 12))
    columns = {"step": np.arange(4.0, 7.0), "loss": np.zeros(3)}
    it.add(RowsOfRuns("train", [0], [4], [3], columns, truncate=True))
    it.record([run(0, status="succeeded")])
    it.seal()
    it.write_rest()
    it.close()
    assert shelf.rows == {(0, "train"): list(range(7))}
    assert not shelf.segments


def test_what_makes_a_good_segment_leaves_early_when_much_waits() -> None:
    shelf = Shelf()
    it = recorder(shelf, linger_s=0, hold_s=1000.0, early_bytes=6_000)
    it.start()
    add(it, "train", (0, 0, 200), (1, 0, 100), (2, 0, 200))
    shelf.wait_for(lambda: len(shelf.segments) == 2)
    assert shelf.segments == {(0, "train"): [200], (2, "train"): [200]}
    add(it, "train", (1, 100, 50), (0, 200, 300))
    shelf.wait_for(lambda: len(shelf.rows[0, "train"]) == 500)
    it.record([run(index, status="succeeded") for index in range(3)])
    it.seal()
    it.close_task("succeeded", "finished")
    it.close()
    assert shelf.segments == {
        (0, "train"): [200, 300],
        (1, "train"): [150],
        (2, "train"): [200],
    }
    assert shelf.rows[0, "train"] == list(range(500))


@pytest.mark.parametrize("away", [False, True])
def test_a_history_whose_rows_come_in_small_parts_leaves_its_bundles(away: bool) -> None:
    shelf = Shelf()
    it = recorder(shelf, linger_s=0)
    it.start()
    add(it, "train", (0, 0, 200))
    shelf.wait_for(lambda: shelf.segments == {(0, "train"): [200]})
    if away:
        shelf.error = StoreUnavailableError("away")
    add(it, "train", (0, 200, 10))
    if away:
        shelf.wait_for(lambda: shelf.num_refused >= 2)
        shelf.error = None
    shelf.wait_for(lambda: len(shelf.rows[0, "train"]) == 210)
    assert not shelf.segments
    add(it, "train", (0, 210, 700))
    shelf.wait_for(lambda: len(shelf.rows[0, "train"]) == 910)
    it.close()
    assert not shelf.segments
    assert shelf.rows[0, "train"] == list(range(910))


def test_the_close_is_repeated_until_the_store_is_back() -> None:
    shelf = Shelf()
    it = recorder(shelf)
    for first in range(0, 400_000, 50_000):
        add(it, "train", (0, first, 50_000), (1, first, 50_000))
    it.record([run(0, status="succeeded")])
    it.seal()
    shelf.error = StoreUnavailableError("away")
    with pytest.raises(StoreUnavailableError):
        it.close_task("failed", "failed")
    shelf.error = None
    it.close_task("failed", "failed")
    it.close()
    assert shelf.closed == ("failed", "failed")
    assert shelf.rows == {(index, "train"): list(range(400_000)) for index in (0, 1)}
    assert shelf.records[0].status == "succeeded"


def test_a_stale_attempt_is_told_and_writes_nothing_more() -> None:
    shelf = Shelf()
    shelf.error = StaleAttemptError("stale")
    lost = threading.Event()
    it = recorder(shelf, linger_s=0, lost=lost.set)
    it.start()
    add(it, "train", (0, 0, 5))
    assert lost.wait(60)
    shelf.error = None
    add(it, "train", (0, 5, 5))
    it.close()
    assert shelf.num_calls == 0


def test_runs_that_go_on_replace_what_was_written_after_their_checkpoint() -> None:
    shelf = Shelf()
    for index in (0, 1):
        shelf.rows[index, "train"] = [float(step) for step in range(90)]
    it = recorder(shelf, going_on=[0])
    add(it, "train", (0, 50, 10), (1, 90, 5))
    add(it, "train", (0, 60, 10))
    it.seal()
    it.write_rest()
    it.close()
    assert shelf.rows == {(0, "train"): list(range(70)), (1, "train"): list(range(95))}


def test_a_task_trains_through_an_outage_of_the_store(bench: Bench) -> None:
    studies = StudyBench(bench)
    store, away, refused = bench.store, threading.Event(), []

    def refuse(name: str) -> None:
        if away.is_set():
            refused.append(name)
            raise StoreUnavailableError("away")

    bench.store = cast(RedisStore, Away(store, refuse))
    bench.worker()
    bench.store = store
    study_id = studies.submit(Stream(), [[0, 1]])
    studies.until(lambda: store.studies.num_rows(study_id, [1])[1]["train"] >= 5)
    before = store.studies.num_rows(study_id, [1])[1]["train"]
    away.set()
    studies.until(lambda: refused.count("write") >= 2)
    away.clear()
    studies.until(lambda: store.studies.num_rows(study_id, [1])[1]["train"] > before)
    studies.cancel(study_id)
    studies.until_status(study_id, "cancelled")
    for index in (0, 1):
        steps = studies.steps(study_id, index)
        assert steps == list(range(len(steps)))
        assert len(steps) == there(studies.runs(study_id)[index].result)["num_steps"]
