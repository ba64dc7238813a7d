"""Pauses of what is at work: real store, real processes, no torch."""

import os
import signal

import pytest

from core.jobs import JobRecord
from tests.worker.bench import Bench, no_renewal, there
from tests.worker.scenarios import Deaf, Die, Finish, Measuring, Stream, Tune, Wait
from tests.worker.study_bench import StudyBench


def ends(job: JobRecord) -> list[str | None]:
    return [attempt.end for attempt in job.attempts]


def test_a_pause_hands_the_job_over_and_a_resume_goes_on(bench: Bench) -> None:
    bench.worker()
    job_id = bench.submit(Wait(), max_attempts=1, resumed=Finish(9))
    bench.until(lambda: len(bench.steps(job_id)) == 3)
    bench.pause(job_id)
    job = bench.until_status(job_id, "paused")
    assert (ends(job), job.phase, job.result) == (["paused"], None, None)
    other = bench.until_status(bench.submit(Finish(2)), "succeeded")  # the worker is free
    bench.resume(job_id)
    job = bench.until_status(job_id, "succeeded")
    assert ends(job) == ["paused", "finished"]
    assert bench.steps(job_id) == list(range(9))
    assert there(job.attempts[1].started_at) > there(other.finished_at)


def test_a_paused_job_that_is_cancelled_keeps_what_it_had(bench: Bench) -> None:
    bench.worker()
    job_id = bench.submit(Wait())
    bench.until(lambda: bench.get(job_id).latest is not None)
    bench.pause(job_id)
    job = bench.until_status(job_id, "paused")
    bench.cancel(job_id)
    job = bench.get(job_id)
    assert (job.status, ends(job)) == ("cancelled", ["paused"])
    result = there(job.result)
    assert (result["num_steps"], result["final_loss"]) == (3, there(job.latest)["loss"])
    assert bench.steps(job_id) == list(range(3))


def test_a_job_that_looks_for_its_rate_pauses_too(bench: Bench) -> None:
    bench.worker()
    job_id = bench.submit(Tune(), lr="auto", resumed=Finish(4))
    bench.until(lambda: bench.get(job_id).phase == "tuning")
    bench.pause(job_id)
    bench.until_status(job_id, "paused")
    bench.resume(job_id)
    assert ends(bench.until_status(job_id, "succeeded")) == ["paused", "finished"]


def test_a_pause_ends_a_measurement_which_is_made_anew(bench: Bench) -> None:
    bench.worker()
    job_id = bench.submit(Finish(50), diagnose="full", measuring=Measuring.WAIT)
    bench.until(lambda: bench.get(job_id).phase == "diagnosing")
    bench.pause(job_id)
    job = bench.until_status(job_id, "paused")
    assert (ends(job), job.outcome) == (["paused"], None)
    bench.cancel(job_id)
    assert there(bench.get(job_id).result)["num_steps"] == 50


def test_a_loop_that_does_not_listen_is_not_killed_for_a_pause_but_for_a_cancel(
    bench: Bench,
) -> None:
    bench.worker(shutdown_grace_s=1.0, cancel_grace_s=0.2)
    job_id = bench.submit(Deaf())
    bench.until_status(job_id, "running")
    bench.pause(job_id)
    mailbox = bench.workers[0].runner._mailbox
    with no_renewal(bench):
        assert mailbox is bench.workers[0].runner._mailbox  # one beat later it is at work still
    assert bench.get(job_id).status == "running"
    bench.cancel(job_id)
    job = bench.until_status(job_id, "cancelled")
    assert ends(job) == ["cancelled"]


def test_a_trainer_that_dies_beside_a_pause_leaves_the_job_paused(bench: Bench) -> None:
    worker = bench.worker()
    job_id = bench.submit(Stream(), resumed=Finish(9))
    bench.until(lambda: len(bench.steps(job_id)) > 2)
    with no_renewal(bench):
        bench.pause(job_id)
        os.kill(there(worker.link.pid), signal.SIGKILL)
        job = bench.until_status(job_id, "paused")
    assert ends(job) == ["lost"]
    bench.resume(job_id)
    assert ends(bench.until_status(job_id, "succeeded")) == ["lost", "finished"]


def test_a_shutdown_beside_a_pause_leaves_the_job_paused(bench: Bench) -> None:
    first = bench.worker()
    job_id = bench.submit(Wait(), resumed=Finish(9))
    bench.until(lambda: len(bench.steps(job_id)) == 3)
    with no_renewal(bench):
        bench.pause(job_id)
        first.runner.begin_shutdown()
        job = bench.until_status(job_id, "paused")
    assert ends(job) == ["paused"]
    bench.worker()
    bench.resume(job_id)
    bench.until_status(job_id, "succeeded")


