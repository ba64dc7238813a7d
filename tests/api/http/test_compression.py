"""Large replies are compressed where that is accepted; small ones and bytes stay as they are."""

import gzip
from typing import Any

import httpx2
import pytest
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from api.http.compression import LARGE, accepts_gzip
from core.settings import Settings
from tests.api.actors import Api, make_app

ROWS = 2_000


def read(api: Api, path: str, accepted: str = "", method: str = "GET") -> tuple[Any, bytes]:
    """The reply's head, and its body as it came over the wire."""
    headers = {"Accept-Encoding": accepted}
    with api.http.stream(method, path, headers=headers) as reply:
        return reply, b"".join(reply.iter_raw())


@pytest.fixture
def history(api: Api) -> str:
    job_id = api.post()["id"]
    claim = api.worker.claim()
    steps = list(range(ROWS))
    columns: Any = {name: [0.1 * step for step in steps] for name in ("loss", "lr", "grad_norm")}
    api.worker.append(claim, step=steps, **columns, x=[[0.5, 0.25]] * ROWS)
    api.worker.save(claim, b"\0" * 100_000, name="final", step=1)
    api.worker.close(claim)
    return f"/v1/jobs/{job_id}/history?limit={ROWS}"


@pytest.mark.parametrize("form", ["json", "csv", "ndjson"])
def test_a_large_reply_is_the_same_and_shorter(api: Api, history: str, form: str) -> None:
    path = f"{history}&format={form}"
    plain, body = read(api, path)
    assert "content-encoding" not in plain.headers
    head, packed = read(api, path, "br, gzip")
    assert head.headers["content-encoding"] == "gzip"
    assert int(head.headers["content-length"]) == len(packed) < len(body) / 3
    assert gzip.decompress(packed) == body
    assert head.headers["content-type"] == plain.headers["content-type"]
    assert plain.headers["vary"] == head.headers["vary"] == "Accept-Encoding"
    assert read(api, path, "gzip", "HEAD")[0].headers["content-length"] == str(len(packed))


def test_lists_and_documents_are_compressed(api: Api) -> None:
    for _ in range(5):
        api.post()
    for path in ("/v1/jobs", "/openapi.json", "/v1/catalog/optimizers", "/docs/swagger-ui.css"):
        assert read(api, path, "gzip")[0].headers["content-encoding"] == "gzip"


def test_what_is_small_or_packed_already_is_sent_as_it_is(api: Api, history: str) -> None:
    job = history.partition("/history")[0]
    small = [job, "/livez", "/v1/catalog", f"{job}/history?limit=5"]
    packed = [f"{job}/model", f"{history}&format=npz", f"{job}/plot?format=png"]
    for path in [*small, *packed, "/docs/favicon.png"]:
        head, body = read(api, path, "gzip, *")
        assert head.status_code == 200
        assert "content-encoding" not in head.headers
        assert "vary" not in head.headers
        assert body == read(api, path)[1] or path.endswith("png")


@pytest.mark.parametrize(
    ("accepted", "yes"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("deflate, gzip;q=0.5", True),
        ("*", True),
        ("br;q=1, *;q=0.1", True),
        ("x-gzip", True),
        ("gzip; q=1.000", True),
        ("", False),
        ("identity", False),
        ("br, zstd", False),
        ("gzip;q=0", False),
        ("gzip;q=0.0, *", False),
        ("*;q=0", False),
        ("gzip;q=much", False),
        ("gzipped", False),
    ],
)
def test_only_who_accepts_it_gets_it(api: Api, accepted: str, yes: bool) -> None:
    scope = {"headers": [(b"accept-encoding", accepted.encode())]}
    assert accepts_gzip(scope) is yes
    head, _ = read(api, "/v1/catalog/optimizers", accepted)
    assert ("content-encoding" in head.headers) is yes


def test_the_header_may_come_in_parts_or_not_at_all() -> None:
    parts = [(b"accept-encoding", b"br"), (b"accept-encoding", b"gzip")]
    assert accepts_gzip({"headers": parts})
    assert not accepts_gzip({"headers": []})


def test_a_tag_is_the_same_for_both_forms(api: Api) -> None:
    """What was read compressed can be asked for, and deleted, as it was read."""
    data = {"kind": "inline", "features": [[0.125, 1.5]] * 2_000, "targets": [0, 1] * 1_000}
    problem = {"kind": "supervised", "data": data, "model": {"kind": "linear"}}
    job = api.post({"problem": problem, "optimizer": {"kind": "adam"}})
    path = f"/v1/jobs/{job['id']}"
    api.http.post(f"{path}/cancel")
    head, _ = read(api, path, "gzip")
    assert head.headers["content-encoding"] == "gzip"
    tag = head.headers["etag"]
    assert tag == read(api, path)[0].headers["etag"]
    assert api.http.get(path, headers={"If-None-Match": tag}).status_code == 304
    assert api.http.delete(path, headers={"If-Match": tag}).status_code == 204


def test_a_stream_passes_chunk_by_chunk(settings: Settings) -> None:
    async def chunks() -> Any:
        for _ in range(3):
            yield b"data: " + b"x" * LARGE + b"\n\n"

    async def stream(_: Any) -> Response:
        return StreamingResponse(chunks(), media_type="text/event-stream")

    app = make_app(settings)
    app.router.routes.append(Route("/stream", stream))
    with TestClient(app, "http://localhost") as http:
        reply: httpx2.Response = http.get("/stream", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in reply.headers
    assert len(reply.content) == 3 * (LARGE + 8)
