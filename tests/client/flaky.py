"""A proxy before the service that fails often: it drops every fifth call after the service has
answered it, refuses others with 429 and 503 in turn, and cuts streams short."""

import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx2

CUT_AFTER_BYTES: Final = 2_000
"""A stream is cut in the midst of the event that follows upon this many bytes, however many events
come at a time: so the number of cuts does not depend on who is quick."""
CUT_INTO_BYTES: Final = 50
HOP: Final = {"connection", "transfer-encoding", "content-length", "content-encoding", "host",
              "keep-alive", "accept-encoding"}  # fmt: skip


class FlakyProxy:
    """Use as a context. `seen` counts what it did: `dropped`, `429`, `503`, `cut`, `passed`."""

    def __init__(self, address: str) -> None:
        self.seen: Counter[str] = Counter()
        self.calls: list[tuple[str, str, str | None]] = []
        """Method, path and idempotency key of each call that reached the service."""
        self._number = 0
        self._lock = threading.Lock()
        self._http = httpx2.Client(base_url=address, timeout=90)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._http.close()

    def fate(self) -> str:
        """What becomes of the next call."""
        with self._lock:
            self._number += 1
            number = self._number
        fate = "passed"
        if number % 5 == 0:
            fate = "dropped"
        elif number % 5 == 2:
            fate = "429" if number % 10 == 2 else "503"
        with self._lock:
            self.seen[fate] += 1
        return fate

    def note(self, method: str, path: str, key: str | None) -> None:
        with self._lock:
            self.calls.append((method, urlsplit(path).path, key))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                body = body_of(self)
                fate = proxy.fate()
                if fate in {"429", "503"}:
                    problem = (
                        b'{"code": "busy", "detail": "not now", "status": ' + fate.encode() + b"}"
                    )
                    self.send_response(int(fate))
                    self.send_header("Retry-After", "0")
                    self.send_header("Content-Type", "application/problem+json")
                    self.send_header("Content-Length", str(len(problem)))
                    self.end_headers()
                    self.wfile.write(problem)
                    return
                self.pass_on(body, drop=fate == "dropped")

            def pass_on(self, body: bytes, *, drop: bool) -> None:
                headers = {
                    name: value for name, value in self.headers.items() if name.lower() not in HOP
                }
                proxy.note(self.command, self.path, headers.get("Idempotency-Key"))
                with proxy._http.stream(
                    self.command,
                    self.path,
                    content=body,
                    headers={**headers, "Accept-Encoding": "identity"},
                ) as reply:
                    is_stream = "text/event-stream" in reply.headers.get("content-type", "")
                    content = b"" if is_stream else reply.read()
                    if drop:
                        self.close_connection = True
                        return
                    self.send_response(reply.status_code)
                    for name, value in reply.headers.items():
                        if name.lower() not in HOP:
                            self.send_header(name, value)
                    if is_stream:
                        self.cut(reply)
                        return
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            def cut(self, reply: httpx2.Response) -> None:
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
                sent = 0
                for text in events_in(reply):
                    if sent > CUT_AFTER_BYTES:
                        self.wfile.write(text[:CUT_INTO_BYTES])
                        with proxy._lock:
                            proxy.seen["cut"] += 1
                        return
                    self.wfile.write(text)
                    sent += len(text)

            do_GET = do_POST = do_DELETE = do_PATCH = handle_one  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        return Handler


def events_in(reply: httpx2.Response) -> Iterator[bytes]:
    """The events of a stream as they come, each with the blank line behind it."""
    rest = b""
    for chunk in reply.iter_raw():
        *whole, rest = (rest + chunk).split(b"\n\n")
        for text in whole:
            yield text + b"\n\n"


def body_of(request: BaseHTTPRequestHandler) -> bytes:
    """The body of a request, be it of a length or in chunks."""
    if request.headers.get("Transfer-Encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    found = b""
    while size := int(request.rfile.readline(), 16):
        found += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return found
