"""What happened when: written by the calls that make it happen, for jobs and studies alike."""

import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any, get_args

import pytest
import redis

from core.jobs import MOST_ENTRIES, Event, Timeline, TimelineEntry
from core.store.protocols.types import Claim, NewJob
from core.store.redis import AsyncRedisStore, RedisStore
from tests.core.store.study_makers import new_study, round_of, take

pytestmark = pytest.mark.anyio
NewJobs = Callable[..., NewJob]
Story = list[tuple[str, str | None]]


def story(timeline: Timeline) -> Story:
    """Events and details, after a look at the times."""
    times = [entry.at for entry in timeline.entries]
    assert times == sorted(times)
    return [(entry.event, entry.detail) for entry in timeline.entries]


def claim_job(worker: RedisStore, name: str) -> Claim:
    claim = worker.claim_next(name, ["cpu"], 60.0)
    assert isinstance(claim, Claim)
    return claim


async def test_a_job_tells_its_story(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    new = new_job(max_attempts=2)
    created = await api.create(new, None)
    worker.hand_over(claim_job(worker, "first"))
    worker.lose(claim_job(worker, "second\nof\u2028its name"))
    claim = claim_job(worker, "third")
    at = (await api.get(new.id)).timeline.entries[-1].at
    told = TimelineEntry(at, "phase", "training")
    worker.update(claim, {"timeline": [told]})
    worker.update(claim, {"timeline": [told, TimelineEntry(at, "restarted", "two words")]})
    await api.request_cancel(new.id)
    worker.close(claim, "cancelled", "cancelled", outcome=None, fields={"timeline": [told]})

    assert created.job.timeline.entries[0].at == new.created_at
    assert story((await api.get(new.id)).timeline) == [
        ("created", None),
        ("queued", "auto"),
        ("claimed", "first"),
        ("handed_over", "first"),
        ("queued", "auto"),
        ("claimed", "second of\u2028its name"),
        ("lost", "second of\u2028its name"),
        ("queued", "auto"),
        ("claimed", "third"),
        ("phase", "training"),
        ("restarted", "two words"),
        ("cancel_requested", None),
        ("ended", "cancelled"),
    ]


async def test_a_study_tells_its_story(api: AsyncRedisStore, worker: RedisStore) -> None:
    new = new_study()
    await api.studies.create(new, None)
    plan = take(worker, "planner")
    worker.studies.plan(plan, round_of(plan.study, [0, 1], [2, 3]))
    worker.lose(take(worker, "a"))
    for name in ("b", "c"):
        worker.studies.close(take(worker, name), "succeeded", "finished")
    worker.studies.finish(take(worker, "planner"), "succeeded", {"result": {}})

    assert story((await api.studies.get(new.id)).timeline) == [
        ("created", None),
        ("queued", "auto"),
        ("claimed", "planner"),
        ("phase", "round 0: 2 tasks"),
        ("lost", "a"),
        ("ended", "succeeded"),
    ]


@pytest.mark.parametrize("noun", ["job", "study"])
async def test_a_cancel_of_what_waits_is_told_once(
    noun: str, api: AsyncRedisStore, new_job: NewJobs
) -> None:
    store: Any = api if noun == "job" else api.studies
    new = new_job(device="cuda") if noun == "job" else new_study(device="cuda")
    await store.create(new, None)
    for _ in range(2):
        record = await store.request_cancel(new.id)
    assert record == await store.get(new.id)
    assert story(record.timeline) == [
        ("created", None), ("queued", "cuda"), ("cancel_requested", None), ("ended", "cancelled")
    ]  # fmt: skip


@pytest.mark.parametrize("batch", [1, 7, 250])
async def test_of_a_long_story_the_middle_goes_and_is_counted(
    batch: int, api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    new = new_job()
    await api.create(new, None)
    claim = claim_job(worker, "w")
    at = (await api.get(new.id)).timeline.entries[-1].at
    entries = [TimelineEntry(at, "intervention", f"skip at step {step}") for step in range(250)]
    for start in range(0, len(entries), batch):
        worker.update(claim, {"timeline": entries[start : start + batch]})

    timeline = (await api.get(new.id)).timeline.entries

    assert len(timeline) == MOST_ENTRIES
    half = MOST_ENTRIES // 2
    assert timeline[half - 1] == TimelineEntry(at, "omitted", f"{253 - 99} entries")
    assert timeline[3 : half - 1] == entries[: half - 4]
    assert timeline[half:] == entries[-half:]


@pytest.mark.parametrize("noun", ["job", "study"])
async def test_what_was_stored_without_a_timeline_begins_one(
    noun: str, api: AsyncRedisStore, new_job: NewJobs, raw: redis.Redis, namespace: str
) -> None:
    store: Any = api if noun == "job" else api.studies
    new = new_job() if noun == "job" else new_study()
    await store.create(new, None)
    raw.hdel(f"{namespace}:{noun}:{new.id}", "timeline")
    assert (await store.get(new.id)).timeline.entries == []
    await store.request_cancel(new.id)
    assert story((await store.get(new.id)).timeline) == [
        ("cancel_requested", None), ("ended", "cancelled")
    ]  # fmt: skip


def test_an_entry_is_one_line_whatever_it_says() -> None:
    said = TimelineEntry("2026-11-22T10:00:00.000000Z", "claimed", "a\nb\r\x1c\x85\u2028c  d")
    (read,) = Timeline.of([said]).entries
    assert read == TimelineEntry(said.at, "claimed", "a b  \x85\u2028c  d")


def test_the_scripts_tell_of_events_that_there_are() -> None:
    told = set()
    for script in files("core.store").joinpath("lua").iterdir():
        told |= set(re.findall(r"tell\(\w+, '(\w+)'", script.read_text("utf-8")))
    assert {"claimed", "phase", "cancel_requested", "ended", "queued"} <= told
    assert told <= set(get_args(Event))
