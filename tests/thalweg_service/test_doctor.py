"""`thalweg doctor`: what it says of a healthy service, and of each thing that can be wrong."""

import json
import resource
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis

from tests.thalweg_service.running import Service
from thalweg_service.doctor import examine, machine
from thalweg_service.doctor import service as looks
from thalweg_service.doctor.check import Check, difference
from thalweg_service.doctor.service import KnownJob

Json = dict[str, Any]
Handler = Callable[[httpx2.Request], httpx2.Response]


def client(handler: Handler) -> httpx2.Client:
    return httpx2.Client(base_url="http://test", transport=httpx2.MockTransport(handler))


def answering(body: Json, status: int = 200, **headers: str) -> httpx2.Client:
    return client(lambda request: httpx2.Response(status, json=body, headers=headers))


def by_name(checks: Iterator[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_a_healthy_service_passes_and_keeps_none_of_the_jobs(service: Service) -> None:
    url = str(service.client.base_url)
    before = service.client.get("/v1/jobs").json()["data"]

    found = by_name(examine.examine(url, None, None, "./artifacts", jobs=True))

    known = {job.name for job in looks.KNOWN_JOBS}
    assert (
        known | {"service", "ready", "workers", "webhooks", "clock", "disk", "GPU"} <= found.keys()
    )
    assert {check.status for check in found.values()} <= {"ok", "skipped"}, found
    assert [found[name].status for name in known] == ["ok"] * 3
    assert service.client.get("/v1/jobs").json()["data"] == before


def test_the_command_prints_json_and_fails_where_nobody_answers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = examine.main("http://127.0.0.1:1", None, None, "./artifacts", jobs=True, as_json=True)
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert status == 1
    assert found["service"]["status"] == "failed"
    assert "--url" in found["service"]["words"]
    assert "quadratic" not in found


def test_the_known_answers_are_the_closed_forms() -> None:
    quadratic, rosenbrock, saddle = looks.KNOWN_JOBS
    assert quadratic.answer["x1"] == pytest.approx(10 * 0.6**10, rel=1e-14)
    assert saddle.answer["x1"] == pytest.approx(0.8**200, rel=1e-12)
    assert saddle.answer["x2"] == 0
    value = (1 - rosenbrock.answer["x1"]) ** 2
    assert 0 < value < 24.2


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"status": "succeeded", "result": {"solution": {"x1": 0.07}}}, "should be"),
        ({"status": "succeeded", "result": {"solution": {"x1": "NaN"}}}, "should be"),
        ({"status": "failed", "error": {"message": "the trainer died"}}, "the trainer died"),
        ({"status": "queued", "progress": {"waiting_for": "device"}}, "device"),
        (
            {
                "status": "succeeded",
                "result": {"solution": {"x1": 0.5}},
                "diagnosis": {"verdict": "healthy"},
            },
            "healthy",
        ),
    ],
)
def test_a_job_that_comes_out_otherwise_is_told(job: Json, words: str) -> None:
    calls: list[str] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        calls.append(request.method)
        if request.method == "POST" and request.url.path == "/v1/jobs":
            return httpx2.Response(202, json={"links": {"self": "/v1/jobs/job_1"}})
        return httpx2.Response(200, json={"diagnosis": None, "error": None, **job})

    known = KnownJob("known", {}, {"x1": 0.5}, verdict="converged")
    found = looks.do(client(handler), known)
    assert found.status == "failed"
    assert words in found.words
    assert ("DELETE" in calls) == (job["status"] != "queued")


def test_a_job_that_is_refused_is_told() -> None:
    found = looks.do(answering({"detail": "the store is full"}, 503), looks.KNOWN_JOBS[0])
    assert found == Check("quadratic", "failed", "the store is full")


