"""Diagnoses asked for after a job's end: real store, real processes, no torch."""

from typing import Any

import pytest


def ended(bench: Any, measure: str = "now", steps: int = 50) -> str:
    bench.worker()
    job_id: str = bench.submit(f"finish:{steps}", measure=measure)
    bench.until_status(job_id, "succeeded")
    return job_id


def answered(bench: Any, job_id: str) -> Any:
    bench.until(lambda: bench.get(job_id).asked_diagnosis is None)
    return bench.get(job_id)


def test_it_is_made_without_a_message_and_the_job_stays_what_it_was(bench: Any) -> None:
    job_id = ended(bench)
    before = bench.get(job_id)
    assert before.diagnosis is None
    bench.ask(job_id, "final")
    job = answered(bench, job_id)
    assert job.diagnosis["measured"]["checkpoint"] == "final"
    assert job.diagnosis["findings"]
    assert (job.status, job.result, job.attempts) == (before.status, before.result, before.attempts)


def test_an_earlier_checkpoint_is_seen_with_the_rows_until_then(bench: Any) -> None:
    job_id = ended(bench)
    bench.ask(job_id, "final")
    last = answered(bench, job_id).diagnosis
    bench.ask(job_id, "initial")
    first = answered(bench, job_id).diagnosis
    assert first["measured"]["step"] == 0
    assert first["verdict"] == "undetermined"  # one row tells nothing
    assert first["findings"] != last["findings"]


@pytest.mark.parametrize(("measure", "word"), [("fail", "memory"), ("die", "died")])
def test_one_that_fails_says_why(bench: Any, measure: str, word: str) -> None:
    job_id = ended(bench, measure)
    bench.ask(job_id, "final")
    job = answered(bench, job_id)
    assert job.diagnosis is None
    assert word in job.failed_diagnosis
    bench.until_status(bench.submit("finish:1"), "succeeded")


def test_a_worker_that_shuts_down_leaves_it_to_the_next(bench: Any) -> None:
    job_id = ended(bench, "deaf")
    bench.ask(job_id, "final")
    bench.until(lambda: not bench.store.num_queued())
    bench.workers[0].stop()
    assert bench.store.num_queued() == 1
    assert bench.get(job_id).asked_diagnosis == "final"


def test_a_long_one_keeps_its_lease(bench: Any) -> None:
    job_id = ended(bench, "seconds")
    bench.ask(job_id, "final")
    job = answered(bench, job_id)
    assert job.failed_diagnosis is None
    assert job.diagnosis["measured"]["step"] == 50


def test_jobs_go_on_beside_many_diagnoses(bench: Any) -> None:
    bench.worker()
    ids = [bench.submit("finish:5") for _ in range(4)]
    for job_id in ids:
        bench.until_status(job_id, "succeeded")
        bench.ask(job_id, "final")
    later = bench.submit("finish:5")
    bench.until_status(later, "succeeded")
    for job_id in ids:
        assert answered(bench, job_id).diagnosis["measured"]


def test_a_remedys_later_diagnosis_compares_it_too(bench: Any) -> None:
    parent = ended(bench, steps=20)
    child = bench.submit("finish:50", parent_id=parent)
    bench.until_status(child, "succeeded")
    bench.ask(child, "final")
    assert answered(bench, child).diagnosis["compared_to_parent"]["verdict"] == "improved"