def test_what_a_paused_job_used_and_keeps_is_counted(bench: Bench) -> None:
    bench.worker()
    job_id = bench.submit(Wait(), resumed=Tune())
    bench.until(lambda: bench.get(job_id).latest is not None)
    bench.pause(job_id)
    used = [there(bench.until_status(job_id, "paused").usage)]
    bench.resume(job_id)
    bench.until(lambda: bench.get(job_id).phase == "tuning")
    bench.pause(job_id)
    used.append(there(bench.until_status(job_id, "paused").usage))
    bench.resume(job_id)
    bench.until(lambda: bench.get(job_id).phase == "tuning")
    bench.cancel(job_id)
    bench.until_status(job_id, "cancelled")
    ended = there(bench.get(job_id).usage)
    seconds = [there(each.cpu_s) for each in (*used, ended)]
    assert 0 < seconds[0] < seconds[1] < seconds[2]  # over all attempts
    stored = [there(each.stored_bytes) for each in (*used, ended)]
    assert stored[0] > 0
    assert stored == [stored[0]] * 3  # also of an attempt that ends before its first row
    assert there(used[0].peak_memory_bytes) > 0


def test_a_job_that_no_attempt_ended_keeps_rows_that_are_counted(bench: Bench) -> None:
    bench.worker()
    job_id = bench.submit(Die(), max_attempts=1)
    job = bench.until_status(job_id, "failed")
    assert there(job.error)["code"] == "worker_lost"
    assert there(there(job.usage).stored_bytes) > 0


def test_what_a_job_stores_is_counted_with_its_checkpoint_whatever_becomes_of_it(
    bench: Bench,
) -> None:
    bench.worker()
    of_rows = there(
        there(bench.until_status(bench.submit(Finish(3)), "succeeded").usage).stored_bytes
    )
    job_id = bench.submit(Wait(saved_bytes=1_000_000))

    def saved() -> bool:
        return [each["step"] for each in bench.get(job_id).checkpoints] == [2]

    bench.until(saved)
    job = bench.get(job_id)
    assert job.status == "running"
    assert there(there(job.usage).stored_bytes) == of_rows + 1_000_000


# --- studies


@pytest.fixture
def studies(bench: Bench) -> StudyBench:
    return StudyBench(bench)


def test_a_study_pauses_with_all_that_it_has_at_work(bench: Bench, studies: StudyBench) -> None:
    for _ in range(2):
        bench.worker()
    rounds = [[0, 1], [2], [3]]
    study_id = studies.submit(Stream(), rounds, resumed=Finish(30), max_attempts=1)
    studies.until_running(study_id, 3)

    studies.pause(study_id)

    study = studies.until_status(study_id, "paused")
    assert (study.counts["running"], study.counts["queued"]) == (0, 4)
    assert there(study.pause_requested_at)
    bench.until_status(bench.submit(Finish(2)), "succeeded")
    studies.resume(study_id)
    bench.until(lambda: studies.get(study_id).status == "running")
    studies.pause(study_id)
    studies.until_status(study_id, "paused", "succeeded")
    studies.cancel(study_id)
    assert studies.get(study_id).status in {"cancelled", "succeeded"}


def test_a_study_that_was_paused_comes_to_its_end(bench: Bench, studies: StudyBench) -> None:
    bench.worker()
    study_id = studies.submit(Stream(), [[0, 1]], resumed=Finish(60))
    studies.until_running(study_id, 2)
    studies.pause(study_id)
    studies.until_status(study_id, "paused")
    studies.resume(study_id)
    study = studies.until_status(study_id, "succeeded")
    assert study.counts["succeeded"] == 2
    assert studies.steps(study_id, 1) == list(range(60))


def test_what_a_paused_study_used_and_keeps_is_counted(bench: Bench, studies: StudyBench) -> None:
    bench.worker()
    study_id = studies.submit(Stream(), [[0, 1]], resumed=Stream())
    studies.until_running(study_id, 2)
    studies.pause(study_id)
    first = there(studies.until_status(study_id, "paused").usage)
    assert there(first.cpu_s) > 0
    assert there(first.peak_memory_bytes) > 0
    studies.resume(study_id)
    studies.until_running(study_id, 2)
    studies.pause(study_id)
    second = there(studies.until_status(study_id, "paused").usage)
    assert there(second.cpu_s) > there(first.cpu_s)
    studies.cancel(study_id)
    kept = there(there(studies.get(study_id).usage).stored_bytes)
    rows = sum(len(studies.steps(study_id, index)) for index in range(2))
    assert kept > 0
    assert kept == there(second.stored_bytes)
    assert kept % rows == 0  # each row counted once