@pytest.mark.parametrize("how", ["refused", "away"])
@pytest.mark.parametrize("most", range(9))
def test_a_service_that_ends_meanwhile_is_told(most: int, how: str) -> None:
    """After so many of its answers it refuses all, or does not answer any more."""
    left = most

    def handler(request: httpx2.Request) -> httpx2.Response:
        nonlocal left
        left -= 1
        if left < 0 and how == "away":
            raise httpx2.ConnectError("away")
        if left < 0:
            return httpx2.Response(503, json={"detail": "the store is away", "code": "x"})
        now = datetime.now(UTC)
        worker = {"last_heartbeat": now.isoformat(), "devices": ["cpu"]}
        job = {"id": "job_1", "status": "succeeded", "links": {"self": "/v1/jobs/job_1"},
               "result": {"solution": {"x1": 0.5}}, "diagnosis": None, "error": None}  # fmt: skip
        is_made = request.method == "POST" and request.url.path == "/v1/jobs"
        data = [worker] if request.url.path == "/v1/workers" else []
        body = {"data": data, "checks": {"redis": "ok"}, "version": "1", **job}
        headers = {"Date": format_datetime(now, usegmt=True)}
        return httpx2.Response(202 if is_made else 200, json=body, headers=headers)

    found = by_name(examine.look_at(client(handler), "http://test", jobs=True))
    failed = [check for check in found.values() if check.status == "failed"]
    assert failed
    assert all(check.words for check in found.values())


def test_other_versions_clocks_and_absent_workers_are_told() -> None:
    assert looks.look_at_version(answering({"version": "99"})).status == "warning"
    late = answering({}, Date="Sun, 29 Nov 2015 10:00:00 GMT")
    assert looks.look_at_clock(late).status == "warning"
    assert "NTP" in looks.look_at_clock(late).words
    assert looks.look_at_workers(answering({"data": []})).status == "failed"
    ahead = {"last_heartbeat": "2999-01-01T00:00:00.000000Z", "devices": ["cpu"]}
    assert looks.look_at_workers(answering({"data": [ahead]})).status == "warning"
    broken = answering({"checks": {"redis": "ok", "artifacts": "cannot be made"}}, 503)
    assert looks.look_at_readiness(broken) == Check(
        "ready", "failed", "redis ok, artifacts cannot be made"
    )


