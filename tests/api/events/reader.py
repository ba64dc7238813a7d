"""A reader of streams over a socket of its own, by the rules of a browser's `EventSource` (WHATWG
HTML 9.2): comments and unknown fields are ignored, a blank line dispatches, `id` stays."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Event:
    type: str
    id: str
    text: str

    @property
    def data(self) -> Json:
        found: Json = json.loads(self.text, parse_constant=_refuse)
        return found

    @property
    def steps(self) -> list[int]:
        steps: list[int] = self.data["series"]["step"]
        return steps


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def events_in(lines: Iterator[str], last_id: str = "") -> Iterator[Event]:
    """The events that the lines of a stream dispatch."""
    kind, data = "", list[str]()
    for line in lines:
        if not line:
            if data:
                yield Event(kind or "message", last_id, "\n".join(data))
            kind, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            last_id = value


class Stream:
    """A request for a stream, and what comes of it."""

    def __init__(
        self,
        port: int,
        path: str,
        last_id: str = "",
        timeout_s: float = 60.0,
        room_bytes: int | None = None,
        token: str = "",
    ) -> None:
        """`room_bytes`: that the system keeps for what has come and was not read; `token`: of a
        key."""
        self.socket = socket.socket()
        self.socket.settimeout(timeout_s)
        if room_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room_bytes)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
        if token:
            head += f"Authorization: Bearer {token}\r\n"
        if last_id:
            head += f"Last-Event-ID: {last_id}\r\n"
        self.socket.sendall(f"{head}\r\n".encode())
        self._file = self.socket.makefile("rb")
        self.headers: dict[str, str] = {}
        try:
            self.status = int(self._file.readline().split()[1])
            while line := self._file.readline().strip().decode("latin-1"):
                name, _, value = line.partition(":")
                self.headers[name.lower()] = value.strip()
        except (OSError, IndexError):
            self.close()
            raise
        self.last_id = last_id
        self.comments = 0
        self._events = self._told()
        self.is_whole = False
        """Whether it came to its end in good order."""

    def _pieces(self) -> Iterator[bytes]:
        while True:
            size = int(self._file.readline(), 16)  # a ValueError where it was cut off
            piece = self._file.read(size)
            self._file.readline()
            if not size:
                self.is_whole = True
                return
            yield piece

    def lines(self) -> Iterator[str]:
        rest = b""
        try:
            for piece in self._pieces():
                *whole, rest = (rest + piece).split(b"\n")
                for line in whole:
                    self.comments += line.startswith(b":")
                    yield line.decode()
        except (ConnectionError, ValueError):
            return  # it was cut off

    def events(self) -> Iterator[Event]:
        """The events that have not been taken yet."""
        return self._events

    def _told(self) -> Iterator[Event]:
        for event in events_in(self.lines(), self.last_id):
            self.last_id = event.id
            yield event

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def summary(events: list[Event]) -> list[str]:
    """The types of events, with the steps of `points`."""
    return [
        f"points {each.steps[0]}-{each.steps[-1]}" if each.type == "points" else each.type
        for each in events
    ]
