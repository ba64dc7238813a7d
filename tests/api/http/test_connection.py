"""What a caller may keep the service busy with before it says anything useful, by raw sockets."""

import asyncio
import contextlib
import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from api.http.connection import MAX_HEAD_BYTES, Connection, Joined
from tests.thalweg_service.running import until

PATIENCE_S = 0.4
LARGE = 2**25


class Application:
    """Answers with the size of the body; `/large` with much, `/held` once it is released, `/early`
    before it reads; `/pieces` does not say how long its reply is."""

    def __init__(self) -> None:
        self.held = threading.Event()
        self.asked: list[str] = []
        self.ends: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["path"])
        if scope["path"] == "/held":
            await asyncio.to_thread(self.held.wait)
        size, message = 0, dict[str, Any]()
        if scope["path"] != "/early":
            while message.get("more_body", True):
                message = dict(await receive())
                if message["type"] == "http.disconnect":
                    self.ends.append("disconnected")
                    return
                size += len(message["body"])
        body = b"x" * LARGE if scope["path"] == "/large" else str(size).encode()
        if scope["path"] == "/pieces":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for piece in (b"one\n", b"", b"two\n"):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"three\n"})
            return
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        for start in range(0, len(body), 2**16):
            piece = body[start : start + 2**16]
            more = start + len(piece) < len(body)
            await send({"type": "http.response.body", "body": piece, "more_body": more})


class Serving:
    def __init__(self, port: int, server: uvicorn.Server, app: Application) -> None:
        self.port = port
        self.app = app
        self._server = server

    @property
    def connections(self) -> int:
        return len(self._server.server_state.connections)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def ask(self, *pieces: bytes) -> bytes:
        """All that comes back until the connection is closed."""
        with self.connect() as caller:
            for piece in pieces:
                caller.sendall(piece)
            return rest(caller)


@contextmanager
def serving(**limits: Any) -> Iterator[Serving]:
    """The application behind connections with these limits."""
    limits = {"patience_s": PATIENCE_S, "max_connections": 50, **limits}
    app = Application()
    config = uvicorn.Config(
        app,
        http=type("Limited", (Connection,), limits),
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
    )
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Serving(listening.getsockname()[1], server, app)
    finally:
        app.held.set()
        server.should_exit = server.force_exit = True
        thread.join()
        listening.close()


@pytest.fixture(scope="module")
def service() -> Iterator[Serving]:
    with serving() as service:
        yield service


def rest(caller: socket.socket) -> bytes:
    """What still comes until the other end closes."""
    came = []
    with contextlib.suppress(ConnectionResetError):
        while piece := caller.recv(2**16):
            came.append(piece)
    return b"".join(came)


def problem_of(reply: bytes, status: int, code: str) -> dict[str, Any]:
    """The body of a reply, which must be this problem and the last one of its connection."""
    head, _, body = reply.partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    named = dict(header.split(": ", 1) for header in headers)
    assert line.startswith(f"HTTP/1.1 {status} "), reply
    assert named["content-type"] == "application/problem+json"
    assert named["connection"] == "close"
    assert named["content-length"] == str(len(body))
    assert named["x-request-id"]
    found: dict[str, Any] = json.loads(body)
    assert found["status"] == status
    assert found["code"] == code
    return found


HOST = b"Host: localhost\r\n"
CLOSE = b"Connection: close\r\n"
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


