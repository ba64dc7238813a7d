"""The diagnosis of a job that still runs."""

from typing import cast

import numpy as np

from core.jobs import JobRecord
from core.store.protocols.types import Claim
from core.store.protocols.worker import WorkerStore
from tests.core.diagnosis.runs import finding
from tests.worker.bench import Bench, there
from tests.worker.execution.test_diagnosis import EQUAL_UNITS
from tests.worker.scenarios import INITIAL_LOSS, Deaf, Finish, Stream
from worker.execution.diagnosis import SHARE, LiveDiagnosis
from worker.reporting.job import JobRows


def test_a_running_job_is_diagnosed_by_its_rows_so_far(bench: Bench) -> None:
    bench.worker()
    job_id = bench.submit(Stream(), diagnose="history")
    quiet = bench.submit(Finish(1), diagnose="history")
    bench.until(lambda: bench.get(job_id).diagnosis is not None)
    job = bench.get(job_id)
    assert job.status == "running"
    assert there(job.diagnosis)["live"] is True
    assert there(job.diagnosis)["findings"]
    bench.cancel(job_id)
    assert bench.until_status(job_id, "cancelled").diagnosis is None
    assert "live" not in there(bench.until_status(quiet, "succeeded").diagnosis)


def test_a_live_diagnosis_knows_where_the_run_began(bench: Bench) -> None:
    """As the one at the end does, not by one noisy batch; and so does a result without an end."""
    bench.worker()
    job_id = bench.submit(Stream(), diagnose="history", problem=EQUAL_UNITS)
    bench.until(lambda: bench.get(job_id).diagnosis is not None)
    diverged = finding(there(bench.get(job_id).diagnosis), "diverged")
    assert diverged["evidence"]["first_loss"] == INITIAL_LOSS


def test_a_run_that_is_killed_says_where_it_began(bench: Bench) -> None:
    bench.worker(cancel_grace_s=0.05)
    job_id = bench.submit(Deaf())
    bench.until(lambda: bench.get(job_id).latest is not None)
    bench.cancel(job_id)
    job = bench.until_status(job_id, "cancelled")
    assert there(job.result)["initial_loss"] == INITIAL_LOSS


def test_looks_are_seldom_and_take_a_small_share_of_the_time(bench: Bench) -> None:
    spec = bench.get(bench.submit(Finish(1), diagnose="history")).spec
    job = JobRecord("job_1", "running", spec, "")
    recorder = JobRows(cast(WorkerStore, None), Claim(job, 1, 1), lost=lambda: None)
    steps = np.arange(20.0)
    columns = {"step": steps, "loss": 1 / (1 + steps), "lr": steps * 0 + 0.1, "grad_norm": steps}
    recorder.add("train", 0, columns)
    times = iter([0.0, 1.9, 2.0, 2.5, 102.4, 102.6, 102.7])  # the first look takes 0.5 s
    live = LiveDiagnosis(job, recorder, every_s=2.0, clock=lambda: next(times))
    live.look()
    assert not recorder._notes
    live.look()
    assert recorder._notes.pop("diagnosis")["live"]
    live.look()  # at 102.4: 0.5 s are half a percent of 100
    assert not recorder._notes
    live.look()
    assert recorder._notes["diagnosis"]["live"]
    assert SHARE < 0.01
