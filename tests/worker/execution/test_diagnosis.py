"""The diagnosis as a part of a job: real store, real processes, no torch."""

from typing import Any

import pytest


def full(bench: Any, measure: str) -> str:
    job_id: str = bench.submit("finish:50", diagnose="full", measure=measure)
    return job_id


def test_a_full_diagnosis_is_there_when_the_job_is_terminal(bench: Any) -> None:
    bench.worker()
    job = bench.until_status(full(bench, "now"), "succeeded")
    assert job.diagnosis["measured"]["grad_norm"] == 0.25
    assert job.diagnosis["measured"]["checkpoint"] == "final"
    assert job.diagnosis["verdict"]
    assert job.result["num_steps"] == 50


@pytest.mark.parametrize("measure", ["fail", "die"])
def test_what_cannot_be_measured_never_fails_the_job(bench: Any, measure: str) -> None:
    bench.worker()
    job = bench.until_status(full(bench, measure), "succeeded")
    assert job.diagnosis["measured"] is None
    assert job.diagnosis["findings"]
    assert job.outcome == "budget_exhausted"
    bench.until_status(bench.submit("finish:1"), "succeeded")


def diagnosing(bench: Any, measure: str) -> str:
    job_id = full(bench, measure)
    bench.until(lambda: bench.get(job_id).phase == "diagnosing")
    assert bench.get(job_id).status == "running"
    return job_id


@pytest.mark.parametrize("measure", ["wait", "deaf"])
def test_a_cancel_ends_a_diagnosis_and_keeps_the_result(bench: Any, measure: str) -> None:
    bench.worker()
    job_id = diagnosing(bench, measure)
    bench.cancel(job_id)
    job = bench.until_status(job_id, "cancelled")
    assert job.result["num_steps"] == 50
    assert job.outcome is None
    assert job.diagnosis is None
    assert bench.steps(job_id) == list(range(50))


def test_a_diagnosis_beyond_the_jobs_time_limit_is_left_out(bench: Any) -> None:
    bench.worker(max_job_seconds=0.3)
    job = bench.until_status(full(bench, "wait"), "succeeded")
    assert job.diagnosis["measured"] is None


def test_a_worker_that_shuts_down_leaves_the_diagnosis_to_the_next(bench: Any) -> None:
    first = bench.worker()
    job_id = diagnosing(bench, "wait")
    first.runner.begin_shutdown()
    job = bench.until_status(job_id, "queued")
    assert job.attempts[0].end == "handed_over"
    assert job.diagnosis is None


def test_a_remedys_diagnosis_compares_it_to_its_parent(bench: Any) -> None:
    bench.worker()
    parent = bench.until_status(bench.submit("finish:20", diagnose="history"), "succeeded")
    child = bench.submit("finish:50", diagnose="history", parent_id=parent.id)
    compared = bench.until_status(child, "succeeded").diagnosis["compared_to_parent"]
    assert compared["verdict"] == "improved"
    assert compared["before"]["final_loss"] == pytest.approx(1 / 20)
    assert compared["after"]["final_loss"] == pytest.approx(1 / 50)
    assert "compared_to_parent" not in parent.diagnosis


def test_a_parent_that_is_gone_is_said_to_be(bench: Any) -> None:
    bench.worker()
    gone = "job_00000000000000000000000000"
    child = bench.submit("finish:50", diagnose="history", parent_id=gone)
    found = bench.until_status(child, "succeeded").diagnosis
    assert found["compared_to_parent"] is None
    assert "deleted" in found["not_compared"]
    assert found["findings"]
