"""The diagnosis as a part of a job: real store, real processes, no torch."""

from typing import Any

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
    bench.worker(max_job_seconds=1.0)
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


EQUAL_UNITS: dict[str, Any] = {
    "kind": "supervised",
    "data": {"kind": "builtin", "name": "iris"},
    "model": {"kind": "mlp", "hidden": [4], "init": {"kind": "constant", "value": 0.1}},
}
"""A model that has remedies whatever its rows are."""


def with_remedies(bench: Bench, trying: Measuring, diagnose: str = "history") -> str:
    return bench.submit(Finish(50), diagnose=diagnose, measuring=trying, problem=EQUAL_UNITS)


@pytest.mark.parametrize("diagnose", ["history", "full"])
def test_remedies_whose_first_steps_fail_are_withheld(bench: Bench, diagnose: str) -> None:
    bench.worker()
    job = bench.until_status(with_remedies(bench, Measuring.NOW, diagnose), "succeeded")
    assert there(job.diagnosis)["verdict"] == "too_slow"
    assert there(job.diagnosis)["remedies"] == []


@pytest.mark.parametrize("trying", [Measuring.FAIL, Measuring.DIE])
def test_what_cannot_be_tried_is_offered_untried(bench: Bench, trying: Measuring) -> None:
    bench.worker()
    job = bench.until_status(with_remedies(bench, trying), "succeeded")
    assert there(job.diagnosis)["remedies"]
    assert len(job.attempts) == 1
    bench.until_status(bench.submit(Finish(1)), "succeeded")


@pytest.mark.parametrize("stop", ["cancel", "shutdown"])
def test_first_steps_that_hang_hold_nothing_up(bench: Bench, stop: str) -> None:
    """The training has ended, and what there is of it is kept, however long a step loop may take
    to hear."""
    worker = bench.worker(cancel_grace_s=600.0, shutdown_grace_s=600.0)
    job_id = with_remedies(bench, Measuring.DEAF)
    bench.until(lambda: bench.get(job_id).status == "running")
    if stop == "cancel":
        bench.cancel(job_id)
        job = bench.until_status(job_id, "succeeded")
        assert there(job.result)["num_steps"] == 50
    else:
        worker.runner.begin_shutdown()
        bench.until_status(job_id, "succeeded", "queued")


def test_a_later_diagnosis_tries_remedies_too(bench: Bench) -> None:
    bench.worker()
    job = bench.until_status(with_remedies(bench, Measuring.NOW, "off"), "succeeded")
    bench.ask(job.id, "final")
    bench.until(lambda: bench.get(job.id).asked_diagnosis is None)
    assert there(bench.get(job.id).diagnosis)["remedies"] == []
