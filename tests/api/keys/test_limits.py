"""Limits of keys over HTTP: 429 with the way out, and what waits says so."""

from collections.abc import Iterator
from typing import Any

import pytest

from api.keys.rates import Headers, Rates
from core.errors import LimitReachedError
from core.ids import rfc3339, utc_now
from core.keys import KeyRecord, new_key_id
from core.settings import Settings
from core.store.protocols.types import WorkerInfo
from core.store.redis.keys import RedisKeys
from tests.api.actors import Api, problem_of, rosenbrock
from tests.api.datasets.actors import CSV, TABLE, running
from tests.api.study_actors import sweep


@pytest.fixture
def keys(settings: Settings) -> Iterator[RedisKeys]:
    made = RedisKeys(settings.redis_url, settings.namespace)
    yield made
    made.disconnect()


def key(**limits: Any) -> KeyRecord:
    return KeyRecord(new_key_id(), "a", ("read", "write"), rfc3339(utc_now()), **limits)


def bearer(keys: RedisKeys, **limits: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {keys.create(key(**limits))}"}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("rate", "at_once", "wait_s"), [(10.0, 10, 0.1), (2.5, 3, 0.4), (1.0, 1, 1.0), (0.1, 1, 10.0)]
)
def test_as_many_as_a_second_allows_may_come_at_once(
    rate: float, at_once: int, wait_s: float
) -> None:
    clock = Clock()
    rates, own = Rates(clock), key(requests_per_s=rate)
    for _ in range(at_once):
        rates.take(own, [])
    with pytest.raises(LimitReachedError) as caught:
        rates.take(own, [])
    assert caught.value.retry_after_s == pytest.approx(wait_s)
    clock.now += wait_s + 1e-6
    rates.take(own, [])
    with pytest.raises(LimitReachedError):
        rates.take(own, [])
    clock.now += 3_600
    for _ in range(at_once):
        rates.take(own, [])
    with pytest.raises(LimitReachedError):
        rates.take(own, [])


def test_over_a_long_time_no_more_come_than_the_rate() -> None:
    clock = Clock()
    rates, own, taken = Rates(clock), key(requests_per_s=3.0), 0
    for _ in range(10_000):
        clock.now += 0.01
        try:
            rates.take(own, [])
            taken += 1
        except LimitReachedError:
            pass
    assert 299 <= taken <= 303


def test_keys_without_a_limit_are_not_counted() -> None:
    headers: Headers = []
    for _ in range(100):
        Rates().take(key(), headers)
    assert headers == []


def test_replies_say_what_is_left_of_the_rate(api: Api, keys: RedisKeys) -> None:
    headers = bearer(keys, requests_per_s=0.01)
    reply = api.http.get("/v1/jobs", headers=headers)
    assert reply.status_code == 200
    assert reply.headers["ratelimit-policy"] == '"requests";q=1;w=100'
    assert reply.headers["ratelimit"] == '"requests";r=0;t=100'
    reply = api.http.get("/v1/jobs", headers=headers)
    problem = problem_of(reply, 429, "limit_reached")
    assert "requests_per_s" in problem["detail"]
    assert 98 <= int(reply.headers["retry-after"]) <= 100
    assert reply.headers["ratelimit"].startswith('"requests";r=0')
    assert "ratelimit" not in api.http.get("/v1/jobs", headers=bearer(keys)).headers


def test_more_than_may_wait_is_refused_of_jobs_and_studies(api: Api, keys: RedisKeys) -> None:
    headers = bearer(keys, queued=1)
    job = api.post(headers={**headers, "Idempotency-Key": "one"})
    for path, body in (("/v1/jobs", rosenbrock()), ("/v1/studies", sweep(rosenbrock()))):
        reply = api.http.post(path, json=body, headers=headers)
        assert "queued" in problem_of(reply, 429, "limit_reached")["detail"]
        assert int(reply.headers["retry-after"]) >= 1
    again = api.post(headers={**headers, "Idempotency-Key": "one"})
    assert again["id"] == job["id"]
    api.post(headers=bearer(keys))
    assert api.http.post(f"/v1/jobs/{job['id']}/cancel", headers=headers).status_code == 202
    api.post(headers=headers)


@pytest.mark.parametrize("noun", ["jobs", "studies"])
def test_a_pause_is_no_way_past_what_may_wait(api: Api, keys: RedisKeys, noun: str) -> None:
    headers = bearer(keys, queued=1)

    def call(method: str, path: str, body: Any = None) -> Any:
        return api.http.request(method, f"/v1/{noun}{path}", json=body, headers=headers)

    body = rosenbrock() if noun == "jobs" else sweep(rosenbrock())
    first, second = "", call("POST", "", body).json()["id"]
    for _ in range(2):
        first = second
        assert call("POST", f"/{first}/pause").status_code == 200
        second = call("POST", "", body).json()["id"]
        refused = call("POST", f"/{first}/resume")
        assert "queued" in problem_of(refused, 429, "limit_reached")["detail"]
        assert int(refused.headers["retry-after"]) >= 1
        paused = call("GET", f"/{first}").json()
        assert paused["status"] == "paused"
        assert [each["event"] for each in paused["timeline"]][-1] == "paused"
        assert call("POST", f"/{second}/resume").status_code == 200, "it waits already"
    assert call("POST", f"/{second}/cancel").status_code == 202
    assert call("POST", f"/{first}/resume").status_code == 202


def test_what_waits_for_its_limit_says_so(api: Api, keys: RedisKeys) -> None:
    headers, now = bearer(keys, running=1), rfc3339(utc_now())
    api.worker.store.report_worker(WorkerInfo("w", ("cpu",), ("cpu",), None, now, now, 1), 60.0)
    first, second = (api.post(headers=headers) for _ in range(2))
    claim = api.worker.claim()
    assert claim.job.id == first["id"]

    def waits() -> Any:
        reply = api.http.get(f"/v1/jobs/{second['id']}", headers=headers)
        return reply.json()["progress"]["waiting_for"]

    assert waits() == "limit"
    third = api.post(headers=headers)
    assert third["progress"]["waiting_for"] == "limit"
    listed = api.http.get("/v1/jobs", headers=headers).json()["data"]
    assert [each["progress"]["waiting_for"] for each in listed] == ["limit", "limit", None]
    api.worker.close(claim)
    assert waits() == "queue"
    assert api.worker.claim().job.id == second["id"]


def test_an_upload_counts_until_it_is_deleted(settings: Settings, keys: RedisKeys) -> None:
    headers = {**bearer(keys, stored_bytes=2 * len(CSV) - 1), **TABLE}
    with running(settings) as data:
        first = data.http.post("/v1/datasets", content=CSV, headers=headers)
        assert first.status_code == 201, first.text
        reply = data.http.post("/v1/datasets", content=CSV, headers=headers)
        assert "stored_bytes" in problem_of(reply, 429, "limit_reached")["detail"]
        assert data.left_in_the_folder == []
        path = f"/v1/datasets/{first.json()['id']}"
        assert data.http.delete(path, headers=headers).status_code == 204
        again = data.http.post("/v1/datasets", content=CSV, headers=headers)
        assert again.status_code == 201