def deliveries(waiting: list[Json], ended: list[Json], *, secret: bool = True) -> httpx2.Client:
    """A service with these in its log of deliveries."""

    def handler(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            errors = [] if secret else [{"code": "no_secret"}]
            return httpx2.Response(200 if secret else 422, json={"errors": errors})
        asked = request.url.params.get_list("status")
        return httpx2.Response(200, json={"data": waiting if asked == ["waiting"] else ended})

    return client(handler)


def delivery(status: str, at: str = "", error: str | None = None, tries: int = 1) -> Json:
    return {
        "status": status,
        "next_attempt_at": at or None,
        "created_at": "2026-11-29T10:00:00Z",
        "num_attempts": tries,
        "attempts": [{"error": error}] * tries,
        "url": "https://example.org",
    }


SENT, FAILED = delivery("delivered"), delivery("failed", error="the receiver answered 404")
OVERDUE = delivery("waiting", "2026-11-29T10:00:00Z", tries=0)
NEW = delivery("waiting", "2999-01-01T00:00:00Z", tries=0)
TO_COME = delivery("waiting", "2999-01-01T00:00:00Z", "no reply within 10 s")


@pytest.mark.parametrize(
    ("service", "status", "words"),
    [
        (deliveries([], [], secret=False), "skipped", "secret add"),
        (deliveries([TO_COME], [], secret=False), "failed", "1 wait"),
        (deliveries([], []), "ok", "0 of the last 0"),
        (
            deliveries([delivery("waiting", "2999-01-01T00:00:00Z", tries=0)], [SENT]),
            "ok",
            "1 wait",
        ),
        (deliveries([OVERDUE, TO_COME], [SENT]), "failed", "no worker sends them"),
        (
            deliveries([], [SENT, FAILED]),
            "warning",
            "example.org: the receiver answered 404",
        ),
        (deliveries([TO_COME], [SENT]), "warning", "no reply within 10 s"),
        (answering({"detail": "it needs a key"}, 401), "skipped", "it needs a key"),
        (answering({}, 404), "skipped", "404"),
    ],
)
def test_webhooks_are_looked_at(service: httpx2.Client, status: str, words: str) -> None:
    found = looks.look_at_webhooks(service)
    assert found.status == status
    assert words in found.words


@pytest.fixture
def configured(redis_url: str) -> Iterator[redis.Redis]:
    """The tests' server, whose settings are put back afterwards."""
    with redis.Redis.from_url(redis_url) as server:
        names = ("appendonly", "appendfsync", "maxmemory-policy", "maxmemory")
        before = {name: server.config_get(name)[name] for name in names}
        yield server
        for name, value in before.items():
            server.config_set(name, value)


@pytest.mark.parametrize(
    ("settings", "check", "status"),
    [
        ({}, "store durability", "ok"),
        ({"appendfsync": "everysec"}, "store durability", "warning"),
        ({"maxmemory-policy": "allkeys-lru"}, "store durability", "failed"),
        ({"maxmemory": "1000000000"}, "store memory", "ok"),
        ({"maxmemory": "1000"}, "store memory", "failed"),
    ],
)
def test_the_store_is_looked_at(
    configured: redis.Redis, redis_url: str, settings: Json, check: str, status: str
) -> None:
    usual = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    for name, value in {**usual, **settings}.items():
        configured.config_set(name, value)
    found = by_name(machine.look_at_store(redis_url))
    assert found[check].status == status, found[check]
    assert found["store"].status == "ok"
    assert found["store version"].status == "ok"
    assert found["store clock"].status == "ok"


def test_a_server_that_is_nearly_full_is_a_warning(configured: redis.Redis, redis_url: str) -> None:
    used = configured.info("memory")["used_memory"]
    configured.config_set("maxmemory", int(1.05 * used))
    assert by_name(machine.look_at_store(redis_url))["store memory"].status == "warning"


def test_a_server_that_keeps_silent_about_itself_is_no_failure(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as server:
        server.execute_command(
            "ACL", "SETUSER", "doctor", "on", ">secret", "~*", "+@all", "-@dangerous"
        )
        try:
            url = redis_url.replace("://", "://doctor:secret@", 1)
            found = by_name(machine.look_at_store(url))
        finally:
            server.execute_command("ACL", "DELUSER", "doctor")
    assert found["store"].status == "ok"
    for name in ("store version", "store durability", "store memory"):
        assert found[name].status == "skipped"


def test_a_store_that_is_away_is_told_without_its_password() -> None:
    (found,) = machine.look_at_store("redis://user:geheim@127.0.0.1:1/0")
    assert found.status == "failed"
    assert "geheim" not in found.words


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    assert machine.look_at_disk(str(tmp_path / "not" / "made" / "yet")).status == "ok"
    (tmp_path / "file").touch()
    assert machine.look_at_disk(str(tmp_path / "file" / "below")).status == "failed"
    assert machine.look_at_disk("s3://bucket/prefix").status == "skipped"


def test_few_open_files_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 512))
    monkeypatch.setattr(machine, "look_at_gpus", lambda: Check("GPU", "ok", ""))
    assert by_name(machine.look_at_machine(str(tmp_path)))["open files"].status == "warning"


@pytest.mark.parametrize(
    ("listed", "torch", "status"),
    [
        ("", "2.13.0 0", "ok"),
        ("H200, 143771 MiB", "2.13.0 1", "ok"),
        ("H200, 143771 MiB", "2.13.0+cpu 0", "failed"),
        ("", "", "failed"),
    ],
)
def test_gpus_of_the_driver_are_compared_with_those_of_torch(
    monkeypatch: pytest.MonkeyPatch, listed: str, torch: str, status: str
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if listed else None)
    monkeypatch.setattr(
        machine, "_output_of", lambda command: listed if command[0] == "nvidia-smi" else torch
    )
    found = machine.look_at_gpus()
    assert found.status == status, found


def test_differences_say_which_clock_is_ahead() -> None:
    assert difference("the store's", 3.0)[1].startswith("the store's is 3.0 s ahead of")
    assert difference("the store's", -3.0)[1].startswith("the store's is 3.0 s behind")
