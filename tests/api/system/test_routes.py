"""What the service says of itself, and a Redis that goes away and comes back."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.settings import Settings
from core.store.protocols.types import WorkerInfo
from tests.api.actors import Api, CountingDispatcher, make_app, problem_of, rosenbrock
from tests.api.study_actors import NO_SUCH_STUDY, sweep
from thalweg_service.embedded_redis import EmbeddedServer


def test_livez_and_version_say_little(api: Api) -> None:
    assert api.get("/livez") == {"status": "ok"}
    assert set(api.get("/version")) == {"name", "version", "api"}


def test_readyz_looks_at_redis_and_the_artifacts(api: Api) -> None:
    ready = {"status": "ok", "checks": {"redis": "ok", "artifacts": "ok"}, "workers": 0}
    assert api.get("/readyz") == ready
    for name in ("a", "b"):
        api.worker.store.report_worker(info(name, "2026-11-22T10:00:00.000000Z"), 60)
    assert api.get("/readyz") == {**ready, "workers": 2}
    assert api.worker.artifacts.is_dir()


def test_readyz_names_a_folder_that_cannot_be_used(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    broken = settings.model_copy(update={"artifacts": str(tmp_path / "file" / "below")})
    with TestClient(make_app(broken), "http://localhost") as http:
        reply = http.get("/readyz")
    checks = problem_of(reply, 503, "not_ready")["checks"]
    assert checks["redis"] == "ok"
    assert checks["artifacts"].startswith("cannot be made")
    assert str(tmp_path) not in reply.text
    assert reply.headers["retry-after"]


def info(name: str, started_at: str, current_job: str | None = None) -> WorkerInfo:
    return WorkerInfo(
        name=name,
        devices=("cuda:0", "cpu"),
        queues=("auto", "cuda", "cuda:0", "cpu"),
        current_job=current_job,
        last_heartbeat="2026-11-22T10:00:09.000000Z",
        started_at=started_at,
        pid=7,
        memory_bytes={"cuda:0": 80 * 2**30},
    )


def test_workers_are_listed_newest_first_in_pages(api: Api) -> None:
    job_id = api.post()["id"]
    for index, name in enumerate(("a", "b", "c")):
        started = f"2026-11-22T10:00:0{index}.000000Z"
        api.worker.store.report_worker(info(name, started, job_id), 60)
    page = api.get("/v1/workers", limit=2)
    assert [worker["name"] for worker in page["data"]] == ["c", "b"]
    assert page["data"][0] == {
        "name": "c",
        "devices": ["cuda:0", "cpu"],
        "queues": ["auto", "cuda", "cuda:0", "cpu"],
        "current_job": job_id,
        "last_heartbeat": "2026-11-22T10:00:09.000000Z",
        "started_at": "2026-11-22T10:00:02.000000Z",
        "pid": 7,
        "memory_bytes": {"cuda:0": 80 * 2**30},
    }
    rest = api.get("/v1/workers", limit=2, after=page["next_cursor"])
    assert [worker["name"] for worker in rest["data"]] == ["a"]
    assert (rest["has_more"], rest["next_cursor"]) == (False, None)


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    """A server that this test may stop."""
    folder = Path(tempfile.mkdtemp(prefix="thw-"))
    try:
        with EmbeddedServer(folder, fsync=False) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_without_redis_calls_are_503_and_the_service_recovers_by_itself(
    own_server: EmbeddedServer, tmp_path: Path
) -> None:
    settings = Settings(redis_url=own_server.url, artifacts=str(tmp_path / "artifacts"))
    app = make_app(settings)
    with TestClient(app, "http://localhost") as http:
        job = http.post("/v1/jobs", json=rosenbrock()).json()
        own_server.stop()
        path, study = f"/v1/jobs/{job['id']}", f"/v1/studies/{NO_SUCH_STUDY}"
        for method, url in [
            ("POST", "/v1/jobs"),
            ("GET", "/v1/jobs"),
            ("GET", path),
            ("GET", f"{path}?wait=5"),
            ("GET", f"{path}/history"),
            ("GET", f"{path}/model"),
            ("POST", f"{path}/cancel"),
            ("DELETE", path),
            ("POST", "/v1/studies"),
            ("GET", "/v1/studies"),
            ("GET", study),
            ("GET", f"{study}?wait=5"),
            ("GET", f"{study}/runs"),
            ("GET", f"{study}/runs/0/history"),
            ("GET", f"{study}/comparison"),
            ("POST", f"{study}/cancel"),
            ("DELETE", study),
            ("GET", "/v1/workers"),
        ]:
            bodies: Any = {"/v1/jobs": rosenbrock(), "/v1/studies": sweep()}
            body = bodies.get(url) if method == "POST" else None
            reply = http.request(method, url, json=body)
            problem_of(reply, 503, "store_unavailable")
            assert int(reply.headers["retry-after"]) >= 1
            assert str(own_server.socket) not in reply.text
        reply = http.get("/readyz")
        assert problem_of(reply, 503, "not_ready")["checks"]["redis"] == "cannot be reached"
        assert http.get("/livez").status_code == 200
        own_server.start()
        assert http.get(path).json() == job
        assert http.get("/readyz").status_code == 200
        assert http.post("/v1/jobs", json=rosenbrock()).status_code == 202


def test_the_service_starts_before_its_redis_does(tmp_path: Path) -> None:
    settings = Settings(redis_url="unix:///nonexistent/redis.sock", artifacts=str(tmp_path))
    dispatcher = CountingDispatcher()
    with TestClient(make_app(settings, dispatcher), "http://localhost") as http:
        assert http.get("/livez").status_code == 200
        assert dispatcher.running
        problem_of(http.get("/v1/jobs"), 503, "store_unavailable")
    assert not dispatcher.running


def test_a_full_queue_is_a_503_that_says_so(settings: Settings) -> None:
    with TestClient(make_app(settings, max_queued=1), "http://localhost") as http:
        assert http.post("/v1/jobs", json=rosenbrock()).status_code == 202
        reply = http.post("/v1/jobs", json=rosenbrock())
        problem_of(reply, 503, "queue_full")
        assert int(reply.headers["retry-after"]) >= 1
        assert len(http.get("/v1/jobs").json()["data"]) == 1


def test_an_application_can_be_made_without_a_loop_or_a_connection(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    assert make_app(away).title == "Thalweg"
