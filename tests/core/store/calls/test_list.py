"""Lists: newest first, filtered before the limit, continued where they stopped."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
import redis

from core.errors import ConflictError
from core.ids import rfc3339
from core.jobs import STATUSES, TERMINAL, Status
from core.store.calls.list import LIST_LOOK
from core.store.protocols.types import Claim, JobFilter, NewJob, WorkerInfo
from core.store.redis import AsyncRedisStore, RedisStore

pytestmark = pytest.mark.anyio
NewJobs = Callable[..., NewJob]
Bring = Callable[[Status], Awaitable[tuple[str, Claim | None]]]


async def every_page(api: AsyncRedisStore, where: JobFilter, limit: int) -> list[str]:
    ids: list[str] = []
    after: str | None = None
    while True:
        page = await api.list(where, limit, after)
        ids += [job.id for job in page.jobs]
        assert len(page.jobs) == limit or not page.has_more
        if not page.has_more:
            return ids
        after = page.jobs[-1].id


async def test_pages_give_every_job_once_newest_first(
    api: AsyncRedisStore, new_job: NewJobs
) -> None:
    made = [(await api.create(new_job(), None)).job.id for _ in range(23)]
    for limit in (1, 5, 23, 100):
        assert await every_page(api, JobFilter(), limit) == made[::-1]


async def test_an_empty_list_has_no_more(api: AsyncRedisStore) -> None:
    page = await api.list(JobFilter(), 20, None)
    assert (page.jobs, page.has_more) == ((), False)


async def test_a_cursor_works_when_its_job_is_gone(api: AsyncRedisStore, new_job: NewJobs) -> None:
    made = [(await api.create(new_job(), None)).job.id for _ in range(6)]
    await api.request_cancel(made[3])
    await api.delete(made[3])

    page = await api.list(JobFilter(), 2, made[3])

    assert [job.id for job in page.jobs] == [made[2], made[1]]
    assert page.has_more


@pytest.mark.parametrize(
    "wanted", [("queued",), ("succeeded", "failed"), ("running", "cancelling"), STATUSES]
)
async def test_a_list_by_status_holds_all_of_these_and_no_other(
    wanted: tuple[Status, ...], bring_to: Bring, api: AsyncRedisStore
) -> None:
    made: list[tuple[str, Status]] = []
    for status in (*STATUSES[1:], *STATUSES[1:], "queued", "queued"):  # a claim takes the oldest
        made.append(((await bring_to(status))[0], status))  # noqa: PERF401

    expected = [job_id for job_id, status in made[::-1] if status in wanted]
    assert await every_page(api, JobFilter(statuses=wanted), 3) == expected


async def test_filters_hold_together(api: AsyncRedisStore, new_job: NewJobs) -> None:
    expected = []
    for i in range(30):
        labels = {"team": "vision" if i % 2 else "text", "run": str(i % 3)}
        job = new_job(labels=labels)
        await api.create(job, None)
        if i % 5 == 0:
            await api.request_cancel(job.id)
        elif i % 2 and i % 3 == 1:
            expected.append(job.id)

    where = JobFilter(("queued",), (("team", "vision"), ("run", "1")))
    assert await every_page(api, where, 2) == expected[::-1]
    assert await every_page(api, JobFilter(labels=(("team", "none"),)), 2) == []


async def test_a_sparse_filter_finds_what_lies_deep(api: AsyncRedisStore, new_job: NewJobs) -> None:
    old = new_job(labels={"a": "1", "b": "1"})
    await api.create(old, None)
    for i in range(LIST_LOOK + 20):
        await api.create(new_job(labels={"a": "1"} if i % 2 else {"b": "1"}), None)
        await api.create(new_job(labels={"a": "1"} if i % 2 == 0 else {"b": "1"}), None)

    page = await api.list(JobFilter(labels=(("a", "1"), ("b", "1"))), 1, None)

    assert [job.id for job in page.jobs] == [old.id]
    assert not page.has_more


async def test_created_after_is_exclusive_and_to_the_microsecond(
    api: AsyncRedisStore, new_job: NewJobs
) -> None:
    now = datetime.now(UTC)
    moments = [now + timedelta(microseconds=i) for i in range(4)]
    made = [
        (await api.create(new_job(created_at=rfc3339(moment)), None)).job.id for moment in moments
    ]

    def since(text: str) -> JobFilter:
        return JobFilter(created_after=text)

    assert await every_page(api, since(rfc3339(moments[1])), 10) == [made[3], made[2]]
    elsewhere = moments[1].astimezone(UTC).isoformat()
    assert await every_page(api, since(elsewhere), 1) == [made[3], made[2]]
    assert await every_page(api, since("1960-01-01T00:00:00Z"), 10) == made[::-1]
    assert await every_page(api, since("2999-01-01T00:00:00+02:00"), 10) == []


@pytest.mark.parametrize("status", STATUSES)
async def test_only_a_terminal_job_is_deleted(
    status: Status, bring_to: Bring, api: AsyncRedisStore
) -> None:
    job_id, _ = await bring_to(status)
    if status in TERMINAL:
        await api.delete(job_id)
        assert (await api.list(JobFilter(), 10, None)).jobs == ()
    else:
        with pytest.raises(ConflictError, match=status) as refused:
            await api.delete(job_id)
        assert refused.value.conflict_code == "not_terminal"
        assert (await api.get(job_id)).status == status


async def test_workers_are_listed_until_they_leave_or_fall_silent(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    def info(name: str) -> WorkerInfo:
        return WorkerInfo(name, ("cuda:0", "cpu"), ("thalweg",), "job_1", "then", "before", 42)

    for name in ("b", "a", "c"):
        worker.report_worker(info(name), 60)
    assert await api.workers() == [info("a"), info("b"), info("c")]

    worker.forget_worker("a")
    raw.zadd(f"{namespace}:workers:until", {"b": 1})  # its time has run out
    assert await api.workers() == [info("c")]
    worker.report_worker(info("c"), 60)
    assert raw.hkeys(f"{namespace}:workers") == [b"c"]
