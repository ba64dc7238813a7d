"""A job is written whole, once, and in one round trip."""

import asyncio
from collections.abc import Callable

import pytest
import redis

from core.errors import ConflictError, StoreUnavailableError
from core.store.protocols.types import Idempotency, JobFilter, NewJob, QueueFullError
from core.store.redis import AsyncRedisStore, RedisStore

pytestmark = pytest.mark.anyio
NewJobs = Callable[..., NewJob]


async def test_a_created_job_reads_back_as_it_was_answered(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    new = new_job(
        labels={"team": "vision", "naïve": "ü=1:2"},
        parent_id="job_parent",
        resolved={"optimizer.lr": {"value": 0.02}},
    )

    created = await api.create(new, None)

    assert not created.replayed
    assert created.queue_position == 0
    assert created.job == await api.get(new.id) == worker.get(new.id)
    assert (created.job.status, created.job.version) == ("queued", 1)
    assert created.job.spec == new.spec
    assert created.job.labels == new.labels
    assert await api.status(new.id) == "queued"


async def test_creating_a_job_is_one_call_to_the_server(
    api: AsyncRedisStore, raw: redis.Redis, new_job: NewJobs
) -> None:
    await api.create(new_job(), None)  # connects, and loads the scripts
    raw.config_resetstat()

    await api.create(new_job(labels={"a": "b"}), Idempotency("key", "body", 60))

    stats = raw.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 1
    from_scripts = {
        "hset",
        "zadd",
        "zcard",
        "hmget",
        "hget",
        "publish",
        "expire",
        "hincrby",
        "exists",
        "rpush",
    }
    assert {name.removeprefix("cmdstat_") for name in stats} <= {
        *from_scripts, "evalsha", "config|resetstat", "info", "zlexcount"
    }  # fmt: skip


async def test_the_queue_takes_no_more_than_it_may(
    redis_url: str, namespace: str, new_job: NewJobs
) -> None:
    api = AsyncRedisStore(redis_url, namespace, max_queued=2)
    first = new_job()
    await api.create(first, None)
    await api.create(new_job(), None)
    refused = new_job()

    with pytest.raises(QueueFullError) as full:
        await api.create(refused, None)

    assert isinstance(full.value, StoreUnavailableError)
    await api.request_cancel(first.id)
    assert (await api.create(refused, None)).job.status == "queued"
    await api.aclose()


async def test_the_same_key_and_body_give_the_same_job_as_it_is_now(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    key = Idempotency("k" * 5000, "body", 60)
    first = await api.create(new_job(), key)
    worker.claim_next("w", ["cpu"], 60)

    again = await api.create(new_job(), key)

    assert again.replayed
    assert again.job == await api.get(first.job.id)
    assert (again.job.status, again.queue_position) == ("running", None)
    assert len((await api.list(JobFilter(), 10, None)).jobs) == 1


async def test_the_same_key_with_another_body_is_a_conflict(
    api: AsyncRedisStore, new_job: NewJobs
) -> None:
    await api.create(new_job(), Idempotency("key", "body", 60))
    with pytest.raises(ConflictError) as conflict:
        await api.create(new_job(), Idempotency("key", "other", 60))
    assert conflict.value.conflict_code == "idempotency_key_reused"


async def test_a_key_whose_job_was_deleted_says_so(api: AsyncRedisStore, new_job: NewJobs) -> None:
    key = Idempotency("key", "body", 60)
    job = (await api.create(new_job(), key)).job
    await api.request_cancel(job.id)
    await api.delete(job.id)

    with pytest.raises(ConflictError, match=job.id) as conflict:
        await api.create(new_job(), key)
    assert conflict.value.conflict_code == "idempotent_job_deleted"


async def test_of_concurrent_duplicates_one_makes_the_job(
    api: AsyncRedisStore, new_job: NewJobs
) -> None:
    key = Idempotency("key", "body", 60)

    answers = await asyncio.gather(*(api.create(new_job(), key) for _ in range(20)))

    assert sorted(answer.replayed for answer in answers) == [False] + 19 * [True]
    assert len({answer.job.id for answer in answers}) == 1
    assert len((await api.list(JobFilter(), 100, None)).jobs) == 1


async def test_a_key_is_forgotten_after_its_time(
    api: AsyncRedisStore, raw: redis.Redis, namespace: str, new_job: NewJobs
) -> None:
    await api.create(new_job(), Idempotency("key", "body", 1234))
    (memory,) = raw.scan_iter(f"{namespace}:idempotency:*")
    assert 1230 <= int(raw.ttl(memory)) <= 1234

    raw.delete(memory)  # as the server does when the time is up
    assert not (await api.create(new_job(), Idempotency("key", "other", 60))).replayed


async def test_jobs_that_come_at_once_share_round_trips_and_each_gets_its_own_answer(
    api: AsyncRedisStore, new_job: NewJobs
) -> None:
    jobs = [new_job() for _ in range(40)]
    keys = [Idempotency("same", "body", 60) if i % 10 == 0 else None for i in range(40)]
    gone = asyncio.ensure_future(api.create(new_job(), None))
    answers = asyncio.gather(*(api.create(job, key) for job, key in zip(jobs, keys, strict=True)))
    gone.cancel()  # one that goes away takes nobody with it
    created = await answers
    for index, (job, answer) in enumerate(zip(jobs, created, strict=True)):
        expected = jobs[0] if index % 10 == 0 else job
        assert answer.job.id == expected.id
        assert answer.replayed == (index % 10 == 0 and index > 0)
