"""Jobs that are deleted or past their retention: out of sight at once, freed to the last key."""

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
import redis

from core.errors import ChangedError, ConflictError, NotFoundError
from core.jobs import STATUSES, TERMINAL, Status
from core.store.history.layout import HistoryLayout
from core.store.protocols.types import Claim, JobFilter, NewJob
from core.store.redis import AsyncRedisStore, RedisStore
from tests.core.store.study_makers import keys_left

pytestmark = pytest.mark.anyio
Bring = Callable[[Status], Awaitable[tuple[str, Claim | None]]]
NewJobs = Callable[..., NewJob]


async def long_job(api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs) -> str:
    """Ended, with 20,000 rows in several chunks and two labels."""
    layout = HistoryLayout(1, {"loss": 1, "x": 3}, None)
    new = new_job(layouts={"train": layout}, labels={"team": "ü: =", "b": ""})
    await api.create(new, None)
    held = worker.claim_next("w", ["cpu"], 60)
    assert isinstance(held, Claim)
    steps = np.arange(20_000, dtype=np.float64)
    rows: Any = [("train", 0, {"step": steps, "loss": steps, "x": np.zeros((20_000, 3))})]
    worker.close(held, "succeeded", "finished", outcome="stalled", fields={}, rows=rows)
    return new.id


async def ended(
    bring_to: Bring, raw: redis.Redis, namespace: str, ages_s: list[float]
) -> list[str]:
    """Terminal jobs of these ages, of every terminal status in turn."""
    statuses = sorted(TERMINAL)
    ids = []
    for number, age_s in enumerate(ages_s):
        job_id, _ = await bring_to(statuses[number % len(statuses)])
        raw.zincrby(f"{namespace}:finished", -1000 * age_s, job_id)
        ids.append(job_id)
    return ids


async def visible(api: AsyncRedisStore) -> set[str]:
    return {job.id for job in (await api.list(JobFilter(), 200, None)).jobs}


@pytest.mark.parametrize("status", STATUSES)
async def test_only_a_terminal_job_is_deleted(
    status: Status, bring_to: Bring, api: AsyncRedisStore
) -> None:
    job_id, _ = await bring_to(status)
    if status in TERMINAL:
        await api.delete(job_id)
        assert await visible(api) == set()
    else:
        with pytest.raises(ConflictError, match=status) as refused:
            await api.delete(job_id)
        assert refused.value.conflict_code == "not_terminal"
        assert (await api.get(job_id)).status == status


async def test_a_job_is_deleted_in_the_version_that_was_read(
    bring_to: Bring, api: AsyncRedisStore
) -> None:
    job_id, _ = await bring_to("succeeded")
    version = await api.version(job_id)
    for other in (version - 1, version + 1):
        with pytest.raises(ChangedError):
            await api.delete(job_id, other)
    assert await visible(api) == {job_id}
    await api.delete(job_id, version)
    assert await visible(api) == set()


async def test_a_deleted_job_is_gone_for_readers_and_freed_to_the_last_key(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, new_job: NewJobs
) -> None:
    job_id = await long_job(api, worker, new_job)
    assert len(list(raw.scan_iter(f"{namespace}:rows:*"))) == 3 + 8  # 8,190 numbers a chunk

    await api.delete(job_id)

    with pytest.raises(NotFoundError):
        await api.get(job_id)
    await api.delete(job_id)  # until it is freed, it may be asked for again
    await api.free(job_id)
    assert keys_left(raw, namespace) == []
    await api.free(job_id)
    assert keys_left(raw, namespace) == []
    with pytest.raises(NotFoundError):
        await api.delete(job_id)


async def test_a_delete_that_was_cut_off_is_finished_by_a_worker(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, new_job: NewJobs
) -> None:
    job_id = await long_job(api, worker, new_job)
    await api.delete(job_id)  # and no more
    assert worker.reap() == []

    assert worker.trashed(10) == [job_id]
    worker.free(job_id)

    assert worker.trashed(10) == []
    assert keys_left(raw, namespace) == []


async def test_a_free_that_was_cut_off_can_be_repeated(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, new_job: NewJobs
) -> None:
    job_id = await long_job(api, worker, new_job)
    await api.delete(job_id)
    raw.delete(f"{namespace}:rows:{job_id}:train:loss:0", f"{namespace}:rows:{job_id}:train:x:3")
    worker.free(job_id)
    assert keys_left(raw, namespace) == []


async def test_jobs_past_the_age_expire_and_later_ones_stay(
    bring_to: Bring, api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    ids = await ended(bring_to, raw, namespace, [300.0, 50.0, 200.0, 0.0, 101.0])
    assert worker.expire(100.0, None, 10) == [ids[0], ids[2], ids[4]]
    assert await visible(api) == {ids[1], ids[3]}
    assert set(worker.trashed(10)) == {ids[0], ids[2], ids[4]}
    assert worker.expire(100.0, None, 10) == []


@pytest.mark.parametrize(("keep", "gone"), [(0, 5), (2, 3), (4, 1), (5, 0), (6, 0)])
async def test_of_the_jobs_that_ended_the_last_are_kept(
    keep: int, gone: int, bring_to: Bring, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    ids = await ended(bring_to, raw, namespace, [10.0, 50.0, 20.0, 40.0, 30.0])
    oldest_first = [ids[1], ids[3], ids[4], ids[2], ids[0]]
    assert worker.expire(None, keep, 10) == oldest_first[:gone]


@pytest.mark.parametrize(("age_s", "keep", "gone"), [(25.0, 4, 3), (45.0, 2, 3), (99.0, 9, 0)])
async def test_the_stricter_of_two_rules_counts(
    age_s: float,
    keep: int,
    gone: int,
    bring_to: Bring,
    worker: RedisStore,
    raw: redis.Redis,
    namespace: str,
) -> None:
    ids = await ended(bring_to, raw, namespace, [50.0, 40.0, 30.0, 20.0, 10.0])
    assert worker.expire(age_s, keep, 10) == ids[:gone]


async def test_one_call_takes_no_more_than_it_may(
    bring_to: Bring, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    ids = await ended(bring_to, raw, namespace, [50.0, 40.0, 30.0, 20.0, 10.0])
    assert worker.expire(5.0, None, 2) == ids[:2]
    assert worker.expire(None, 0, 2) == ids[2:4]
    assert worker.expire(5.0, 0, 2) == ids[4:]


@pytest.mark.parametrize("status", sorted(set(STATUSES) - TERMINAL))
async def test_a_job_that_has_not_ended_never_expires(
    status: Status, bring_to: Bring, api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis,
    namespace: str,
) -> None:  # fmt: skip
    job_id, _ = await bring_to(status)
    assert worker.expire(1e-3, 0, 10) == []
    raw.zadd(f"{namespace}:finished", {job_id: 1})  # not even when the index is wrong
    assert worker.expire(1e-3, 0, 10) == []
    assert (await api.get(job_id)).status == status
    assert raw.zcard(f"{namespace}:finished") == 0


async def test_no_rule_expires_nothing(bring_to: Bring, worker: RedisStore) -> None:
    await bring_to("succeeded")
    assert worker.expire(None, None, 10) == []
