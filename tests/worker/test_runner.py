"""A job's way through a worker: real store, real processes, no torch."""

import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from core.ids import utc_now
from core.store.calls.job_codec import device_of
from core.store.protocols.types import Claim, TaskClaim, WorkerInfo
from core.store.redis import AsyncRedisStore
from tests.worker.bench import Bench, there
from tests.worker.scenarios import Deaf, Die, Fail, Fault, Finish, Wait
from tests.worker.study_bench import StudyBench
from worker.runner import Stint


def ends(bench: Bench, job_id: str) -> list[str | None]:
    return [attempt.end for attempt in bench.get(job_id).attempts]


def test_a_job_runs_to_its_end_and_its_rows_are_all_there(bench: Bench) -> None:
    bench.worker()
    job = bench.until_status(bench.submit(Finish(50)), "succeeded")
    assert job.outcome == "budget_exhausted"
    assert there(job.result)["num_steps"] == 50
    assert job.progress["step"] == 50
    assert job.phase is None
    assert job.attempts[0].device == "cpu"
    assert bench.steps(job.id) == list(range(50))
    assert ends(bench, job.id) == ["finished"]


def lines_of(caplog: pytest.LogCaptureFixture, job_id: str) -> list[str]:
    """What the log says of a job's beginnings and ends, without the seconds."""
    said = [record.getMessage() for record in caplog.records if record.name == "thalweg.worker"]
    found = [text.removeprefix(f"{job_id}: ") for text in said if text.startswith(f"{job_id}: ")]
    return [re.sub(r"[0-9.]+ s", "… s", text) for text in found if re.match("begins|ends", text)]


def test_the_log_has_a_line_when_a_job_begins_and_when_it_ends(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "thalweg.worker")
    first = bench.worker()
    done = bench.submit(Finish(5))
    bench.until_status(done, "succeeded")
    failed = bench.submit(Fail("data"))
    bench.until_status(failed, "failed")
    handed_over = bench.submit(Wait(), resumed=Finish(7))
    bench.until_status(handed_over, "running")
    first.stop()
    bench.worker()
    bench.until_status(handed_over, "succeeded")
    cancelled = bench.submit(Wait())
    bench.until_status(cancelled, "running")
    bench.cancel(cancelled)
    bench.until_status(cancelled, "cancelled")
    bench.workers[-1].stop()
    assert lines_of(caplog, done) == ["begins", "ends after … s: succeeded, budget_exhausted"]
    assert lines_of(caplog, failed) == ["begins", "ends after … s: failed"]
    assert lines_of(caplog, cancelled) == ["begins", "ends after … s: cancelled"]
    assert lines_of(caplog, handed_over) == [
        *("begins", "ends after … s: handed over, now queued"),
        *("begins", "ends after … s: succeeded, budget_exhausted"),
    ]


def test_queued_jobs_need_no_message(bench: Bench) -> None:
    ids = [bench.submit(Finish(5)) for _ in range(5)]
    bench.worker()
    for job_id in ids:
        bench.until_status(job_id, "succeeded")


def test_a_cancel_stops_between_steps_and_keeps_what_there_is(bench: Bench) -> None:
    bench.worker()
    job_id = bench.submit(Wait())
    bench.until_status(job_id, "running")
    bench.cancel(job_id)
    job = bench.until_status(job_id, "cancelled")
    assert there(job.result)["num_steps"] == 3
    assert job.outcome is None
    assert bench.steps(job_id) == [0, 1, 2]
    assert ends(bench, job_id) == ["cancelled"]


def test_a_loop_that_does_not_listen_is_killed_and_the_worker_goes_on(bench: Bench) -> None:
    worker = bench.worker(cancel_grace_s=0.3)
    job_id = bench.submit(Deaf())
    bench.until(lambda: len(bench.steps(job_id)) == 3)
    former = worker.link.pid
    bench.cancel(job_id)
    job = bench.until_status(job_id, "cancelled")
    assert there(job.result)["num_steps"] == 3
    assert bench.steps(job_id) == [0, 1, 2]
    bench.until_status(bench.submit(Finish(1)), "succeeded")
    assert worker.link.pid != former


def test_a_job_beyond_the_time_limit_fails_with_its_history(bench: Bench) -> None:
    bench.worker(max_job_seconds=0.2)
    job = bench.until_status(bench.submit(Wait()), "failed")
    assert there(job.error)["code"] == "time_limit_exceeded"
    assert there(job.result)["num_steps"] == 3
    assert ends(bench, job.id) == ["failed"]


@pytest.mark.parametrize(
    ("how", "code"),
    [("memory", "out_of_memory"), ("data", "data_unavailable"), ("fault", "internal_error")],
)
def test_a_failure_is_recorded_and_the_next_job_runs(bench: Bench, how: Fault, code: str) -> None:
    bench.worker()
    job = bench.until_status(bench.submit(Fail(how)), "failed")
    assert there(job.error)["code"] == code
    bench.until_status(bench.submit(Finish(1)), "succeeded")


