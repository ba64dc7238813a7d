"""A job is written whole, once, and in one round trip."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis

from core.errors import ConflictError, StoreUnavailableError
from core.store.protocols.types import Idempotency, JobFilter, NewJob, QueueFullError, QueuePlace
from core.store.redis import AsyncRedisStore, RedisStore
from tests.core.store.conftest import Twin

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
    assert created.place == QueuePlace(0)
    assert created.job == await api.get(new.id) == worker.get(new.id)
    assert (created.job.status, created.job.version) == ("queued", 1)
    assert created.job.spec == new.spec
    assert created.job.labels == new.labels
    assert await api.status(new.id) == "queued"


async def test_creating_a_job_is_one_call_to_the_server(twin: Twin, raw: redis.Redis) -> None:
    await twin.records.create(twin.make(), None)  # connects, and loads the scripts
    raw.config_resetstat()

    made = await twin.records.create(twin.make(labels={"a": "b"}), Idempotency("key", "body", 60))

    assert made.place == QueuePlace(1)
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
        "incr",
        "exists",
        "rpush",
        "sadd",
        "xadd",
    }
    assert {name.removeprefix("cmdstat_") for name in stats} <= {
        *from_scripts, "evalsha", "config|resetstat", "info", "zlexcount", "zcount", "time"
    }  # fmt: skip


async def test_the_queue_takes_no_more_than_it_may(
    redis_url: str, namespace: str, twin: Twin
) -> None:
    api = AsyncRedisStore(redis_url, namespace, max_queued=2)
    records: Any = api if twin.noun == "job" else api.studies
    first = twin.make()
    await records.create(first, None)
    await records.create(twin.make(), None)
    refused = twin.make()

    with pytest.raises(QueueFullError) as full:
        await records.create(refused, None)

    assert isinstance(full.value, StoreUnavailableError)
    await records.request_cancel(first.id)
    assert twin.record(await records.create(refused, None)).status == "queued"
    await api.aclose()


async def test_the_same_key_and_body_give_the_same_job_as_it_is_now(
    twin: Twin, worker: RedisStore
) -> None:
    key = Idempotency("k" * 5000, "body", 60)
    first = twin.record(await twin.records.create(twin.make(), key))
    worker.claim_next("w", ["cpu"], 60)

    again = await twin.records.create(twin.make(), key)

    assert again.replayed
    assert twin.record(again) == await twin.records.get(first.id)
    # The first plan of a study is what stands in the queue.
    assert (twin.record(again).status, again.place) == ("running", None)
    assert len(twin.listed(await twin.records.list(JobFilter(), 10, None))) == 1


async def test_the_same_key_with_another_body_is_a_conflict(twin: Twin) -> None:
    await twin.records.create(twin.make(), Idempotency("key", "body", 60))
    with pytest.raises(ConflictError) as conflict:
        await twin.records.create(twin.make(), Idempotency("key", "other", 60))
    assert conflict.value.conflict_code == "idempotency_key_reused"


async def test_a_key_whose_job_was_deleted_says_so(twin: Twin) -> None:
    key = Idempotency("key", "body", 60)
    record = twin.record(await twin.records.create(twin.make(), key))
    await twin.records.request_cancel(record.id)
    await twin.records.delete(record.id)

    with pytest.raises(ConflictError, match=record.id) as conflict:
        await twin.records.create(twin.make(), key)
    assert conflict.value.conflict_code == f"idempotent_{twin.noun}_deleted"


async def test_of_concurrent_duplicates_one_makes_the_job(twin: Twin) -> None:
    key = Idempotency("key", "body", 60)

    answers = await asyncio.gather(*(twin.records.create(twin.make(), key) for _ in range(20)))

    assert sorted(answer.replayed for answer in answers) == [False] + 19 * [True]
    assert len({twin.record(answer).id for answer in answers}) == 1
    assert len(twin.listed(await twin.records.list(JobFilter(), 100, None))) == 1


async def test_a_key_is_forgotten_after_its_time(
    twin: Twin, raw: redis.Redis, namespace: str
) -> None:
    await twin.records.create(twin.make(), Idempotency("key", "body", 1234))
    (memory,) = raw.scan_iter(f"{namespace}:idempotency:*")
    assert 1230 <= int(raw.ttl(memory)) <= 1234

    raw.delete(memory)  # as the server does when the time is up
    again = await twin.records.create(twin.make(), Idempotency("key", "other", 60))
    assert not again.replayed


async def test_jobs_that_come_at_once_share_round_trips_and_each_gets_its_own_answer(
    twin: Twin, raw: redis.Redis
) -> None:
    await twin.records.create(twin.make(), None)  # connects
    connections = raw.info("clients")["connected_clients"]
    jobs = [twin.make() for _ in range(40)]
    keys = [Idempotency("same", "body", 60) if i % 10 == 0 else None for i in range(40)]
    gone = asyncio.ensure_future(twin.records.create(twin.make(), None))
    answers = asyncio.gather(
        *(twin.records.create(job, key) for job, key in zip(jobs, keys, strict=True))
    )
    gone.cancel()  # one that goes away takes nobody with it
    created = await answers
    assert raw.info("clients")["connected_clients"] <= connections
    for index, (job, answer) in enumerate(zip(jobs, created, strict=True)):
        expected = jobs[0] if index % 10 == 0 else job
        assert twin.record(answer).id == expected.id
        assert answer.replayed == (index % 10 == 0 and index > 0)