def head_of(kind: str, size: int) -> bytes:
    """A request whose target, header names and values have `size` bytes, with four a header."""
    plain = {"Host": "localhost", "Connection": "close"}
    left = size - len("/") - sum(len(name) + len(value) + 4 for name, value in plain.items())
    target, more = "/", {}
    if kind == "target":
        target = "/" + "a" * left
    elif kind == "value":
        more = {"X": "a" * (left - 5)}
    elif kind == "name":
        more = {"X" * (left - 5): "a"}
    else:
        more = {f"x-{i:08}": "a" * 85 for i in range(left // 99)}
        more["x"] = "a" * (left % 99 + 94 if left % 99 < 5 else left % 99 - 5)
        if left % 99 < 5:
            del more["x-00000000"]
    lines = [f"GET {target} HTTP/1.1", *(f"{n}: {v}" for n, v in {**plain, **more}.items())]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize("kind", ["target", "value", "name", "many"])
def test_a_head_of_the_largest_size_is_taken_and_one_byte_more_is_refused(
    service: Serving, kind: str
) -> None:
    assert service.ask(head_of(kind, MAX_HEAD_BYTES)).startswith(b"HTTP/1.1 200 ")
    too_large = head_of(kind, MAX_HEAD_BYTES + 1)
    found = problem_of(service.ask(too_large), 431, "head_too_large")
    before = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nxx"
    with service.connect() as caller:  # behind another request
        caller.sendall(before)
        assert b"HTTP/1.1 200 " in caller.recv(2**16)
        caller.sendall(too_large)
        problem_of(rest(caller).lstrip(b"2"), 431, "head_too_large")
    assert str(MAX_HEAD_BYTES) in found["detail"]


ENDLESS = {
    "a target": (b"GET /", 431, "head_too_large"),
    "a header's name": (b"GET / HTTP/1.1\r\n", 431, "head_too_large"),
    "a header's value": (b"GET / HTTP/1.1\r\nX: ", 431, "head_too_large"),
    "what is no method": (b"", 400, "malformed_request"),
    "a chunk's extension": (CHUNKED + b"1;", 400, "malformed_request"),
    "a trailer": (CHUNKED + b"0\r\nX: ", 400, "malformed_request"),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_what_has_no_end_is_cut_off_soon(service: Serving, what: str) -> None:
    begin, status, code = ENDLESS[what]
    with service.connect() as caller:
        sent = 0
        try:
            caller.sendall(begin)
            for _ in range(1000):
                caller.sendall(b"a" * 2**14)
                sent += 2**14
        except ConnectionError:
            pass
        else:
            pytest.fail("16 MB were taken")
    # Whoever stops there reads why.
    with service.connect() as caller:
        caller.sendall(begin + b"a" * 2**14)
        for _ in range(20):
            caller.settimeout(0.05)
            try:
                caller.sendall(b"a" * 2**14)
                reply = caller.recv(2**16)
                break
            except TimeoutError:
                continue
        caller.settimeout(60)
        problem_of(reply + rest(caller), status, code)


def test_nothing_at_all_is_closed_without_a_word(service: Serving) -> None:
    assert service.ask() == b""


HALVES = {
    "half a request line": b"GET / HT",
    "half a header": b"GET / HTTP/1.1\r\nHost: loc",
    "a head without its end": b"GET / HTTP/1.1\r\nHost: localhost\r\n",
    "empty lines": b"\r\n\r\n",
    "no body": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n",
    "half a body": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345",
    "no chunk": CHUNKED,
    "half a chunk": CHUNKED + b"a\r\n12345",
    "no last chunk": CHUNKED + b"5\r\n12345\r\n",
    "half a trailer": CHUNKED + b"0\r\nX: y\r\n",
}


@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_half_a_request_has_its_time_and_no_more(service: Serving, before: bytes) -> None:
    callers = {}
    for half, sent in HALVES.items():
        caller = callers[half] = service.connect()
        caller.sendall(before)
        if before:
            assert caller.recv(2**16).startswith(b"HTTP/1.1 200 ")
        caller.sendall(sent)
    for half, caller in callers.items():
        reply = rest(caller)
        caller.close()
        found = problem_of(reply[reply.index(b"HTTP") :], 408, "request_timeout")
        assert ("body" if b"POST" in HALVES[half] else "head") in found["detail"], half
    until(lambda: service.connections == 0)


def test_a_body_that_comes_fast_enough_may_take_longer_than_a_head(service: Serving) -> None:
    with service.connect() as caller:
        caller.sendall(b"POST / HTTP/1.1\r\n" + HOST + CLOSE + b"Content-Length: 4001\r\n\r\n")
        caller.sendall(b"x" * 4000)
        service.ask(b"GET")  # has waited for its time
        service.ask(b"GET")
        caller.sendall(b"x")
        assert rest(caller).endswith(b"4001")


def test_a_refusal_carries_the_callers_id_of_the_request(service: Serving) -> None:
    head = b"POST / HTTP/1.1\r\n" + HOST + b"X-Request-Id: abc\r\nContent-Length: 10\r\n\r\n"
    assert b"\r\nx-request-id: abc\r\n" in service.ask(head + b"12345")


def test_the_application_hears_that_no_more_of_the_body_comes(service: Serving) -> None:
    service.app.ends.clear()
    problem_of(service.ask(CHUNKED + b"5\r\n12345\r\n"), 408, "request_timeout")
    until(lambda: service.app.ends == ["disconnected"])


def test_time_in_which_we_do_not_read_is_not_the_callers() -> None:
    with serving() as service, service.connect() as caller:
        caller.sendall(b"GET /held HTTP/1.1\r\n" + HOST + b"\r\nGET / HTTP/1.1\r\nHost: loc")
        service.ask(b"GET")  # has waited for its time
        service.ask(b"GET")
        service.app.held.set()
        assert caller.recv(2**16).startswith(b"HTTP/1.1 200 ")
        caller.sendall(b"alhost\r\n" + CLOSE + b"\r\n")
        assert b"HTTP/1.1 200 " in rest(caller)


def test_a_reply_that_nobody_takes_is_given_up() -> None:
    with serving() as service, service.connect() as caller:
        caller.sendall(b"GET /large HTTP/1.1\r\n" + HOST + b"\r\n")
        until(lambda: service.app.asked == ["/large"])
        until(lambda: service.connections == 0)
        assert len(rest(caller)) < LARGE


def test_a_reply_that_is_taken_slowly_is_sent_to_its_end(service: Serving) -> None:
    with service.connect() as caller:
        caller.sendall(b"GET /large HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
        size = 0
        for taken in range(2**22, 2**24, 2**22):
            while size < taken:
                size += len(caller.recv(2**18))
            service.ask(b"GET")  # a pause of one time
        size += len(rest(caller))
    assert size > LARGE


@pytest.mark.parametrize("line", [b"", b"Connection: keep-alive\r\n"])
@pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD"])
def test_a_caller_of_http_1_0_gets_no_chunks(service: Serving, method: bytes, line: bytes) -> None:
    for path, body in ((b"/pieces", b"one\ntwo\nthree\n"), (b"/", b"0")):
        head, _, found = service.ask(
            method + b" " + path + b" HTTP/1.0\r\n" + HOST + line + b"\r\n"
        ).partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head.lower()
        assert b"connection: close" in head
        assert found == (b"" if method == b"HEAD" else body)


def test_the_rest_of_a_body_that_nobody_wants_has_an_end() -> None:
    with serving(linger_s=0.2, patience_s=30) as service, service.connect() as caller:
        caller.sendall(b"POST /early HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000000\r\n\r\n")
        assert caller.recv(2**16).startswith(b"HTTP/1.1 200 ")
        with pytest.raises(ConnectionError):
            caller.sendall(b"x" * 900_000_000)


def test_a_body_that_ends_after_its_answer_leaves_the_connection_open() -> None:
    with serving(linger_s=30, patience_s=30) as service, service.connect() as caller:
        caller.sendall(b"POST /early HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\n")
        assert caller.recv(2**16).startswith(b"HTTP/1.1 200 ")
        caller.sendall(b"xxxGET / HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
        assert rest(caller).startswith(b"HTTP/1.1 200 ")


class FakeTransport:
    """Keeps what is written, a list for each write."""

    def __init__(self) -> None:
        self.writes: list[list[bytes]] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.writes.append([data])

    def writelines(self, several: list[bytes]) -> None:
        assert not self.closed
        self.writes.append(several)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return sum(len(each) for several in self.writes for each in several)


@pytest.mark.anyio
async def test_head_and_body_are_one_write_and_nothing_waits_longer_than_a_turn() -> None:
    transport = FakeTransport()
    joined = Joined(cast(asyncio.Transport, transport), asyncio.get_running_loop())
    joined.write(b"head")
    assert joined.get_write_buffer_size() == 4
    joined.write(b"body")
    assert transport.writes == [[b"head", b"body"]]
    await asyncio.sleep(0)
    for piece in (b"one", b"two", b"", b"three"):  # of a stream
        joined.write(piece)
        await asyncio.sleep(0)
    assert transport.writes[1:] == [[b"one"], [b"two"], [b"three"]]
    joined.write(b"head alone")
    joined.write(b"")  # a reply without a body
    joined.write(b"last")
    assert joined.get_write_buffer_size() == transport.get_write_buffer_size() + 4
    joined.close()
    assert (transport.writes[-2:], transport.closed) == ([[b"head alone", b""], [b"last"]], True)


@pytest.mark.anyio
async def test_a_head_for_a_connection_that_is_lost_goes_nowhere() -> None:
    transport = FakeTransport()
    joined = Joined(cast(asyncio.Transport, transport), asyncio.get_running_loop())
    joined.write(b"head")
    transport.closed = True
    await asyncio.sleep(0)
    assert not transport.writes
    assert not joined.get_write_buffer_size()
    assert joined.is_closing()


def test_requests_in_one_piece_are_answered_one_after_another(service: Serving) -> None:
    one = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 40000\r\n\r\n" + b"x" * 40_000
    last = b"POST / HTTP/1.1\r\n" + HOST + CLOSE + b"Content-Length: 3\r\n\r\nxxx"
    reply = service.ask(5 * one + last)
    assert reply.count(b"HTTP/1.1 200 ") == 6
    assert reply.endswith(b"\r\n\r\n3")


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
        CHUNKED + b"zz\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"CONNECT x HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET http://localhost HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
)
@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"])
def test_what_is_no_http_is_a_problem_document(
    service: Serving, nonsense: bytes, before: bytes
) -> None:
    with service.connect() as caller:
        if before:
            caller.sendall(before)
            assert caller.recv(2**16).startswith(b"HTTP/1.1 200 ")
        caller.sendall(nonsense)
        problem_of(rest(caller), 400, "malformed_request")


def test_more_connections_than_there_can_be_are_refused_in_words() -> None:
    with serving(max_connections=2, patience_s=30) as service:
        with service.connect(), service.connect():
            until(lambda: service.connections == 2)
            problem_of(service.ask(), 503, "too_many_connections")
        until(lambda: service.connections == 0)
        assert service.ask(head_of("target", 100)).startswith(b"HTTP/1.1 200 ")


def test_each_refusal_is_one_line_of_the_log(
    service: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    service.ask(b"nonsense\r\n\r\n")
    assert [record.getMessage() for record in caplog.records] == ["request refused"]


def test_the_limit_of_open_files_is_raised() -> None:
    code = (
        "import resource as r; from api.server import raise_descriptor_limit as up;"
        " hard = r.getrlimit(r.RLIMIT_NOFILE)[1]; r.setrlimit(r.RLIMIT_NOFILE, (300, hard));"
        " found = up(); print(found == r.getrlimit(r.RLIMIT_NOFILE)[0] > 300)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "True\n"
