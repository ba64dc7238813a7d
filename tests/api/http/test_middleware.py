"""What every call meets: who may ask, how large, in which form, and how refusals look."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.http.middleware import ONCE
from api.services.dependencies import Route
from core.artifacts.local import LocalStore
from core.errors import ArtifactError, ConflictError, StoreUnavailableError
from core.settings import Settings
from core.store.protocols.api import ApiStore
from tests.api.actors import (
    NO_SUCH_JOB,
    Api,
    CountingDispatcher,
    make_app,
    problem_of,
    refused_params,
    rosenbrock,
)

GETS = [
    "/livez",
    "/readyz",
    "/version",
    "/v1/workers",
    "/v1/jobs",
    f"/v1/jobs/{NO_SUCH_JOB}",
    f"/v1/jobs/{NO_SUCH_JOB}/history",
    f"/v1/jobs/{NO_SUCH_JOB}/model",
    f"/v1/jobs/{NO_SUCH_JOB}/checkpoints",
    f"/v1/jobs/{NO_SUCH_JOB}/diagnosis",
    f"/v1/jobs/{NO_SUCH_JOB}/plot",
    "/v1/catalog",
    "/v1/catalog/optimizers",
    "/v1/catalog/schedules/cosine/preview",
    "/openapi.json",
    "/docs",
]


PROBES = ["/livez", "/readyz"]


POSTS = ["/v1/jobs", "/v1/jobs/validate", f"/v1/jobs/{NO_SUCH_JOB}/cancel"]


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:8000"],
)
def test_loopback_hosts_are_answered_on_any_port(api: Api, host: str) -> None:
    assert api.http.get("/livez", headers={"Host": host}).status_code == 200


FOREIGN = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.nip.io",
    "10.0.0.1",
    "10.0.0.1:8000",
    "",
    "[::2]",
    "[fd00::7]:8000",
    "a:b:c",
]


@pytest.mark.parametrize("host", FOREIGN)
def test_a_foreign_host_is_refused(api: Api, host: str) -> None:
    for path in GETS:
        if path not in PROBES:
            problem_of(api.http.get(path, headers={"Host": host}), 403, "foreign_host")


@pytest.mark.parametrize("path", PROBES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_probes_take_any_host(api: Api, method: str, path: str) -> None:
    for host in FOREIGN:
        assert api.http.request(method, path, headers={"Host": host}).status_code == 200
        headers = {"Host": host, "Origin": "https://evil.example"}
        assert api.http.request(method, path, headers=headers).status_code == 403
        for other in (f"{path}/", f"{path}/..%2fversion", f"/v1{path}"):
            assert api.http.get(other, headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:9"])
def test_pages_of_this_machine_may_call(api: Api, origin: str) -> None:
    reply = api.http.post("/v1/jobs", json=rosenbrock(), headers={"Origin": origin})
    assert reply.status_code == 202


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://[", "localhost"])
def test_pages_of_other_sites_may_not(api: Api, origin: str) -> None:
    reply = api.http.post("/v1/jobs", json=rosenbrock(), headers={"Origin": origin})
    problem_of(reply, 403, "foreign_origin")
    assert api.get("/v1/jobs")["data"] == []


@pytest.mark.parametrize("first", ["https://evil.example", "http://localhost", ""])
@pytest.mark.parametrize("second", ["https://evil.example", "http://localhost", ""])
def test_two_origins_are_none_of_ours(api: Api, first: str, second: str) -> None:
    headers = [("Origin", first), ("Origin", second)]
    reply = api.http.post("/v1/jobs", json=rosenbrock(), headers=headers)
    problem_of(reply, 403, "foreign_origin")
    assert api.get("/v1/jobs")["data"] == []


@pytest.mark.parametrize("name", [name.decode() for name in ONCE])
def test_a_header_of_one_value_may_come_once_only(api: Api, name: str) -> None:
    value = {"content-type": "application/json", "content-length": "2"}.get(name, "identity")
    headers = [(name, value), (name, value)]
    reply = api.http.post("/v1/jobs", content=b"{}", headers=headers)
    detail = problem_of(reply, 400, "malformed_request")["detail"]
    assert name in detail.lower()


def test_headers_that_are_lists_may_come_more_than_once(api: Api) -> None:
    headers = [("Accept", "application/json"), ("Accept", "*/*"), ("Prefer", "a"), ("Prefer", "b")]
    assert api.http.get("/v1/jobs", headers=headers).status_code == 200


def test_trusted_hosts_are_answered_too(settings: Settings) -> None:
    trusting = settings.model_copy(
        update={"trusted_hosts": "api, thalweg.internal,10.0.0.7,fd00::7"}
    )
    with TestClient(make_app(trusting), "http://api:8000") as http:
        assert http.get("/version").status_code == 200
        headers = {"Host": "THALWEG.internal:80", "Origin": "http://api"}
        assert http.get("/version", headers=headers).status_code == 200
        for host in ("[fd00::7]:8000", "[fd00::7]", "10.0.0.7", "10.0.0.7:1"):
            assert http.get("/version", headers={"Host": host}).status_code == 200
        problem_of(http.get("/version", headers={"Host": "other"}), 403, "foreign_host")


@pytest.mark.parametrize("path", GETS)
def test_unknown_query_parameters_are_refused_everywhere(api: Api, path: str) -> None:
    assert refused_params(api.http.get(f"{path}?nonsense=1")) == ["nonsense"]
    assert refused_params(api.http.get(f"{path}?nonsense=&nonsense=2&")) in (
        ["nonsense"],
        ["nonsense", "nonsense"],
    )


@pytest.mark.parametrize("path", POSTS)
def test_calls_that_take_no_query_say_so(api: Api, path: str) -> None:
    reply = api.http.post(f"{path}?limit=1", json=rosenbrock())
    assert refused_params(reply) == ["limit"]
    assert "takes none" in reply.text
    assert refused_params(api.http.delete(f"/v1/jobs/{NO_SUCH_JOB}?force=1")) == ["force"]


@pytest.mark.parametrize("path", GETS)
def test_head_answers_as_get_does_without_a_body(api: Api, path: str) -> None:
    get, head = api.http.get(path), api.http.head(path)
    assert head.content == b""
    assert head.status_code == get.status_code
    for name in ("content-type", "content-length"):
        assert head.headers[name] == get.headers[name]


@pytest.mark.parametrize(
    "path",
    [
        "/none",
        "/v1",
        "/v1/",
        "/v1/jobs/",
        "/livez/",
        f"/v1/jobs/{NO_SUCH_JOB}/",
        "http://localhost//livez",
        "/v1%2fjobs",
        "/v1/catalog%2Fmodels",
    ],
)
def test_no_path_is_a_404_and_never_a_redirect(api: Api, path: str) -> None:
    problem_of(api.http.get(path, follow_redirects=False), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/jobs", "GET, HEAD, POST"),
        ("PUT", f"/v1/jobs/{NO_SUCH_JOB}", "DELETE, GET, HEAD, PATCH"),
        ("GET", "/v1/jobs/validate", "POST"),
        ("DELETE", "/v1/jobs/validate", "POST"),
        ("GET", f"/v1/jobs/{NO_SUCH_JOB}/cancel", "POST"),
        ("POST", "/livez", "GET, HEAD"),
        ("OPTIONS", "/docs", "GET, HEAD"),
        ("TRACE", f"/v1/jobs/{NO_SUCH_JOB}/history", "GET, HEAD"),
    ],
)
def test_a_405_lists_all_methods_of_the_path(api: Api, method: str, path: str, allow: str) -> None:
    reply = api.http.request(method, path)
    problem_of(reply, 405, "method_not_allowed")
    assert reply.headers["allow"] == allow


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/validate"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_a_body_that_is_not_declared_as_json_is_refused(
    api: Api, path: str, headers: dict[str, str]
) -> None:
    reply = api.http.post(path, content=json.dumps(rosenbrock()), headers=headers)
    problem_of(reply, 415, "unsupported_media_type")


@pytest.mark.parametrize("type_", ["application/json; charset=UTF-8", "Application/JSON ; a=b"])
def test_json_may_be_declared_in_more_words(api: Api, type_: str) -> None:
    reply = api.http.post(
        "/v1/jobs", content=json.dumps(rosenbrock()), headers={"Content-Type": type_}
    )
    assert reply.status_code == 202


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("declared", [True, False])
def test_a_body_that_is_too_large_is_refused(settings: Settings, path: str, declared: bool) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(1000):
            yield b" " * 100

    small = settings.model_copy(update={"max_body_bytes": 10_000})
    content: Any = b" " * 100_000 if declared else pieces()
    with TestClient(make_app(small), "http://localhost") as http:
        reply = http.post(path, content=content, headers={"Content-Type": "application/json"})
        assert "10000" in problem_of(reply, 413, "body_too_large")["detail"]
        body = json.dumps(rosenbrock()).ljust(10_000).encode()
        reply = http.post(
            "/v1/jobs/validate", content=body, headers={"Content-Type": "application/json"}
        )
        assert reply.status_code == 200


def test_a_request_id_is_kept_if_it_is_harmless_and_made_if_not(api: Api) -> None:
    kept = api.http.get("/livez", headers={"X-Request-Id": "abc-123"})
    assert kept.headers["x-request-id"] == "abc-123"
    for sent in ("a b", "x" * 65, '"><script>', ""):
        made = api.http.get("/livez", headers={"X-Request-Id": sent}).headers["x-request-id"]
        assert made != sent
        assert len(made) == 16


def test_a_hostile_path_is_only_echoed_encoded(api: Api) -> None:
    reply = api.http.get("/<script>alert(1)</script>%0d%0aX-Evil:%201")
    body = problem_of(reply, 404, "not_found")
    assert "<" not in body["instance"]
    assert "x-evil" not in reply.headers
    assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RuntimeError("secret: /etc/passwd"), 500, "internal_error"),
        (AssertionError("secret"), 500, "internal_error"),
        (StoreUnavailableError("Redis is away.", 2.5), 503, "store_unavailable"),
        (ArtifactError("No space."), 503, "artifact_store_unavailable"),
        (ConflictError("not_ready", "Not yet."), 409, "not_ready"),
    ],
)
def test_every_error_leaves_as_a_problem_and_faults_say_nothing_of_their_cause(
    settings: Settings, error: Exception, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise error

    caplog.set_level(logging.CRITICAL)
    app = make_app(settings)
    app.router.routes.append(Route("/fail", fail, methods=["GET"]))
    with TestClient(app, "http://localhost") as http:
        reply = http.get("/fail")
    problem_of(reply, status, code)
    assert "secret" not in reply.text
    assert reply.headers["x-request-id"]
    if status == 503:
        assert reply.headers["retry-after"] == ("3" if code == "store_unavailable" else "1")


def test_faults_are_logged_with_their_trace_and_the_requests_id(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        events = None
        datasets = None
        keys = None

        async def open(self) -> None:
            pass

        async def aclose(self) -> None:
            pass

    app = create_app(settings, cast(ApiStore, Broken()), CountingDispatcher(), LocalStore(tmp_path))
    with caplog.at_level(logging.ERROR), TestClient(app, "http://localhost") as http:
        reply = http.get("/v1/workers")
    problem_of(reply, 500, "internal_error")
    records = [record for record in caplog.records if record.message == "request failed"]
    assert records[0].exc_info
    fields = cast(dict[str, str], vars(records[0])["fields"])
    assert fields["request_id"] == reply.headers["x-request-id"]
