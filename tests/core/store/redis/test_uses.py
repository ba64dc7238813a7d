"""Uses of weights: durable, leased, given back by the reaper, gone with their job or their age."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from core.errors import ConflictError, LimitReachedError, NotFoundError, StaleAttemptError
from core.ids import id_from, is_id, new_id, rfc3339, utc_now
from core.keys import KeyRecord
from core.store.protocols.types import Idempotency, QueueFullError, UseClaim
from core.store.redis import AsyncRedisStore, RedisStore
from core.store.redis.keys import RedisKeys
from core.uses.record import UseRecord
from tests.core.store.uses import new_use

pytestmark = pytest.mark.anyio
BringTo = Callable[..., Any]


@pytest.fixture
async def job_id(bring_to: BringTo) -> str:
    found: str = (await bring_to("succeeded"))[0]
    return found


async def add(api: AsyncRedisStore, of: str, **changes: Any) -> UseRecord:
    return (await api.uses.add(new_use(of, **changes), None))[0]


def claim(worker: RedisStore, name: str = "w", lease_s: float = 60.0) -> UseClaim:
    claimed = worker.uses.claim(name, ["cpu"], lease_s)
    assert claimed is not None
    return claimed


async def test_what_was_asked_for_is_claimed_once_and_its_result_kept(
    api: AsyncRedisStore, worker: RedisStore, job_id: str
) -> None:
    assert not worker.requests_wait()
    made = await add(api, job_id)
    assert await api.uses.get(made.id) == made
    assert worker.num_queued() == 1
    assert worker.requests_wait()
    held = claim(worker)
    assert not worker.requests_wait()
    assert held.use.status == "running"
    assert held.use.started_at is not None
    assert worker.uses.claim("w", ["cpu"], 60.0) is None
    worker.uses.renew(held, 60.0)
    worker.uses.finish(held, {"loss": float("nan")}, 50)
    found = await api.uses.get(made.id)
    assert found.status == "succeeded"
    assert found.result is not None
    assert str(found.result["loss"]) == "nan"
    assert found.size_bytes == 150
    assert found.terminal
    assert found.expires_at is not None
    with pytest.raises(StaleAttemptError):
        worker.uses.fail(held, {"code": "internal_error"})


async def test_what_is_handed_over_or_lost_is_done_by_another_and_given_up_after_three(
    api: AsyncRedisStore, worker: RedisStore, job_id: str, raw: redis.Redis, namespace: str
) -> None:
    made = await add(api, job_id)
    first = claim(worker)
    worker.uses.hand_over(first)
    for attempt in range(3):
        held = claim(worker, f"w{attempt}")
        if attempt == 1:  # somebody saw it die
            raw.lpush(f"{namespace}:lost_workers", f"w{attempt}")
            worker.await_work(["cpu"], 0.1)
        else:
            raw.zadd(f"{namespace}:use:leases", {made.id: 1}, xx=True)
            worker.reap()
        with pytest.raises(StaleAttemptError):
            worker.uses.renew(held, 60.0)
    found = await api.uses.get(made.id)
    assert (found.status, (found.error or {})["code"]) == ("failed", "worker_lost")
    assert worker.num_queued() == 0


async def test_a_deleted_job_takes_its_uses_along(
    api: AsyncRedisStore, worker: RedisStore, job_id: str, raw: redis.Redis, namespace: str
) -> None:
    waiting, at_work = await add(api, job_id), await add(api, job_id)
    raw.zadd(f"{namespace}:uses", {at_work.id: 1})
    held = claim(worker)
    assert held.use.id == at_work.id
    await api.delete(job_id)
    for each in (waiting, at_work):
        assert await api.uses.find(each.id) is None
        assert not worker.uses.is_there(each.id)
    with pytest.raises(StaleAttemptError):
        worker.uses.finish(held, {}, 0)
    assert {job_id, waiting.id, at_work.id} <= set(worker.trashed(10))
    for name in worker.trashed(10):
        worker.free(name)
    left = [key for key in raw.scan_iter(f"{namespace}:*use*") if raw.exists(key)]
    assert left == []
    with pytest.raises(NotFoundError, match=job_id):
        await add(api, job_id)


async def test_one_past_its_age_goes_and_one_at_work_stays(
    api: AsyncRedisStore, worker: RedisStore, job_id: str, raw: redis.Redis, namespace: str
) -> None:
    old, kept = await add(api, job_id), await add(api, job_id, age_ms=0)
    for each in (claim(worker), claim(worker)):
        worker.uses.finish(each, {}, 0)
    assert worker.uses.expire(10) == []
    raw.zadd(f"{namespace}:use:expiries", {old.id: 1}, xx=True)
    assert worker.uses.expire(10) == [old.id]
    assert await api.uses.find(old.id) is None
    assert (await api.uses.get(kept.id)).expires_at is None


async def test_the_same_key_makes_one_and_the_same_id_is_one(
    api: AsyncRedisStore, job_id: str
) -> None:
    key = Idempotency("k", "body", 60)
    made, known = await api.uses.add(new_use(job_id), key)
    again, replayed = await api.uses.add(new_use(job_id), key)
    assert (known, replayed, again.id) == (False, True, made.id)
    with pytest.raises(ConflictError) as refused:
        await api.uses.add(new_use(job_id), Idempotency("k", "another", 60))
    assert refused.value.conflict_code == "idempotency_key_reused"
    name = id_from("export", job_id, "final")
    assert is_id(name, "export")
    assert name == id_from("export", job_id, "final") != id_from("export", job_id, "best")
    for expected in (False, True):
        assert (await api.uses.add(new_use(job_id, id=name, kind="onnx"), None))[1] is expected
    await api.uses.drop(name)
    await api.uses.drop(name)
    assert await api.uses.find(name) is None


async def test_no_more_wait_than_may_and_a_keys_bytes_are_counted(
    redis_url: str, namespace: str, api: AsyncRedisStore, job_id: str
) -> None:
    few = AsyncRedisStore(redis_url, namespace, max_queued=1)
    try:
        await add(few, job_id)
        with pytest.raises(QueueFullError):
            await add(few, job_id)
    finally:
        await few.aclose()
    keys = RedisKeys(redis_url, namespace)
    key = KeyRecord(
        id=new_id("key"), owner="ann", name="ann", scopes=("read", "write"),
        created_at=rfc3339(utc_now()), stored_bytes=150,
    )  # fmt: skip
    keys.create(key)
    keys.disconnect()
    mine = await add(api, job_id, owner="ann", key_id=key.id)
    with pytest.raises(LimitReachedError):
        await add(api, job_id, owner="ann", key_id=key.id)
    await api.uses.drop(mine.id)
    await add(api, job_id, owner="ann", key_id=key.id)