def test_a_job_that_kills_its_trainer_ends_at_max_attempts(bench: Bench) -> None:
    bench.worker()
    poison = bench.submit(Die(), max_attempts=2)
    other = bench.submit(Finish(3))
    job = bench.until_status(poison, "failed")
    assert there(job.error)["code"] == "worker_lost"
    assert ends(bench, poison) == ["lost", "lost"]
    bench.until_status(other, "succeeded")


def test_a_job_whose_trainer_was_killed_goes_on_in_the_next_attempt(bench: Bench) -> None:
    bench.worker()
    job = bench.until_status(bench.submit(Die(), resumed=Finish(9)), "succeeded")
    assert ends(bench, job.id) == ["lost", "finished"]
    assert bench.steps(job.id) == list(range(9))


def test_a_shutdown_hands_the_job_over_and_counts_no_attempt(bench: Bench) -> None:
    first = bench.worker()
    job_id = bench.submit(Wait(), max_attempts=1, resumed=Finish(7))
    bench.until_status(job_id, "running")
    first.stop()
    assert bench.get(job_id).status == "queued"
    bench.worker()
    bench.until_status(job_id, "succeeded")
    assert ends(bench, job_id) == ["handed_over", "finished"]
    assert bench.steps(job_id) == list(range(7))


def test_a_shutdown_does_not_wait_for_a_loop_that_does_not_listen(bench: Bench) -> None:
    worker = bench.worker(shutdown_grace_s=1.3)
    job_id = bench.submit(Deaf())
    bench.until_status(job_id, "running")
    worker.stop()
    assert bench.get(job_id).status == "queued"
    assert ends(bench, job_id) == ["handed_over"]


def test_a_signal_that_does_not_interrupt_the_wait_is_heard_all_the_same(bench: Bench) -> None:
    """One that another thread got, as one that came just before the wait, is known to Python, and
    its handler runs once the main thread does something."""
    worker = bench.worker()
    job_id = bench.submit(Wait(), resumed=Finish(7))
    bench.until_status(job_id, "running")

    def get_the_signal() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    watchdog = threading.Timer(30.0, bench.cancel, [job_id])
    getter = threading.Timer(0.1, get_the_signal)
    before = signal.signal(signal.SIGTERM, lambda *_: worker.runner.begin_shutdown())
    try:
        watchdog.start()
        getter.start()
        worker.runner.wait(worker.runner.wake())
    finally:
        signal.signal(signal.SIGTERM, before)
        watchdog.cancel()
    getter.join()
    assert ends(bench, job_id) == ["handed_over"]


def test_nobody_waits_for_a_worker_that_shuts_down_to_be_idle(bench: Bench) -> None:
    worker = bench.worker(shutdown_grace_s=600.0)
    job_id = bench.submit(Deaf())
    bench.until(lambda: len(bench.steps(job_id)) == 3)
    worker.runner.begin_shutdown()
    assert not worker.runner.wait_until_idle(600.0)
    os.kill(there(worker.link.pid), signal.SIGKILL)
    bench.until_status(job_id, "queued")
    assert not worker.runner.wait_until_idle(600.0)


def test_an_attempt_that_lost_its_lease_stops_and_writes_nothing_more(bench: Bench) -> None:
    worker = bench.worker()
    job_id = bench.submit(Wait(), resumed=Finish(4))
    bench.until_status(job_id, "running")
    bench.store.lose(Claim(bench.get(job_id), token=1, attempt=1))
    job = bench.until_status(job_id, "succeeded")
    assert ends(bench, job_id) == ["lost", "finished"]
    assert there(job.result)["num_steps"] == 4
    assert worker.link.alive


def test_an_idle_trainer_that_dies_is_replaced_before_the_next_job(bench: Bench) -> None:
    worker = bench.worker()
    bench.until_status(bench.submit(Finish(1)), "succeeded")
    os.kill(there(worker.link.pid), signal.SIGKILL)
    bench.until_status(bench.submit(Finish(1)), "succeeded")


def test_a_job_is_run_once_however_many_messages_announce_it(bench: Bench) -> None:
    workers = [bench.worker(), bench.worker()]
    ids = [bench.submit(Finish(5)) for _ in range(10)]
    tickets = [(worker, worker.runner.wake()) for worker in workers for _ in range(20)]
    for worker, ticket in tickets:
        worker.runner.wait(ticket)
    for job_id in ids:
        job = bench.until_status(job_id, "succeeded")
        assert len(job.attempts) == 1
        assert bench.steps(job_id) == list(range(5))


def test_messages_that_come_during_a_job_are_served_by_one_look(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bool] = []
    claim_next = bench.store.claim_next

    def counted(*arguments: Any) -> Claim | TaskClaim | None:
        found = claim_next(*arguments)
        looks.append(found is not None)
        return found

    monkeypatch.setattr(bench.store, "claim_next", counted)
    worker = bench.worker()
    job_id = bench.submit(Wait())
    bench.until_status(job_id, "running")
    tickets = [worker.runner.wake() for _ in range(5)]
    bench.cancel(job_id)
    for ticket in tickets:
        worker.runner.wait(ticket)
    assert bench.get(job_id).status == "cancelled"
    assert looks[looks.index(True) :] == [True, False]


