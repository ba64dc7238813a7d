"""Who idles learns at once that a job is queued, and no more workers than there are jobs for; and
that a worker has been seen to die."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis

from core.errors import StaleAttemptError
from core.settings import Settings
from core.store.protocols.types import Claim, NewJob, WorkerInfo
from core.store.redis import AsyncRedisStore, RedisStore
from tests.core.store.study_makers import planned, take

pytestmark = pytest.mark.anyio
NewJobs = Callable[..., NewJob]

AT_ONCE_S = 0.01
"""Long enough for a word that is there."""
PATIENCE_S = 60.0


async def test_a_worker_that_waits_is_woken_by_a_new_job(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    woken: list[bool] = []
    waiting = threading.Thread(target=lambda: woken.append(worker.await_work(["cpu"], PATIENCE_S)))
    waiting.start()
    await api.create(new_job(), None)
    waiting.join()
    assert woken == [True]


async def test_a_word_that_nobody_waited_for_is_kept_for_the_next_and_given_once(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    for _ in range(3):
        await api.create(new_job(), None)
    assert worker.await_work(["cpu"], AT_ONCE_S)
    assert not worker.await_work(["cpu"], AT_ONCE_S)


async def test_who_takes_a_job_wakes_another_while_there_are_more(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    for _ in range(2):
        await api.create(new_job(), None)
    assert worker.await_work(["cpu"], AT_ONCE_S)
    assert worker.claim_next("a", ["cpu"], 60.0) is not None
    assert worker.await_work(["cpu"], AT_ONCE_S)
    assert worker.claim_next("b", ["cpu"], 60.0) is not None
    assert not worker.await_work(["cpu"], AT_ONCE_S)


async def test_a_job_that_is_queued_again_wakes_as_a_new_one_does(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    await api.create(new_job(), None)
    assert worker.await_work(["cpu"], AT_ONCE_S)
    claim = worker.claim_next("a", ["cpu"], 60.0)
    assert claim is not None
    worker.hand_over(claim)
    assert worker.await_work(["cpu"], AT_ONCE_S)


async def test_a_job_for_a_gpu_wakes_no_worker_without_one(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    await api.create(new_job(device="cuda"), None)
    assert not worker.await_work(["cpu"], AT_ONCE_S)
    assert worker.await_work(["cuda:0", "cpu"], AT_ONCE_S)


async def test_what_a_worker_held_that_was_seen_to_die_is_queued_at_once_and_nothing_else(
    api: AsyncRedisStore,
    worker: RedisStore,
    raw: redis.Redis,
    namespace: str,
    new_job: NewJobs,
) -> None:
    def claimed(name: str) -> Claim:
        claim = worker.claim_next(name, ["cpu"], 60.0)
        assert isinstance(claim, Claim)
        return claim

    for _ in range(3):
        await api.create(new_job(), None)
    dead, cancelled, other = claimed("dead"), claimed("dead"), claimed("other")
    await api.request_cancel(cancelled.job.id)
    study_id = await planned(api, worker, [0])
    task = take(worker, "dead")
    while worker.await_work(["cpu"], AT_ONCE_S):
        pass

    for name in ("unknown", "dead", "dead"):  # told twice is once
        raw.rpush(Settings(namespace=namespace).lost_workers_key, name)
    while worker.await_work(["cpu"], AT_ONCE_S):
        pass

    assert await api.version(other.job.id) == other.job.version
    assert worker.renew(other, 60.0) == "running"
    for stale in (dead, cancelled, task):
        with pytest.raises(StaleAttemptError):
            worker.renew(stale, 60.0)
    job = await api.get(dead.job.id)
    assert (job.status, [each.end for each in job.attempts]) == ("queued", ["lost"])
    assert (await api.get(cancelled.job.id)).status == "cancelled"
    (run,) = await api.studies.runs(study_id)
    assert run.status == "queued"
    assert claimed("new").job.id == dead.job.id
    assert take(worker, "new").attempt == 2


async def test_a_dead_workers_diagnosis_is_claimed_by_another_at_once(
    api: AsyncRedisStore,
    worker: RedisStore,
    raw: redis.Redis,
    namespace: str,
    bring_to: Callable[..., Any],
) -> None:
    job_id = (await bring_to("succeeded"))[0]
    await api.request_diagnosis(job_id, "final")
    assert worker.diagnoses.claim("dead", ["cpu"], 60.0) is not None
    raw.rpush(Settings(namespace=namespace).lost_workers_key, "other")
    while worker.await_work(["cpu"], AT_ONCE_S):
        pass
    assert worker.diagnoses.claim("new", ["cpu"], 60.0) is None
    raw.rpush(Settings(namespace=namespace).lost_workers_key, "dead")
    assert worker.await_work(["cpu"], AT_ONCE_S)
    assert worker.diagnoses.claim("new", ["cpu"], 60.0) is not None


async def test_a_worker_that_was_seen_to_die_is_on_the_list_no_more(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    for name in ("dead", "other"):
        info = WorkerInfo(name, ("cpu",), ("cpu", "auto"), None, "2026-11-29T00:00:00Z", "2026", 1)
        worker.report_worker(info, 60.0)
    raw.rpush(Settings(namespace=namespace).lost_workers_key, "dead")
    assert worker.await_work(["cpu"], AT_ONCE_S)
    assert [each.name for each in await api.workers()] == ["other"]
