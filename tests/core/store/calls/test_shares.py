"""Whose work is next: priority first, then the owner with the least time; and limits of keys."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import LimitReachedError
from core.ids import rfc3339, utc_now
from core.keys import KeyRecord, new_key_id
from core.store.calls.create import limit_reached
from core.store.protocols.types import Claim, NewJob, QueuePlace, TaskClaim
from core.store.redis import AsyncRedisStore, RedisStore
from core.store.redis.keys import RedisKeys
from tests.core.store.places import positions
from tests.core.store.study_makers import new_study

pytestmark = pytest.mark.anyio
NewJobs = Callable[..., NewJob]
HOUR_MS = 3_600_000
SLOT_MS = 300_000


@pytest.fixture
def keys(redis_url: str, namespace: str) -> Iterator[RedisKeys]:
    made = RedisKeys(redis_url, namespace)
    yield made
    made.disconnect()


def key_of(keys: RedisKeys, owner: str, **limits: Any) -> dict[str, str]:
    """The fields that work of a new key has."""
    record = KeyRecord(new_key_id(), owner, ("write",), rfc3339(utc_now()), **limits)
    keys.create(record)
    return {"owner": owner, "key_id": record.id}


def claim(worker: RedisStore) -> Claim | None:
    found = worker.claim_next("w", ("cpu",), 60.0)
    assert not isinstance(found, TaskClaim)
    return found


def close(worker: RedisStore, claimed: Claim | None) -> None:
    assert claimed is not None
    worker.close(claimed, "succeeded", "finished", outcome="converged", fields={})


def has_used(raw: redis.Redis, namespace: str, owner: str, ms: int, ago_ms: int = 0) -> None:
    """Let work of the owner have held a device so long, so long ago."""
    seconds, micros = raw.time()
    slot = (1000 * seconds + micros // 1000 - ago_ms) // SLOT_MS
    raw.hincrby(f"{namespace}:share:{slot}", owner, ms)


async def test_a_thousand_jobs_of_one_owner_do_not_keep_anothers_waiting(
    api: AsyncRedisStore, worker: RedisStore, keys: RedisKeys, new_job: NewJobs
) -> None:
    many, one = key_of(keys, "many"), key_of(keys, "one")
    for _ in range(1_000):
        await api.create(new_job(**many), None)
    late = await api.create(new_job(**one), None)
    assert late.place == QueuePlace(0)
    first, second = claim(worker), claim(worker)  # the second with the first still at work
    assert first is not None
    assert second is not None
    assert first.job.owner == "many"
    assert second.job.id == late.job.id


async def test_work_that_has_just_ended_counts_too(
    api: AsyncRedisStore, worker: RedisStore, keys: RedisKeys, new_job: NewJobs
) -> None:
    many, one = key_of(keys, "many"), key_of(keys, "one")
    for _ in range(3):
        await api.create(new_job(**many), None)
    close(worker, claim(worker))
    late = await api.create(new_job(**one), None)
    second = claim(worker)
    assert second is not None
    assert second.job.id == late.job.id


async def test_priority_is_first(
    api: AsyncRedisStore,
    worker: RedisStore,
    keys: RedisKeys,
    new_job: NewJobs,
    raw: redis.Redis,
    namespace: str,
) -> None:
    many, one = key_of(keys, "many"), key_of(keys, "one")
    has_used(raw, namespace, "many", 50_000)
    await api.create(new_job(**one), None)
    urgent = await api.create(new_job(**many, priority=6), None)
    first = claim(worker)
    assert first is not None
    assert first.job.id == urgent.job.id


async def test_the_last_hour_counts_and_no_more(
    api: AsyncRedisStore,
    worker: RedisStore,
    keys: RedisKeys,
    new_job: NewJobs,
    raw: redis.Redis,
    namespace: str,
) -> None:
    old, new = key_of(keys, "old"), key_of(keys, "new")
    has_used(raw, namespace, "old", 10 * HOUR_MS, ago_ms=HOUR_MS + SLOT_MS)
    has_used(raw, namespace, "new", 1_000)
    await api.create(new_job(**new), None)
    await api.create(new_job(**old), None)
    first = claim(worker)
    assert first is not None
    assert first.job.owner == "old"


async def test_keys_of_one_owner_share_its_time(
    api: AsyncRedisStore, worker: RedisStore, keys: RedisKeys, new_job: NewJobs
) -> None:
    a1, a2, b = key_of(keys, "a"), key_of(keys, "a"), key_of(keys, "b")
    for own in (a1, a2, a2, b, b):
        await api.create(new_job(**own), None)
    owners = []
    for _ in range(4):
        claimed = claim(worker)
        assert claimed is not None
        owners.append(str(claimed.job.owner))
    assert owners[:2] == ["a", "b"]
    assert sorted(owners) == ["a", "a", "b", "b"]


async def test_work_from_before_keys_is_taken_by_its_age(
    api: AsyncRedisStore, worker: RedisStore, keys: RedisKeys, new_job: NewJobs
) -> None:
    before = [(await api.create(new_job(), None)).job.id for _ in range(3)]
    own = key_of(keys, "a")
    after = [(await api.create(new_job(**own), None)).job.id for _ in range(3)]
    taken = []
    while (claimed := claim(worker)) is not None:
        taken.append(claimed.job.id)
    assert sorted(taken) == sorted(before + after)
    assert [each for each in taken if each in before] == before
    assert [each for each in taken if each in after] == after
    assert after[0] in taken[:2]


async def test_tasks_of_studies_are_their_owners(
    api: AsyncRedisStore, worker: RedisStore, keys: RedisKeys, new_job: NewJobs
) -> None:
    many, one = key_of(keys, "many"), key_of(keys, "one")
    for _ in range(5):
        await api.create(new_job(**many), None)
    study = await api.studies.create(new_study(**one), None)
    found = [worker.claim_next("w", ("cpu",), 60.0) for _ in range(2)]
    assert isinstance(found[1], TaskClaim)
    assert found[1].study.id == study.study.id
    assert found[1].study.owner == "one"


WORK = st.tuples(
    st.integers(0, 3),
    st.integers(4, 6),
    st.sampled_from(["auto", "cpu"]),
    st.sampled_from(["stays", "stays", "cancelled", "paused", "resumed"]),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(slots=st.lists(st.integers(0, 5), min_size=3, max_size=3), work=st.lists(WORK, max_size=12))
async def test_whatever_waits_the_rule_says_who_is_next(
    redis_url: str,
    namespace: str,
    new_job: NewJobs,
    slots: list[int],
    work: list[tuple[int, int, str, str]],
) -> None:
    """Against the rule itself: any number of owners, keys, priorities, devices and times, some of
    the work paused or cancelled, in any order."""
    space = f"{namespace}-{new_key_id()}"
    api, worker = AsyncRedisStore(redis_url, space), RedisStore(redis_url, space)
    keys = RedisKeys(redis_url, space)
    own = [key_of(keys, owner) for owner in ("a", "a", "b", "c")]
    used = {owner: number * 100_000 for owner, number in zip("abc", slots, strict=True)}
    for owner, ms in used.items():
        has_used(worker._link.client, space, owner, ms)
    waiting: dict[str, tuple[int, str]] = {}
    for key, priority, device, fate in work:
        job = (await api.create(new_job(**own[key], priority=priority, device=device), None)).job
        if fate == "cancelled":
            await api.request_cancel(job.id)
            continue
        if fate in {"paused", "resumed"}:
            await api.request_pause(job.id)
        if fate == "resumed":
            await api.request_resume(job.id)
        if fate != "paused":
            waiting[job.id] = (priority, own[key]["owner"])
    while True:
        claimed = claim(worker)
        if claimed is None:
            break
        priority, owner = waiting.pop(claimed.job.id)
        top = [who for level, who in [*waiting.values(), (priority, owner)] if level == priority]
        assert all(level <= priority for level, _ in waiting.values())
        least = min(used[who] for who in top)
        assert used[owner] - least < 50_000, (owner, used, top)
    assert waiting == {}
    left = list(worker._link.client.scan_iter(f"{space}:queue:*"))
    assert left == []
    worker._link.client.unlink(*worker._link.client.scan_iter(f"{space}:*"))
    for each in (worker, keys):
        each.disconnect()
    await api.aclose()


async def test_a_key_has_no_more_at_work_than_its_limit(
    api: AsyncRedisStore, worker: RedisStore, keys: RedisKeys, new_job: NewJobs
) -> None:
    narrow, wide = key_of(keys, "a", running=1), key_of(keys, "b")
    mine = [(await api.create(new_job(**narrow), None)).job.id for _ in range(3)]
    first = claim(worker)
    assert first is not None
    assert first.job.id == mine[0]
    assert await api.queue_places(mine) == [None, QueuePlace(0, True), QueuePlace(1, True)]
    assert claim(worker) is None
    made = await api.create(new_job(**narrow, priority=9), None)
    assert made.place is not None
    assert made.place.is_limited
    other = await api.create(new_job(**wide, priority=0), None)
    second = claim(worker)
    assert second is not None
    assert second.job.id == other.job.id
    close(worker, first)
    third = claim(worker)
    assert third is not None
    assert third.job.id == made.job.id


async def test_a_key_has_no_more_waiting_than_its_limit(
    api: AsyncRedisStore, worker: RedisStore, keys: RedisKeys, new_job: NewJobs
) -> None:
    own = key_of(keys, "a", queued=2)
    first = await api.create(new_job(**own), None)
    study = await api.studies.create(new_study(**own), None)
    for more in (
        lambda: api.create(new_job(**own), None),
        lambda: api.studies.create(new_study(**own), None),
    ):
        with pytest.raises(LimitReachedError, match="queued: 2 jobs and studies") as caught:
            await more()
        assert caught.value.retry_after_s >= 1
    await api.request_cancel(first.job.id)
    await api.create(new_job(**own), None)
    with pytest.raises(LimitReachedError):
        await api.create(new_job(**own), None)
    await api.studies.request_pause(study.study.id)
    again = await api.create(new_job(**own), None)
    assert claim(worker) is not None
    await api.create(new_job(**own), None)
    assert await positions(api, [again.job.id]) == [0]
    await api.create(new_job(**key_of(keys, "a")), None)  # another key has limits of its own


async def test_a_key_keeps_no_more_than_its_limit(
    api: AsyncRedisStore, worker: RedisStore, keys: RedisKeys, new_job: NewJobs
) -> None:
    from core.jobs import Usage

    own = key_of(keys, "a", stored_bytes=1_000)
    job = (await api.create(new_job(**own), None)).job
    claimed = claim(worker)
    assert claimed is not None
    worker.close(claimed, "succeeded", "finished", outcome="converged",
                 fields={"usage": Usage(stored_bytes=1_000)})  # fmt: skip
    with pytest.raises(
        LimitReachedError, match="stored_bytes: it keeps 1,000 bytes and may keep 1,000"
    ):
        await api.create(new_job(**own), None)
    await api.delete(job.id)
    await api.create(new_job(**own), None)


async def test_a_key_has_devices_for_no_longer_than_its_limit_a_day(
    api: AsyncRedisStore,
    worker: RedisStore,
    keys: RedisKeys,
    new_job: NewJobs,
    raw: redis.Redis,
    namespace: str,
) -> None:
    own = key_of(keys, "a", device_s_per_day=60.0)
    waiting = (await api.create(new_job(**own), None)).job
    seconds, _ = raw.time()
    raw.hset(f"{namespace}:spent:{seconds // 86_400}", own["key_id"], 60_000)
    assert claim(worker) is None
    assert await api.queue_places([waiting.id]) == [QueuePlace(0, True)]
    with pytest.raises(LimitReachedError, match="device_s_per_day") as caught:
        await api.create(new_job(**own), None)
    assert 0 < caught.value.retry_after_s <= 86_400
    raw.delete(f"{namespace}:spent:{seconds // 86_400}")
    assert claim(worker) is not None


async def test_without_keys_nothing_is_kept_for_them(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs, raw: redis.Redis, namespace: str
) -> None:
    await api.create(new_job(), None)
    close(worker, claim(worker))
    names = {
        name.decode().removeprefix(f"{namespace}:") for name in raw.scan_iter(f"{namespace}:*")
    }
    kept = ("owner", "share", "spent", "stored", "waiting")
    assert not {name for name in names if name.startswith(kept)}
    assert not {name for name in names if "/keys:" in name}


@pytest.mark.parametrize(
    ("name", "limit", "found", "said"),
    [
        ("device_s_per_day", "0.2", "1.215", "for 1.215 s of the 0.2 s"),
        ("device_s_per_day", "86400", "86400.5", "for 86,400.5 s of the 86,400 s"),
        ("queued", "1234567", "1234567", "1,234,567 jobs and studies of it wait, of the 1,234,567"),
        ("stored_bytes", "100", "0", "keeps 0 bytes and may keep 100, which leaves no room"),
    ],
)
def test_a_limit_is_told_with_its_numbers(name: str, limit: str, found: str, said: str) -> None:
    refusal = limit_reached([name.encode(), limit.encode(), found.encode(), b"5"])
    assert str(refusal).startswith(f"The key has come to its limit {name}: ")
    assert said in str(refusal)


async def test_what_waits_for_a_limit_of_its_key_asks_for_no_workers(
    api: AsyncRedisStore, worker: RedisStore, keys: RedisKeys, new_job: NewJobs
) -> None:
    narrow, wide = key_of(keys, "a", running=2), key_of(keys, "b")

    async def load() -> tuple[int, int, bool]:
        found = (await api.totals()).devices
        assert found["gpu"].queued + found["cpu"].queued == 0
        return found["auto"].queued, found["auto"].limited, found["auto"].oldest_s > 1e9

    assert await load() == (0, 0, False)
    for _ in range(3):
        await api.create(new_job(**narrow, priority=9), None)
    assert await load() == (2, 1, False)  # so many as may begin
    held = [claim(worker), claim(worker)]
    assert await load() == (0, 1, False)
    of_1970 = new_job(**narrow)
    await api.create(replace(of_1970, id=f"job_{'0' * 10}{of_1970.id[14:]}"), None)
    assert await load() == (0, 2, False)
    await api.create(new_job(**wide), None)
    await api.create(new_job(**wide), None)
    assert await load() == (2, 2, False)
    await api.create(new_job(), None)  # of no key: older than the first one
    assert await load() == (3, 2, False)
    for each in held:
        close(worker, each)
    assert await load() == (5, 0, True)


async def test_a_day_that_is_used_up_asks_for_no_workers(
    api: AsyncRedisStore, keys: RedisKeys, new_job: NewJobs, raw: redis.Redis, namespace: str
) -> None:
    own = key_of(keys, "a", device_s_per_day=60.0)
    for _ in range(2):
        await api.create(new_job(**own), None)
    load = (await api.totals()).devices["auto"]
    assert (load.queued, load.limited) == (2, 0)
    today = raw.time()[0] // 86_400
    for day in (today, today + 1):
        raw.hset(f"{namespace}:spent:{day}", own["key_id"], 60_000)
    load = (await api.totals()).devices["auto"]
    assert (load.queued, load.limited, load.oldest_s) == (0, 2, 0.0)
