"""Who idles learns at once that a job is queued, and no more workers than there are jobs for."""

import threading
from collections.abc import Callable

import pytest

from core.store.protocols.types import NewJob
from core.store.redis import AsyncRedisStore, RedisStore

pytestmark = pytest.mark.anyio
NewJobs = Callable[..., NewJob]

AT_ONCE_S = 0.01
"""Long enough for a word that is there."""
PATIENCE_S = 2.0


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
