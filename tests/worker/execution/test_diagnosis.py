"""The diagnosis as a part of a job: real store, real processes, no torch."""

import pytest

from tests.worker.bench import Bench, there
from tests.worker.scenarios import Finish, Measuring


def full(bench: Bench, measuring: Measuring) -> str:
    return bench.submit(Finish(50), diagnose="full", measuring=measuring)


def test_a_full_diagnosis_is_there_when_the_job_is_terminal(bench: Bench) -> None:
    bench.worker()
    job = bench.until_status(full(bench, Measuring.NOW), "succeeded")
    assert there(job.diagnosis)["measured"]["grad_norm"] == 0.25
    assert there(job.diagnosis)["measured"]["checkpoint"] == "final"
    assert there(job.diagnosis)["verdict"]
    assert there(job.result)["num_steps"] == 50


@pytest.mark.parametrize("measuring", [Measuring.FAIL, Measuring.DIE])
def test_what_cannot_be_measured_never_fails_the_job(bench: Bench, measuring: Measuring) -> None:
    bench.worker()
    job = bench.until_status(full(bench, measuring), "succeeded")
    assert there(job.diagnosis)["measured"] is None
    assert there(job.diagnosis)["findings"]
    assert job.outcome == "budget_exhausted"
    bench.until_status(bench.submit(Finish(1)), "succeeded")


def diagnosing(bench: Bench, measuring: Measuring) -> str:
    job_id = full(bench, measuring)
    bench.until(lambda: bench.get(job_id).phase == "diagnosing")
    assert bench.get(job_id).status == "running"
    return job_id


@pytest.mark.parametrize("measuring", [Measuring.WAIT, Measuring.DEAF])
def test_a_cancel_ends_a_diagnosis_and_keeps_the_result(bench: Bench, measuring: Measuring) -> None:
    bench.worker()
    job_id = diagnosing(bench, measuring)
    bench.cancel(job_id)
    job = bench.until_status(job_id, "cancelled")
    assert there(job.result)["num_steps"] == 50
    assert job.outcome is None
    assert job.diagnosis is None
    assert bench.steps(job_id) == list(range(50))


def test_a_diagnosis_that_hears_nothing_holds_up_neither_a_cancel_nor_a_shutdown(
    bench: Bench,
) -> None:
    """Whatever time a step loop has for its last checkpoint."""
    worker = bench.worker(cancel_grace_s=600.0, shutdown_grace_s=600.0)
    job_id = diagnosing(bench, Measuring.DEAF)
    bench.cancel(job_id)
    job = bench.until_status(job_id, "cancelled")
    assert there(job.result)["num_steps"] == 50
    job_id = diagnosing(bench, Measuring.DEAF)
    worker.runner.begin_shutdown()
    assert bench.until_status(job_id, "queued").attempts[0].end == "handed_over"


def test_a_diagnosis_beyond_the_jobs_time_limit_is_left_out(bench: Bench) -> None:
    bench.worker(max_job_seconds=0.3)
    job = bench.until_status(full(bench, Measuring.WAIT), "succeeded")
    assert there(job.diagnosis)["measured"] is None


def test_a_worker_that_shuts_down_leaves_the_diagnosis_to_the_next(bench: Bench) -> None:
    first = bench.worker()
    job_id = diagnosing(bench, Measuring.WAIT)
    first.runner.begin_shutdown()
    job = bench.until_status(job_id, "queued")
    assert job.attempts[0].end == "handed_over"
    assert job.diagnosis is None


def test_a_remedys_diagnosis_compares_it_to_its_parent(bench: Bench) -> None:
    bench.worker()
    parent = bench.until_status(bench.submit(Finish(20), diagnose="history"), "succeeded")
    child = bench.submit(Finish(50), diagnose="history", parent_id=parent.id)
    compared = there(bench.until_status(child, "succeeded").diagnosis)["compared_to_parent"]
    assert compared["verdict"] == "improved"
    assert compared["before"]["final_loss"] == pytest.approx(1 / 20)
    assert compared["after"]["final_loss"] == pytest.approx(1 / 50)
    assert "compared_to_parent" not in there(parent.diagnosis)


def test_a_parent_that_is_gone_is_said_to_be(bench: Bench) -> None:
    bench.worker()
    gone = "job_00000000000000000000000000"
    child = bench.submit(Finish(50), diagnose="history", parent_id=gone)
    found = there(bench.until_status(child, "succeeded").diagnosis)
    assert found["compared_to_parent"] is None
    assert "deleted" in found["not_compared"]
    assert found["findings"]
