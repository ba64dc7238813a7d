"""Streams of jobs and studies while they run."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import redis

from tests.api.actors import digits
from tests.api.events.conftest import Live
from tests.api.events.following import (
    Following,
    begun,
    first_of,
    losses_of,
    steps_of,
)
from tests.api.events.reader import summary
from tests.api.study_actors import play


def test_a_job_is_followed_from_its_queue_to_its_end(live: Live) -> None:
    job = live.post(digits())
    reader = Following(job["links"]["events"], lambda: live.process.port)
    reader.until(lambda events: summary(events) == ["status"])
    claim = live.worker.claim()
    layout = claim.layouts["train"]
    began = time.monotonic()
    for first in range(0, 60, 20):
        steps = np.arange(first, first + 20, dtype=float)
        live.worker.store.append_rows(
            claim, "train", first, {"step": steps, **dict.fromkeys(layout.widths, steps)}
        )
        reader.until_rows(first + 20)
    assert reader.is_spaced(began)
    found = {"verdict": "healthy", "confidence": 1.0, "findings": [], "remedies": []}
    live.worker.store.update(claim, {"diagnosis": found})
    reader.until(lambda events: any(event.type == "diagnosis" for event in events))
    live.worker.close(claim)
    events = reader.end()
    assert steps_of(events) == list(range(60))
    statuses = [event.data["status"] for event in events if event.type == "status"]
    assert list(dict.fromkeys(statuses)) == ["queued", "running", "succeeded"]
    assert [e.type for e in events if e.type in {"diagnosis", "end"}] == ["diagnosis", "end"]
    assert events[-1].data == live.job(job["id"])


def test_rows_that_wait_come_spaced_while_the_job_runs_and_at_once_when_it_has_ended(
    live: Live,
) -> None:
    job, claim = begun(live)
    live.rows(claim, 0, 3500)
    began = time.monotonic()
    reader = Following(job["links"]["events"], lambda: live.process.port)
    reader.until_rows(3500)
    assert reader.is_spaced(began)
    assert summary(reader.events)[-4:] == [
        "points 0-999", "points 1000-1999", "points 2000-2999", "points 3000-3499"
    ]  # fmt: skip
    late = Following(f"{job['links']['events']}?after=latest", lambda: live.process.port)
    late.until(lambda events: len(events) == 1)
    live.rows(claim, 3500, 100)
    late.until_rows(100)
    live.worker.close(claim)
    assert steps_of(late.end()) == list(range(3500, 3600))
    assert steps_of(reader.end()) == list(range(3600))


def test_progress_alone_is_told_once_a_second_and_all_else_at_once(live: Live) -> None:
    job, claim = begun(live)
    reader = Following(job["links"]["events"], lambda: live.process.port)
    reader.until(lambda events: events[-1:] != [] and events[-1].data["status"] == "running")
    began = time.monotonic()
    for step in range(1, 200):
        live.worker.store.update(claim, {"progress": {"step": step}})
    live.worker.store.update(claim, {"phase": "diagnosing"})
    reader.until(lambda events: events[-1].data["phase"] == "diagnosing")
    told = [event for event in reader.events if event.type == "status"]
    assert len(told) <= 4 + (time.monotonic() - began)
    live.worker.close(claim)
    assert reader.end()[-1].data["progress"]["step"] == 199


def test_a_run_that_went_back_sends_the_other_rows_and_a_lost_attempt_none_twice(
    live: Live,
) -> None:
    job, claim = begun(live)
    reader = Following(job["links"]["events"], lambda: live.process.port)
    store = live.worker.store
    live.rows(claim, 0, 60)
    reader.until_rows(60)
    store.truncate_rows(claim, "train", 40, 1, is_rewind=True)
    live.rows(claim, 40, 10, shift=0.5)
    reader.until_rows(70)
    assert steps_of(reader.events) == [*range(60), *range(40, 50)]

    # The worker is lost; the next resumes before the rollback, and does all of it again.
    store.lose(claim)
    claim = live.worker.claim()
    store.truncate_rows(claim, "train", 30, 0)
    live.rows(claim, 30, 30)
    while summary(first_of(live, job))[1] != "points 0-59":
        pass  # until the hub has looked
    late = Following(job["links"]["events"], lambda: live.process.port)
    late.until_rows(60)  # who comes now is told of it as it happens
    store.truncate_rows(claim, "train", 40, 1, is_rewind=True)
    live.rows(claim, 40, 15, shift=0.5)
    reader.until_rows(75)
    live.worker.close(claim)
    assert steps_of(reader.end()) == [*range(60), *range(40, 55)]
    assert steps_of(late.end()) == [*range(60), *range(40, 55)]
    kept = live.get(job["links"]["history"])["series"]
    for each in (reader, late):
        assert losses_of(each.events) == dict(zip(kept["step"], kept["loss"], strict=True))


def commands(url: str) -> dict[str, int]:
    with redis.Redis.from_url(url) as server:
        found: Any = server.info("commandstats")
    return {name: each["calls"] for name, each in found.items()}


@pytest.mark.parametrize("num_readers", [1, 20])
def test_twenty_readers_cost_the_store_what_one_costs(
    live: Live, redis_url: str, num_readers: int
) -> None:
    job, claim = begun(live)
    with ThreadPoolExecutor(20) as pool:
        readers = list(
            pool.map(
                lambda _: Following(job["links"]["events"], lambda: live.process.port),
                range(num_readers),
            )
        )
    for reader in readers:
        reader.until(lambda events: summary(events) == ["status"])
    before = commands(redis_url)
    for first in range(0, 100, 10):
        live.rows(claim, first, 10)
        for reader in readers:
            reader.until_rows(first + 10)
    after = commands(redis_url)
    # Ten times the rows of each series, once.
    num_series = len(claim.layouts["train"].widths)
    assert after["cmdstat_getrange"] - before["cmdstat_getrange"] == 10 * num_series
    live.worker.close(claim)
    for reader in readers:
        assert steps_of(reader.end()) == list(range(100))


def test_a_study_tells_each_end_of_a_run_as_it_comes(live: Live) -> None:
    study = play(live)
    port = live.process.port
    reader = Following(f"/v1/studies/{study.id}/events?run=5", lambda: port)
    for number, index in enumerate([3, 0, 5, 1, 4, 2]):
        if index == 1:
            widths = live.worker.store.studies.layouts(study.id, [5])[5]["train"].widths
            columns: Any = {name: [1.0, 2.0] for name in widths}
            study.append(5, step=[0, 1], **columns)
        study.end(index, 0.5)
        reader.until(lambda events, n=number: sum(e.type == "run" for e in events) == n + 1)  # type: ignore[misc]
    study.close(*[0.5] * 6)
    events = reader.end()
    runs = [event.data for event in events if event.type == "run"]
    assert [each["index"] for each in runs] == [3, 0, 5, 1, 4, 2]
    assert steps_of(events) == [0, 1]
    assert events[-1].data["status"] == "succeeded"
    assert events[-1].data["progress"]["num_finished_runs"] == 6


def test_a_cancelled_study_tells_the_runs_that_never_ran(live: Live) -> None:
    study = play(live)
    reader = Following(f"{study.path}/events", lambda: live.process.port)
    study.end(1, 0.5)
    reader.until(lambda events: any(event.type == "run" for event in events))
    live.http.post(f"{study.path}/cancel")
    live.worker.store.studies.close(study.claim, "cancelled", "cancelled")
    events = reader.end()
    runs = [event.data for event in events if event.type == "run"]
    assert sorted(each["index"] for each in runs) == list(range(6))
    assert {each["index"] for each in runs if each["status"] == "cancelled"} == {0, 2, 3, 4, 5}
