"""Diagnoses asked for after a job's end: real store, real processes, no torch."""

import pytest

from core.jobs import JobRecord
from core.specs.base import Json
from tests.worker.bench import Bench, there
from tests.worker.scenarios import Finish, Measuring


def ended(bench: Bench, measuring: Measuring = Measuring.NOW, steps: int = 50) -> str:
    if not bench.workers:
        bench.worker()
    job_id = bench.submit(Finish(steps), measuring=measuring)
    bench.until_status(job_id, "succeeded")
    return job_id


def answered(bench: Bench, job_id: str) -> JobRecord:
    bench.until(lambda: bench.get(job_id).asked_diagnosis is None)
    return bench.get(job_id)


def answer(bench: Bench, job_id: str) -> Json:
    return there(answered(bench, job_id).diagnosis)


def test_it_is_made_without_a_message_and_the_job_stays_what_it_was(bench: Bench) -> None:
    job_id = ended(bench)
    before = bench.get(job_id)
    assert before.diagnosis is None
    bench.ask(job_id, "final")
    job = answered(bench, job_id)
    assert there(job.diagnosis)["measured"]["checkpoint"] == "final"
    assert there(job.diagnosis)["findings"]
    assert (job.status, job.result, job.attempts) == (before.status, before.result, before.attempts)


def test_an_earlier_checkpoint_is_seen_with_the_rows_until_then(bench: Bench) -> None:
    job_id = ended(bench)
    bench.ask(job_id, "final")
    last = answer(bench, job_id)
    bench.ask(job_id, "initial")
    first = answer(bench, job_id)
    assert first["measured"]["step"] == 0
    assert first["verdict"] == "undetermined"  # one row tells nothing
    assert first["findings"] != last["findings"]


@pytest.mark.parametrize(
    ("measuring", "word"), [(Measuring.FAIL, "memory"), (Measuring.DIE, "died")]
)
def test_one_that_fails_says_why(bench: Bench, measuring: Measuring, word: str) -> None:
    job_id = ended(bench, measuring)
    bench.ask(job_id, "final")
    job = answered(bench, job_id)
    assert job.diagnosis is None
    assert word in there(job.failed_diagnosis)
    bench.until_status(bench.submit(Finish(1)), "succeeded")


def test_a_worker_that_shuts_down_leaves_it_to_the_next(bench: Bench) -> None:
    job_id = ended(bench, Measuring.DEAF)
    bench.ask(job_id, "final")
    bench.until(lambda: not bench.store.num_queued())
    bench.workers[0].stop()
    assert bench.store.num_queued() == 1
    assert bench.get(job_id).asked_diagnosis == "final"


def test_a_long_one_keeps_its_lease(bench: Bench) -> None:
    bench.worker(lease_s=0.6)
    job_id = ended(bench, Measuring.LONGER_THAN_A_LEASE)
    bench.ask(job_id, "final")
    job = answered(bench, job_id)
    assert job.failed_diagnosis is None
    assert there(job.diagnosis)["measured"]["step"] == 50


def test_jobs_go_on_beside_many_diagnoses(bench: Bench) -> None:
    bench.worker()
    ids = [bench.submit(Finish(5)) for _ in range(4)]
    for job_id in ids:
        bench.until_status(job_id, "succeeded")
        bench.ask(job_id, "final")
    later = bench.submit(Finish(5))
    bench.until_status(later, "succeeded")
    for job_id in ids:
        assert answer(bench, job_id)["measured"]


def test_a_remedys_later_diagnosis_compares_it_too(bench: Bench) -> None:
    parent = ended(bench, steps=20)
    child = bench.submit(Finish(50), parent_id=parent)
    bench.until_status(child, "succeeded")
    bench.ask(child, "final")
    assert answer(bench, child)["compared_to_parent"]["verdict"] == "improved"
