"""Pages of other sites: none may call unless it is named (CORS)."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from core.settings import Settings
from tests.api.actors import Api, make_app, problem_of, rosenbrock

PAGE = "https://app.example"


@pytest.fixture
def readable(settings: Settings) -> Iterator[TestClient]:
    """An API that pages of two other sites may call."""
    allowing = settings.model_copy(update={"cors_origins": f"{PAGE}, http://10.0.0.7:3000"})
    with TestClient(make_app(allowing), "http://localhost") as http:
        yield http


@pytest.mark.parametrize("origin", [PAGE, "http://10.0.0.7:3000"])
def test_pages_that_are_named_may_call_and_read(readable: TestClient, origin: str) -> None:
    made = readable.post("/v1/jobs", json=rosenbrock(), headers={"Origin": origin})
    assert made.status_code == 202
    replies = [
        made,
        readable.get(made.headers["location"], headers={"Origin": origin}),
        readable.get("/v1/nope", headers={"Origin": origin}),
        readable.post("/v1/jobs", content="x", headers={"Origin": origin}),
        readable.post("/v1/jobs", content=b" " * 20_000_000, headers={"Origin": origin}),
    ]
    assert [reply.status_code for reply in replies] == [202, 200, 404, 415, 413]
    for reply in replies:
        assert reply.headers["access-control-allow-origin"] == origin
        assert "access-control-allow-credentials" not in reply.headers
        exposed = reply.headers["access-control-expose-headers"].lower()
        for name in ("location", "etag", "retry-after", "x-request-id"):
            assert name in exposed


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH"])
def test_a_page_may_ask_what_it_may_send(readable: TestClient, method: str) -> None:
    sent = "authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id"
    asks = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": sent}
    reply = readable.options("/v1/jobs", headers={"Origin": PAGE, **asks})
    assert reply.status_code == 200
    assert reply.headers["access-control-allow-origin"] == PAGE
    assert method in reply.headers["access-control-allow-methods"]


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", f"{PAGE}.evil.example", f"{PAGE}:444", "http://app.example", "null"],
)
def test_other_pages_may_not_with_some_that_may(readable: TestClient, origin: str) -> None:
    asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    for reply in (
        readable.get("/v1/jobs", headers=asks),
        readable.options("/v1/jobs", headers=asks),
    ):
        problem_of(reply, 403, "foreign_origin")
        assert not [name for name in reply.headers if name.startswith("access-control")]


def test_nothing_is_said_of_other_sites_unless_some_are_named(api: Api) -> None:
    for origin in ("http://localhost:3000", None):
        reply = api.http.get("/v1/jobs", headers={"Origin": origin} if origin else {})
        assert not [name for name in reply.headers if name.startswith("access-control")]
    asks = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    problem_of(api.http.options("/v1/jobs", headers=asks), 405, "method_not_allowed")
