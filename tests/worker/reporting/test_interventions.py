"""Interventions on their way into the record and the history."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest

from core.errors import StoreUnavailableError
from core.jobs import JobRecord
from core.store.history.layout import Columns, HistoryKind, HistoryLayout
from core.store.protocols.types import Claim
from core.store.protocols.worker import WorkerStore
from tests.worker.bench import Bench, there
from tests.worker.scenarios import GoBack
from worker.reporting.job import Append, JobRows

LAYOUT = HistoryLayout(1, {"loss": 1, "x": 2}, 100)
ROLLBACK = {"action": "rollback", "step": 9, "lr_after": 0.1}
SKIP = {"action": "skip", "step": 9, "lr_after": 0.1}
CLAIM = Claim(JobRecord("job_1", "running", {}, ""), 1, 1, {"train": LAYOUT})


@pytest.mark.parametrize("pause_s", [0.0, 0.3])
def test_a_rollback_leaves_no_row_of_the_course_that_was_left(bench: Bench, pause_s: float) -> None:
    bench.worker()
    job = bench.until_status(bench.submit(GoBack(pause_s), diagnose="history"), "succeeded")
    assert bench.steps(job.id) == list(range(7))
    assert [entry["to_step"] for entry in job.interventions] == [4]
    assert there(job.result)["num_steps"] == 7
    assert there(job.diagnosis)["findings"]


class Log:
    """A store that writes down what it is told, and is away at first."""

    def __init__(self, refusals: int) -> None:
        self.rows: list[float] = []
        self.cuts: list[tuple[int, int | None, bool]] = []
        self.refusals = refusals

    def _check(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailableError("away")

    def update(
        self,
        claim: Claim,
        fields: Any,
        rows: Sequence[Append] = (),
        times: Any = (),
        samples: Any = (),
    ) -> None:
        self._check()
        for _, first_row, columns in rows:
            assert first_row <= len(self.rows), "a gap"
            steps = columns["step"].tolist()
            self.rows[first_row : first_row + len(steps)] = steps

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
        self.cuts.append((num_rows, rewinds, is_rewind))
        del self.rows[num_rows:]


def columns(first: int, count: int) -> Columns:
    steps = np.arange(first, first + count, dtype=np.float64)
    return {"step": steps, "loss": steps, "x": np.zeros((count, 2))}


@pytest.mark.parametrize("refusals", range(5))
def test_rows_are_written_and_cut_in_order_whatever_fails(refusals: int) -> None:
    log = Log(refusals)
    recorder = JobRows(cast(WorkerStore, log), CLAIM, lost=lambda: None)
    recorder.add("train", 0, columns(0, 10))
    recorder.rewind("train", 4, [ROLLBACK])
    recorder.rewind("eval", 0, [ROLLBACK])  # a history that the job has not
    recorder.add("train", 4, columns(4, 8))
    recorder.rewind("train", 6, [ROLLBACK, SKIP, ROLLBACK])
    recorder.add("train", 6, columns(6, 1))
    recorder.seal()
    while True:
        try:
            recorder.finish(lambda rows, fields: log.update(CLAIM, fields, rows))
            break
        except StoreUnavailableError:
            continue
    assert log.rows == list(range(7))
    assert recorder.history("train") is None
    assert log.cuts == [(4, 1, True), (6, 2, True)]


def test_a_resumed_attempt_says_how_often_its_run_has_gone_back() -> None:
    log = Log(0)
    recorder = JobRows(cast(WorkerStore, log), CLAIM, lost=lambda: None, resumed=True)
    log.rows = [0.0, 1.0, 2.0]
    recorder.set(interventions=[ROLLBACK, SKIP])
    recorder.add("train", 2, columns(2, 3))
    recorder.seal()
    recorder.finish(lambda rows, fields: log.update(CLAIM, fields, rows))
    assert (log.cuts, log.rows) == ([(2, 1, False)], [0, 1, 2, 3, 4])