@pytest.mark.parametrize(
    ("wanted", "device"),
    [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")],
)
def test_a_spec_names_its_device(wanted: str, device: str) -> None:
    assert device_of(wanted, ("cuda:0", "cuda:1", "cpu")) == device


GPU = ("cuda:0", "cpu")


def listed(bench: Bench) -> Sequence[WorkerInfo]:
    """The workers that have reported."""
    found: list[WorkerInfo] = []

    async def look(store: AsyncRedisStore) -> None:
        found.extend(await store.workers())

    bench.api(look)
    return found


def test_auto_goes_to_the_gpu_and_once_that_worker_has_left_to_the_others(bench: Bench) -> None:
    gpu, cpu = bench.worker(devices=GPU), bench.worker(devices=("cpu",))
    bench.until(lambda: len(listed(bench)) == 2)
    for job_id in [bench.submit(Finish(2)) for _ in range(8)]:
        job = bench.until_status(job_id, "succeeded")
        assert (job.attempts[0].worker, job.attempts[0].device) == ("worker-0", "cuda:0")
    in_hand = bench.submit(Wait(), resumed=Finish(5))
    bench.until_status(in_hand, "running")
    behind = bench.submit(Finish(2))  # it waits for the GPU although another worker is idle
    cpu.runner.wait(cpu.runner.wake())
    assert bench.get(behind).status == "queued"
    gpu.stop()
    for job_id in (in_hand, behind):
        assert bench.until_status(job_id, "succeeded").attempts[-1].worker == "worker-1"


def test_work_is_not_left_to_a_worker_whose_trainer_does_not_start(bench: Bench) -> None:
    broken = bench.worker(devices=GPU, trainer=(sys.executable, "-c", "raise SystemExit(3)"))
    broken.link.devices = GPU  # what an earlier trainer found
    bench.until(lambda: not broken.runner.takes_work)
    bench.worker(devices=("cpu",))
    job_id = bench.submit(Finish(2))
    assert bench.until_status(job_id, "succeeded").attempts[0].worker == "worker-1"
    assert not broken.runner.takes_work


def test_a_worker_of_so_many_jobs_ends_after_them_and_leaves_the_rest(bench: Bench) -> None:
    ids = [bench.submit(Finish(5)) for _ in range(3)]
    worker = bench.worker(stint=Stint(max_jobs=2))
    assert worker.ended.wait(60)
    worker.runner.stop()
    assert [bench.get(id_).status for id_ in ids] == ["succeeded", "succeeded", "queued"]
    assert not bench.get(ids[2]).attempts


def test_a_job_that_fails_is_one_of_them_and_a_plan_is_not(bench: Bench) -> None:
    studies = StudyBench(bench)
    study_id = studies.submit(Finish(5), [[0], [1]])
    worker = bench.worker(stint=Stint(max_jobs=2))
    studies.until_status(study_id, "running")
    assert worker.ended.wait(60)
    worker.runner.stop()
    assert [run.status for run in studies.runs(study_id)] == ["succeeded", "succeeded"]
    bench.submit(Fail("data"))
    assert bench.worker(stint=Stint(max_jobs=1)).ended.wait(60)


@pytest.mark.parametrize("waiting", ["nothing", "what it cannot do"])
def test_a_worker_without_work_ends_when_it_has_been_so_for_its_time(
    bench: Bench, waiting: str
) -> None:
    """Whatever wakes it meanwhile: what waits for another wakes it all the time."""
    if waiting != "nothing":
        bench.submit(Finish(5), device="cuda")
    job_id = bench.submit(Finish(5))
    worker = bench.worker(stint=Stint(idle_s=0.5), devices=("cpu",))
    assert worker.ended.wait(60)
    ended = utc_now()
    job = bench.get(job_id)
    assert job.status == "succeeded"
    assert (ended - datetime.fromisoformat(there(job.finished_at))).total_seconds() >= 0.5
    assert not worker.runner.takes_work


def test_a_worker_at_work_is_not_idle(bench: Bench) -> None:
    job_id = bench.submit(Wait())
    worker = bench.worker(stint=Stint(idle_s=0.2))
    bench.until_status(job_id, "running")
    assert not worker.ended.wait(0.5)
    bench.cancel(job_id)
    assert worker.ended.wait(60)
    assert bench.get(job_id).status == "cancelled"


def test_a_trainer_that_dies_before_its_job_is_given_to_it_is_heard_of(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = bench.worker()
    bench.until_status(bench.submit(Finish(1)), "succeeded")
    bench.until(lambda: worker.runner.idle)
    claim_next = bench.store.claim_next
    died: list[Claim | TaskClaim] = []

    def claim_of_a_dead(*arguments: Any) -> Claim | TaskClaim | None:
        claim = claim_next(*arguments)
        if claim is not None and not died:
            worker.link.kill()
            bench.until(lambda: worker.link.died is not None)
            died.append(claim)
        return claim

    monkeypatch.setattr(bench.store, "claim_next", claim_of_a_dead)
    job_id = bench.submit(Finish(2))
    bench.until_status(job_id, "succeeded")
    assert ends(bench, job_id) == ["lost", "finished"]
