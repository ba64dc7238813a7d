"""Who comes in: with no keys everyone on this machine, with keys those who have one."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from api.keys.gate import Gate
from core.artifacts.local import LocalStore
from core.ids import rfc3339
from core.keys import KeyRecord, digest_of, new_key_id
from core.settings import Settings
from core.store.redis.keys import RedisKeys
from tests.api.actors import Api, make_app, problem_of, rosenbrock

NEEDS_A_KEY = (
    "/v1/jobs",
    "/v1/catalog/models",
    "/v1/workers",
    "/v1/usage",
    "/v1/nothing",
    "/metrics",
)
NEEDS_NONE = ("/livez", "/readyz", "/version", "/docs")
Make = Callable[..., str]


@pytest.fixture
def keys(settings: Settings) -> Iterator[RedisKeys]:
    made = RedisKeys(settings.redis_url, settings.namespace)
    yield made
    made.disconnect()


def record(**changes: Any) -> KeyRecord:
    now = rfc3339(datetime.now(UTC))
    usual: dict[str, Any] = {"owner": "acme", "scopes": ("read", "write"), "created_at": now}
    return KeyRecord(id=new_key_id(), **{**usual, **changes})


def as_bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def soon(api: Api) -> None:
    """Let the application look again at once."""
    gate: Gate = api.http.app.state.gate  # type: ignore[attr-defined]
    gate._look_at = 0.0
    gate._known.clear()


def test_without_keys_all_calls_are_open(api: Api) -> None:
    for path in ("/v1/jobs", "/metrics", *NEEDS_NONE):
        assert api.http.get(path).status_code == 200, path


def test_the_first_key_guards_all_that_tells_of_jobs(api: Api, keys: RedisKeys) -> None:
    assert api.http.get("/v1/jobs").status_code == 200
    token = keys.create(record())
    soon(api)
    for path in NEEDS_A_KEY:
        reply = api.http.get(path)
        problem_of(reply, 401, "not_authenticated")
        assert reply.headers["www-authenticate"] == 'Bearer realm="thalweg"'
    for path in NEEDS_NONE:
        assert api.http.get(path).status_code == 200, path
    reply = api.http.post("/v1/jobs", json=rosenbrock(), headers=as_bearer(token))
    assert reply.status_code == 202, reply.text
    assert api.http.get("/v1/nothing", headers=as_bearer(token)).status_code == 404


@pytest.mark.parametrize(
    "given",
    [
        "Bearer",
        "Bearer ",
        "Bearer thw_",
        "Bearer thw_" + 43 * "A",
        "Basic dXNlcjpwYXNz",
        "thw_{token}",
        "Bearer {token}x",
        "Bearer {TOKEN}",
        "Bearer thw_\xe9" + 42 * "A",
        "Bearer " + 5_000 * "A",
        "Bearer {token}, Bearer {token}",
        "Bearer {digest}",
    ],
)
def test_what_is_no_key_is_refused(api: Api, keys: RedisKeys, given: str) -> None:
    token = keys.create(record())
    soon(api)
    text = given.format(token=token, TOKEN=token.upper(), digest=digest_of(token))
    reply = api.http.get("/v1/jobs", headers={b"Authorization": text.encode("latin-1")})
    problem_of(reply, 401, "not_authenticated")
    assert 'error="invalid_token"' in reply.headers["www-authenticate"]
    assert token not in reply.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_of_any_case(api: Api, keys: RedisKeys, scheme: str) -> None:
    token = keys.create(record())
    soon(api)
    headers = {"Authorization": f"{scheme}  {token}"}
    assert api.http.get("/v1/jobs", headers=headers).status_code == 200


def test_two_keys_in_one_request_are_refused(api: Api, keys: RedisKeys) -> None:
    one = keys.create(record())
    soon(api)
    pairs = [("Authorization", f"Bearer {one}"), ("Authorization", f"Bearer {one}")]
    problem_of(api.http.get("/v1/jobs", headers=pairs), 400, "malformed_request")


SCOPES: list[tuple[tuple[str, ...], str, str, int]] = [
    (("read",), "GET", "/v1/jobs", 200),
    (("read",), "HEAD", "/v1/jobs", 200),
    (("read",), "GET", "/metrics", 200),
    (("read",), "POST", "/v1/jobs", 403),
    (("read",), "POST", "/v1/studies", 403),
    (("read",), "DELETE", "/v1/jobs/job_00000000000000000000000000", 403),
    (("read",), "PATCH", "/v1/jobs/job_00000000000000000000000000", 403),
    (("read",), "POST", "/v1/jobs/validate", 200),
    (("read",), "POST", "/v1/functions/values", 422),
    (("write",), "GET", "/v1/jobs", 403),
    (("write",), "POST", "/v1/jobs", 202),
    (("write",), "POST", "/v1/jobs/validate", 403),
    (("write",), "POST", "/v1/functions/values", 403),
    (("admin",), "GET", "/v1/jobs", 200),
    (("admin",), "POST", "/v1/jobs", 202),
]


@pytest.mark.parametrize(("scopes", "method", "path", "status"), SCOPES)
def test_scopes_say_what_a_key_may_do(
    api: Api, keys: RedisKeys, scopes: tuple[Any, ...], method: str, path: str, status: int
) -> None:
    token = keys.create(record(scopes=scopes))
    soon(api)
    body = rosenbrock() if method == "POST" else None
    reply = api.http.request(method, path, json=body, headers=as_bearer(token))
    assert reply.status_code == status, reply.text
    assert reply.headers["thalweg-scopes"] == ", ".join(scopes)
    if status == 403:
        problem = problem_of(reply, 403, "missing_scope")
        wanted = "read" if method == "GET" or path.endswith(("validate", "values")) else "write"
        assert f'scope="{wanted}"' in reply.headers["www-authenticate"]
        assert wanted in problem["detail"]


def test_a_key_ends_when_it_is_revoked_or_expires(api: Api, keys: RedisKeys) -> None:
    past = rfc3339(datetime.now(UTC) - timedelta(seconds=1))
    later = rfc3339(datetime.now(UTC) + timedelta(days=1))
    expired, lasting = keys.create(record(expires_at=past)), keys.create(record(expires_at=later))
    other = record(name="other")
    revoked = keys.create(other)
    soon(api)
    assert api.http.get("/v1/jobs", headers=as_bearer(revoked)).status_code == 200
    assert keys.revoke(other.id).revoked_at is not None
    soon(api)
    for token, word in ((expired, "expired"), (revoked, "revoked")):
        reply = api.http.get("/v1/jobs", headers=as_bearer(token))
        assert word in problem_of(reply, 401, "not_authenticated")["detail"]
    assert api.http.get("/v1/jobs", headers=as_bearer(lasting)).status_code == 200


def test_a_rotated_key_has_a_new_token_and_the_old_one_its_grace(api: Api, keys: RedisKeys) -> None:
    key = record(name="robot")
    first = keys.create(key)
    soon(api)
    found, second = keys.rotate(key.id, 60.0)
    assert (found.id, found.owner, found.name) == (key.id, "acme", "robot")
    assert found.rotated_at is not None
    for token in (first, second):
        assert api.http.get("/v1/jobs", headers=as_bearer(token)).status_code == 200
    _, third = keys.rotate(key.id, 0.0)
    soon(api)
    taken = [api.http.get("/v1/jobs", headers=as_bearer(each)) for each in (first, second, third)]
    assert [reply.status_code for reply in taken] == [401, 401, 200]


def test_only_a_digest_is_stored(api: Api, keys: RedisKeys, redis_url: str, namespace: str) -> None:
    token = keys.create(record())
    with redis.Redis.from_url(redis_url) as client:
        for name in client.scan_iter(f"{namespace}:*"):
            kind = client.type(name)
            value = {b"hash": client.hgetall, b"string": client.get}.get(kind, lambda _: "")(name)
            assert token not in repr(value)
            assert token[4:] not in repr(name)


def test_the_last_use_is_noted_once_a_minute(api: Api, keys: RedisKeys) -> None:
    key = record()
    token = keys.create(key)
    soon(api)
    assert keys.list()[0].last_used_at is None
    for _ in range(3):
        assert api.http.get("/v1/jobs", headers=as_bearer(token)).status_code == 200
    give_up = time.monotonic() + 10
    while (noted := keys.get(key.id).last_used_at) is None:  # it is written beside the request
        assert time.monotonic() < give_up
    api.http.get("/v1/jobs", headers=as_bearer(token))
    assert keys.get(key.id).last_used_at == noted


def test_an_emptied_store_does_not_open_the_service(
    settings: Settings, keys: RedisKeys, redis_url: str, namespace: str
) -> None:
    keys.create(record())
    with TestClient(make_app(settings), "http://localhost") as http:
        problem_of(http.get("/v1/jobs"), 401, "not_authenticated")
    with redis.Redis.from_url(redis_url) as client:
        client.unlink(*client.scan_iter(f"{namespace}:key*"))
    assert keys.state() == (0, False)
    with TestClient(make_app(settings), "http://localhost") as http:
        problem_of(http.get("/v1/jobs"), 401, "not_authenticated")


@pytest.mark.parametrize("insecure", [False, True])
def test_an_open_address_without_a_key_that_is_taken_answers_probes_alone(
    settings: Settings, keys: RedisKeys, insecure: bool
) -> None:
    key = record()
    token = keys.create(key)
    opened = settings.model_copy(update={"host": "0.0.0.0", "insecure_listen": insecure})
    with TestClient(make_app(opened), "http://thalweg.example") as http:
        assert http.get("/v1/jobs", headers=as_bearer(token)).status_code == 200
        assert http.get("/version").status_code == 200
        problem_of(http.get("/v1/jobs"), 401, "not_authenticated")
        keys.revoke(key.id)
        http.app.state.gate._known.clear()  # type: ignore[attr-defined]
        for path in (*NEEDS_A_KEY, "/version", "/docs", "/openapi.json", "/nothing"):
            problem_of(http.get(path, headers=as_bearer(token)), 503, "no_keys")
            problem_of(http.get(path), 503, "no_keys")
        assert http.get("/livez").status_code == 200
        assert http.get("/readyz").status_code == 200


def test_pages_of_other_sites_and_other_names_need_a_key_and_no_more(
    api: Api, keys: RedisKeys
) -> None:
    foreign = {"Host": "thalweg.example", "Origin": "https://evil.example"}
    problem_of(api.http.get("/v1/jobs", headers=foreign), 403, "foreign_host")
    token = keys.create(record())
    soon(api)
    problem_of(api.http.get("/v1/jobs", headers=foreign), 401, "not_authenticated")
    reply = api.http.get("/v1/jobs", headers={**foreign, **as_bearer(token)})
    assert reply.status_code == 200
    assert "access-control-allow-origin" not in reply.headers


def test_a_browser_asks_before_it_sends_the_key(settings: Settings, keys: RedisKeys) -> None:
    keys.create(record())
    named = settings.model_copy(update={"cors_origins": "https://app.example"})
    asked = {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    with TestClient(make_app(named), "http://localhost") as http:
        origin = {"Origin": "https://app.example"}
        assert http.options("/v1/jobs", headers={**origin, **asked}).status_code == 200
        reply = http.get("/v1/jobs", headers=origin)
        problem_of(reply, 401, "not_authenticated")
        assert reply.headers["access-control-allow-origin"] == "https://app.example"
        other = {"Origin": "https://evil.example", **asked}
        problem_of(http.options("/v1/jobs", headers=other), 401, "not_authenticated")


def test_a_name_may_be_used_again_once_its_key_is_revoked(keys: RedisKeys) -> None:
    old, new = record(name="robot"), record(name="robot")
    keys.create(old)
    keys.revoke(old.id)
    keys.create(new)
    assert keys.get("robot").id == new.id


def test_the_note_among_artifacts_is_no_jobs(tmp_path: Path) -> None:
    artifacts = LocalStore(tmp_path / "artifacts")
    assert not artifacts.has_keys()
    artifacts.note_keys()
    artifacts.note_keys()
    assert artifacts.has_keys()
