"""`python -m api` as a process: where it listens, how it refuses, how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx2
import pytest
import redis

from api.server import CannotServeError, listen, refuse_open_address
from core.artifacts.build import open_artifacts
from core.ids import rfc3339, utc_now
from core.keys import KeyRecord, new_key_id
from core.settings import Settings
from core.store.redis.keys import RedisKeys
from tests.api.actors import rosenbrock
from thalweg_service.embedded_redis import EmbeddedServer


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.0.0.2"])
def test_loopback_is_open_without_keys(host: str) -> None:
    refuse_open_address(Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "example.org", "127.0.0.1.x"])
def test_other_addresses_need_the_operators_word(host: str) -> None:
    with pytest.raises(CannotServeError, match="THALWEG_INSECURE_LISTEN=1") as caught:
        refuse_open_address(Settings(host=host))
    assert "\n" not in str(caught.value)
    refuse_open_address(Settings(host=host, insecure_listen=True))


def test_other_addresses_are_open_once_there_were_keys(
    redis_url: str, namespace: str, tmp_path: Path
) -> None:
    artifacts = str(tmp_path / "artifacts")
    settings = Settings(
        host="0.0.0.0", redis_url=redis_url, namespace=namespace, artifacts=artifacts
    )
    with pytest.raises(CannotServeError, match="`thalweg keys create`"):
        refuse_open_address(settings)
    now = rfc3339(utc_now())
    keys = RedisKeys(redis_url, namespace)
    key = KeyRecord(id=new_key_id(), owner="acme", scopes=("read",), created_at=now)
    keys.create(key)
    refuse_open_address(settings)
    keys.revoke(key.id)
    refuse_open_address(settings)
    keys.disconnect()
    away = settings.model_copy(update={"redis_url": f"unix://{tmp_path}/none.sock"})
    with pytest.raises(CannotServeError):
        refuse_open_address(away)
    open_artifacts(artifacts).note_keys()
    refuse_open_address(away)


def test_a_port_in_use_is_said_in_one_line() -> None:
    with listen("127.0.0.1", 0) as taken:
        with pytest.raises(CannotServeError, match="the port is in use") as caught:
            listen("127.0.0.1", taken.getsockname()[1])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 300, "203.0.113.7"])
def test_an_address_that_is_not_ours_is_said_in_one_line(host: str) -> None:
    with pytest.raises(CannotServeError, match="Cannot listen") as caught:
        listen(host, 0)
    assert "\n" not in str(caught.value)


def environment(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("THALWEG_")}
    return {**kept, **changes}


def refusal(**changes: str) -> str:
    """What the process says on stderr when it cannot start."""
    ended = subprocess.run(
        [sys.executable, "-m", "api"],
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    return ended.stderr


def test_the_process_refuses_with_one_line_and_no_trace() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        for said, reason in (
            (refusal(THALWEG_PORT=port), "the port is in use"),
            (refusal(THALWEG_HOST="0.0.0.0"), "There are no keys"),
            (refusal(THALWEG_PORT="many"), "THALWEG_PORT"),
            (refusal(THALWEG_TRUSTED_HOSTS="*"), "there are no patterns"),
            (refusal(THALWEG_REDIS_URL="http://x"), "THALWEG_REDIS_URL"),
            (refusal(THALWEG_REDIS_URL="redis://x:y"), "THALWEG_REDIS_URL"),
        ):
            assert said.startswith("thalweg api: ")
            assert reason in said
            assert said.count("\n") == 1


def test_a_newer_store_is_refused_with_one_line(redis_url: str, namespace: str) -> None:
    with redis.Redis.from_url(redis_url) as server:
        server.set(f"{namespace}:format", 999)
    said = refusal(THALWEG_REDIS_URL=redis_url, THALWEG_NAMESPACE=namespace, THALWEG_PORT="0")
    assert said.startswith("thalweg api: The store is of format 999")
    assert said.count("\n") == 1


def test_a_newer_store_that_was_away_at_the_start_is_refused_once_it_is_there(
    tmp_path: Path, namespace: str
) -> None:
    server = EmbeddedServer(tmp_path / "redis", fsync=False)
    with server, redis.Redis.from_url(server.url) as client:
        client.set(f"{namespace}:format", 999)
    with process(server.url, namespace, tmp_path) as api, server:
        last = api.lines.read().splitlines()[-1]
        assert last.startswith("thalweg api: The store is of format 999")
        assert api.running.wait(60) == 2


class Process:
    """The API in a process of its own, on a free port."""

    def __init__(self, running: subprocess.Popen[str], lines: IO[str]) -> None:
        self.running = running
        self.lines = lines
        self.port = self.event("listening")["port"]
        self.address = f"http://127.0.0.1:{self.port}"

    def event(self, name: str) -> dict[str, Any]:
        for line in self.lines:
            found: dict[str, Any] = json.loads(line)
            if found["event"] == name:
                return found
        raise AssertionError(f"the log ended without {name!r}")

    def end(self) -> str:
        """SIGTERM; what it still wrote to its log."""
        self.running.send_signal(signal.SIGTERM)
        rest = self.lines.read()
        assert self.running.wait(60) == 0
        return rest


@contextmanager
def process(redis_url: str, namespace: str, artifacts: Path, **changes: str) -> Iterator[Process]:
    settings = environment(
        THALWEG_REDIS_URL=redis_url,
        THALWEG_NAMESPACE=namespace,
        THALWEG_ARTIFACTS=str(artifacts),
        THALWEG_PORT="0",
        **changes,
    )
    with subprocess.Popen(
        [sys.executable, "-m", "api"], env=settings, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        try:
            yield Process(running, running.stderr)
        finally:
            running.kill()


def test_the_process_serves_logs_lines_of_json_and_ends_well(
    redis_url: str, namespace: str, tmp_path: Path
) -> None:
    with process(redis_url, namespace, tmp_path, THALWEG_LOG_LEVEL="debug") as api:
        with httpx2.Client(base_url=api.address) as http:
            assert http.get("/readyz").status_code == 200
            reply = http.post("/v1/jobs", json=rosenbrock(), headers={"X-Request-Id": "abc"})
            assert reply.status_code == 202
            assert "server" not in reply.headers
            head = http.head(reply.headers["location"])
            assert (head.status_code, head.content) == (200, b"")
        rest = api.end()
    events = [json.loads(line) for line in rest.splitlines()]
    posted = next(event for event in events if event.get("request_id") == "abc")
    assert (posted["method"], posted["path"], posted["status"]) == ("POST", "/v1/jobs", 202)
    assert not [event for event in events if event["level"] == "error"]


def test_a_body_far_too_large_is_refused_while_it_is_sent(
    redis_url: str, namespace: str, tmp_path: Path
) -> None:
    with process(redis_url, namespace, tmp_path) as api, httpx2.Client(timeout=60) as http:
        for content in (b"x" * 50_000_000, (b"x" * 100_000 for _ in range(500))):
            reply = http.post(
                f"{api.address}/v1/jobs",
                content=content,
                headers={"Content-Type": "application/json"},
            )
            assert reply.status_code == 413
            assert reply.json()["code"] == "body_too_large"
        assert http.get(f"{api.address}/livez").status_code == 200


def test_those_who_wait_are_answered_when_the_process_ends(
    redis_url: str, namespace: str, tmp_path: Path
) -> None:
    with process(redis_url, namespace, tmp_path, THALWEG_LOG_LEVEL="debug") as api:
        job = httpx2.post(f"{api.address}/v1/jobs", json=rosenbrock()).json()
        answers: list[httpx2.Response] = []

        def wait() -> None:
            answers.append(httpx2.get(f"{api.address}{job['links']['self']}?wait=60", timeout=60))

        waiting = threading.Thread(target=wait)
        waiting.start()
        api.event("waiting")
        api.end()
        waiting.join()
    assert answers[0].json()["status"] == "queued"


def test_a_caller_who_stops_is_let_go_and_an_idle_connection_is_kept_for_a_while(
    redis_url: str, namespace: str, tmp_path: Path
) -> None:
    limits = {"THALWEG_REQUEST_TIMEOUT_S": "0.5", "THALWEG_KEEP_ALIVE_S": "1"}
    head = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with process(redis_url, namespace, tmp_path, THALWEG_LOG_LEVEL="debug", **limits) as api:
        with socket.create_connection(("127.0.0.1", api.port), timeout=60) as half:
            half.sendall(f'{head}Content-Length: 10\r\n\r\n{{"a"'.encode())
            assert httpx2.get(f"{api.address}/livez").status_code == 200
            assert half.recv(2**16).startswith(b"HTTP/1.1 408 ")
            assert half.recv(1) == b""
            assert httpx2.get(f"{api.address}/livez").status_code == 200
        with socket.create_connection(("127.0.0.1", api.port), timeout=60) as idle:
            began = time.monotonic()
            idle.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while idle.recv(2**16):
                pass
            assert time.monotonic() - began > 0.9
        events = [json.loads(line) for line in api.end().splitlines()]
    assert [event["status"] for event in events if event["event"] == "request refused"] == [408]
    assert not [event for event in events if event["level"] in {"warning", "error"}]
