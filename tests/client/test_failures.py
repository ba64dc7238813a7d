"""The client where the service, or the way to it, fails."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import numpy as np
import pytest

import thalweg
from tests.client.flaky import FlakyProxy
from tests.client.test_client import SPHERE, create
from thalweg import Client
from thalweg.retries import Tries, retry_after


def test_a_hundred_jobs_end_once_each_though_every_fifth_connection_drops(
    flaky: FlakyProxy, client: Client
) -> None:
    short = {"budget": {"max_steps": 3}, "labels": {"test": "flaky"}, "diagnose": "off"}

    def one(number: int) -> str:
        job = create(mine, SPHERE, **short)
        assert job.wait(120).status == "succeeded"
        assert job.history()["loss"].shape == (3,)
        return job.id

    with Client(flaky.url, retry_for_s=60) as mine, ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(one, range(100)))
    assert len(set(ids)) == 100
    made = [job.id for job in client.jobs.list(label="test:flaky")]
    assert sorted(made) == sorted(ids)
    assert min(flaky.seen["dropped"], flaky.seen["429"], flaky.seen["503"]) > 20
    posts = [key for method, path, key in flaky.calls if (method, path) == ("POST", "/v1/jobs")]
    assert len(posts) > 100  # some were sent twice
    assert len(set(posts)) == 100  # under one key each


def test_a_stream_that_is_cut_has_no_gap_and_no_repeat(flaky: FlakyProxy) -> None:
    change = {"budget": {"max_steps": 2_000}, "optimizer": {"kind": "sgd", "lr": 1e-6}}
    with Client(flaky.url, retry_for_s=60) as client:
        job = create(client, SPHERE, **change)
        rows = [each.rows["step"] for each in job.stream(series="loss") if each.rows is not None]
    np.testing.assert_array_equal(np.concatenate(rows), np.arange(2_000))
    assert flaky.seen["cut"] >= 2


def test_a_delete_whose_reply_was_lost_is_done(flaky: FlakyProxy) -> None:
    with Client(flaky.url) as client:
        for _ in range(5):
            job = create(client, SPHERE, budget={"max_steps": 1}).wait(60)
            job.delete()
            with pytest.raises(thalweg.NotFoundError):
                job.refresh()


Reply = tuple[int, dict[str, str], bytes]


class Scripted:
    """A server that answers as it is told, then ends every reply alike."""

    def __init__(self, *replies: Reply) -> None:
        self.asked: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        left = list(replies)
        ours = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                ours.asked[self.command] += 1
                ours.headers.append(dict(self.headers.items()))
                status, headers, body = left.pop(0) if len(left) > 1 else left[0]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> "Scripted":
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        return self

    def __exit__(self, *of: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


BUSY: Reply = (503, {"Retry-After": "3600"}, b'{"code": "no_keys", "detail": "make a key"}')


def test_a_wait_that_would_be_too_long_is_told_at_once() -> None:
    with Scripted(BUSY) as server, Client(server.url, retry_for_s=5) as client:
        with pytest.raises(thalweg.BusyError) as caught:
            client.version()
        assert server.asked == {"GET": 1}
    assert (caught.value.code, caught.value.retry_after_s) == ("no_keys", 3600.0)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int) -> None:
    replies = [
        (status, {}, b"<html>oops"),
        (status, {"Retry-After": "0"}, b""),
        (200, {}, b'{"a": 1}'),
    ]
    with Scripted(*replies) as server, Client(server.url) as client:
        assert client.version() == {"a": 1}
        assert server.asked == {"GET": 3}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 415, 422, 501])
def test_what_will_not_pass_is_told_at_once(status: int) -> None:
    with Scripted((status, {}, b"no JSON at all")) as server, Client(server.url) as client:
        with pytest.raises(thalweg.ServiceError) as caught:
            client.version()
        assert server.asked == {"GET": 1}
    assert caught.value.status == status
    assert "no JSON at all" in str(caught.value)


def test_nobody_there_is_told_with_the_address() -> None:
    with (
        Client("http://127.0.0.1:9", retry_for_s=0.2) as client,
        pytest.raises(thalweg.UnreachableError, match=r"No service answers at http://127.0.0.1:9"),
    ):
        client.version()
    with pytest.raises(thalweg.ThalwegError, match="no address of a service"):
        Client("localhost:8000")


def test_what_would_be_done_twice_is_not_sent_twice() -> None:
    never = Tries(60, repeatable=False)
    assert never.after_loss(sent=True) is None
    assert never.after_status(500, None) is None
    assert Tries(60, repeatable=False).after_loss(sent=False) is not None
    assert Tries(60, repeatable=False).after_status(429, None) is not None


def test_pauses_grow_and_honour_retry_after() -> None:
    tries = Tries(10_000, repeatable=True)
    pauses = [tries.after_status(503, None) or 0.0 for _ in range(10)]
    assert 0.05 <= pauses[0] <= 0.1
    assert all(2.5 <= pause <= 5.0 for pause in pauses[-3:])
    assert (tries.after_status(503, 7.5) or 0.0) >= 7.5
    assert retry_after({"retry-after": "12"}) == 12.0
    assert retry_after({"retry-after": "soon"}) is retry_after({}) is None
    assert retry_after({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}) == 0.0


def test_a_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THALWEG_KEY", "thw_geheim")
    refused: Reply = (401, {}, b'{"code": "unauthorized", "detail": "unknown key"}')
    with Scripted(refused) as server:
        monkeypatch.setenv("THALWEG_URL", server.url)
        with Client() as client, pytest.raises(thalweg.NotAllowedError) as caught:
            client.version()
        assert server.headers[0]["Authorization"] == "Bearer thw_geheim"
        assert server.headers[0]["User-Agent"] == f"thalweg-client/{thalweg.__version__}"
    assert "geheim" not in repr(client) + str(caught.value) + repr(vars(caught.value))


def test_a_redirect_is_not_followed_with_the_key() -> None:
    away = (307, {"Location": "http://127.0.0.1:9/"}, b"")
    with (
        Scripted(away) as server,
        Client(server.url, "thw_x") as client,
        pytest.raises(thalweg.ThalwegError, match=r"sends callers on to http://127.0.0.1:9/"),
    ):
        client.version()


def test_something_else_that_answers_is_no_service() -> None:
    with (
        Scripted((200, {}, b"<html>hello")) as server,
        Client(server.url) as client,
        pytest.raises(thalweg.ThalwegError, match="is no service of Thalweg"),
    ):
        client.version()
