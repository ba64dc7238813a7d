"""A receiver of webhooks on loopback: it answers as it is told, and keeps what came."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Answer:
    """A reply: `stall_s` lies before it."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    stall_s: float = 0.0


@dataclass(frozen=True)
class Arrival:
    """A message that came, and when (`time.monotonic`)."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verify(self, secret: str) -> None:
        """Have the independent library check the signature; it raises."""
        Webhook(secret).verify(self.body, self.headers)


Decide = Callable[[Arrival], Answer]


class Receiver:
    """Answers by path: each path has its answers, the last of them for all that follow; 200
    without any."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.port = port
        self.host = host
        self.arrivals: list[Arrival] = []
        self.answers: dict[str, list[Answer]] = {}
        self._changed = threading.Condition()
        self.closing = threading.Event()

    def url(self, path: str) -> str:
        return f"http://{self.host}:{self.port}{path}"

    def take(self, arrival: Arrival) -> Answer:
        with self._changed:
            self.arrivals.append(arrival)
            self._changed.notify_all()
            left = self.answers.get(arrival.path, [])
            return (left.pop(0) if len(left) > 1 else left[0]) if left else Answer()

    def at(self, path: str) -> list[Arrival]:
        return [each for each in self.arrivals if each.path == path]

    def wait_for(self, path: str, count: int = 1, timeout_s: float = 90.0) -> list[Arrival]:
        """Wait until so many have come to a path."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.at(path)) >= count, timeout_s)
        assert came, f"{path}: {len(self.at(path))} of {count} came within {timeout_s} s"
        return self.at(path)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: Receiver


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.receiver.take(Arrival(self.path, headers, body, time.monotonic()))
        if answer.stall_s:
            self.server.receiver.closing.wait(answer.stall_s)
        try:
            self._reply(answer)
        except OSError:  # the courier has given up
            self.close_connection = True

    def _reply(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def receiving(
    tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> Iterator[Receiver]:
    """Run a receiver on this port, or on a free one, of an address of this machine."""
    server = _Server((host, port), _Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.receiver = Receiver(server.server_address[1], host)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.receiver
    finally:
        server.receiver.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
