"""Holding a reply until a job is terminal."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from api.services import waiting
from api.services.waiting import EndFeed
from core.errors import NotFoundError, StoreUnavailableError
from core.jobs import JobRecord
from core.store.protocols.api import ApiStore
from tests.api.actors import NO_SUCH_JOB, Api, problem_of, refused_params


def test_a_waiting_reply_comes_as_soon_as_the_job_ends(api: Api) -> None:
    job_id = api.post()["id"]
    claim = api.worker.claim()
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        waiting = pool.submit(api.get, f"/v1/jobs/{job_id}", wait=60)
        api.worker.store.update(claim, {"phase": "training"})
        api.worker.close(claim)
        assert waiting.result()["status"] == "succeeded"
        assert time.monotonic() - began < 50


def test_many_wait_for_different_jobs_at_once(api: Api) -> None:
    ids = [api.post()["id"] for _ in range(8)]
    with ThreadPoolExecutor(16) as pool:
        waiting = [pool.submit(api.get, f"/v1/jobs/{i}", wait=30) for i in [*ids, *ids]]
        for _ in ids:
            api.worker.close(api.worker.claim())
        assert {each.result()["status"] for each in waiting} == {"succeeded"}


def test_cancelling_ends_the_wait(api: Api) -> None:
    job_id = api.post()["id"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(api.get, f"/v1/jobs/{job_id}", wait=30)
        api.http.post(f"/v1/jobs/{job_id}/cancel")
        assert waiting.result()["status"] == "cancelled"


def test_when_the_time_is_up_the_job_comes_as_it_is(api: Api) -> None:
    job_id = api.post()["id"]
    assert api.get(f"/v1/jobs/{job_id}", wait=0.05)["status"] == "queued"
    assert api.get(f"/v1/jobs/{job_id}", wait=0)["status"] == "queued"


def test_a_terminal_job_is_not_waited_for(api: Api) -> None:
    job = api.finished()
    assert api.get(f"/v1/jobs/{job['id']}", wait=60) == job


def test_prefer_wait_is_honoured_and_acknowledged(api: Api) -> None:
    path = f"/v1/jobs/{api.finished()['id']}"
    for sent, applied in (("wait=5", "wait=5"), ("respond-async, wait=600", "wait=60")):
        reply = api.http.get(path, headers={"Prefer": sent})
        assert reply.headers["preference-applied"] == applied
    for sent in ("wait=soon", "return=minimal", "nowait=5"):
        assert "preference-applied" not in api.http.get(path, headers={"Prefer": sent}).headers


def test_after_the_wait_an_unchanged_job_is_still_a_304(api: Api) -> None:
    path = f"/v1/jobs/{api.finished()['id']}"
    tag = api.http.get(path).headers["etag"]
    reply = api.http.get(f"{path}?wait=5", headers={"If-None-Match": tag})
    assert reply.status_code == 304


@pytest.mark.parametrize("wait", ["-1", "61", "x", "nan", "inf", "1e2", "1_0", ""])
def test_a_wrong_wait_is_refused(api: Api, wait: str) -> None:
    reply = api.http.get(f"/v1/jobs/{NO_SUCH_JOB}", params={"wait": wait})
    assert refused_params(reply) == ["wait"]


def test_there_is_no_waiting_for_a_job_that_is_not_there(api: Api) -> None:
    problem_of(api.http.get(f"/v1/jobs/{NO_SUCH_JOB}?wait=60"), 404, "not_found")


class FeedStore:
    """A store whose announcements come when the test says so."""

    def __init__(self) -> None:
        self.job = JobRecord(id="job_1", status="running", spec={}, created_at="")
        self.reads = 0
        self.on_read: Callable[[], None] = lambda: None
        self.announced: asyncio.Queue[str | Exception] = asyncio.Queue()

    async def get(self, job_id: str) -> JobRecord:
        if job_id != self.job.id:
            raise NotFoundError(job_id)
        job = self.job
        self.reads += 1
        self.on_read()
        await asyncio.sleep(0)
        return job

    async def ends(self) -> AsyncIterator[str]:
        while True:
            found = await self.announced.get()
            if isinstance(found, Exception):
                raise found
            yield found

    def end(self) -> None:
        self.job = JobRecord(id="job_1", status="failed", spec={}, created_at="")


def wait(store: FeedStore, *, poll_s: float = 300.0, release: bool = False) -> JobRecord:
    """The job as a waiter of 300 s gets it; the test is over long before."""

    async def body() -> JobRecord:
        feed = EndFeed(cast(ApiStore, store), poll_s)
        feed.start()
        if release:
            asyncio.get_running_loop().call_soon(feed.release)
        try:
            async with asyncio.timeout(20):
                return await feed.wait_until_terminal("job_1", 300, store.get)
        finally:
            await feed.stop()

    return asyncio.run(body())


def at_read(store: FeedStore, number: int, action: Callable[[], None]) -> None:
    """Do something while the job is read for the `number`th time."""

    def on_read() -> None:
        if store.reads == number:
            action()

    store.on_read = on_read


def test_a_change_between_reading_and_waiting_is_not_missed() -> None:
    store = FeedStore()

    def end_and_announce() -> None:
        store.end()
        store.announced.put_nowait("job_1")

    at_read(store, 1, end_and_announce)
    assert (wait(store).status, store.reads) == ("failed", 2)


def test_other_jobs_changes_do_not_wake_a_waiter() -> None:
    store = FeedStore()

    def announce_others() -> None:
        for _ in range(5):
            store.announced.put_nowait("job_2")
        store.end()
        store.announced.put_nowait("job_1")

    at_read(store, 1, announce_others)
    wait(store)
    assert store.reads == 2


def test_a_new_subscription_makes_everyone_look_again() -> None:
    store = FeedStore()

    def end_unseen() -> None:
        store.end()
        store.announced.put_nowait("")

    at_read(store, 1, end_unseen)
    assert wait(store).status == "failed"


def test_the_poll_finds_what_no_announcement_told() -> None:
    store = FeedStore()
    at_read(store, 3, store.end)
    assert wait(store, poll_s=0.01).status == "failed"
    assert store.reads == 4


def test_a_feed_that_breaks_is_taken_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "RETRY_S", 0.0)
    store = FeedStore()

    def break_then_end() -> None:
        store.announced.put_nowait(StoreUnavailableError("away"))
        store.end()
        store.announced.put_nowait("job_1")

    at_read(store, 1, break_then_end)
    assert wait(store).status == "failed"


def test_an_ending_process_answers_those_who_wait() -> None:
    store = FeedStore()
    assert wait(store, release=True).status == "running"
