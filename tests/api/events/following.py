"""Readers of streams in threads of their own, and a proxy between them and the API."""

import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from core.store.protocols.types import Claim
from tests.api.actors import Json, rosenbrock
from tests.api.events.conftest import Live
from tests.api.events.reader import Event, Stream, summary

PATIENCE_S = 120.0


class Following:
    """A reader in a thread, by the rules of an `EventSource`: where its connection ends, it comes
    again with the last id; a 204 ends it."""

    def __init__(self, path: str, port: Callable[[], int]) -> None:
        self.events: list[Event] = []
        self.times: list[float] = []
        self.num_connections = 0
        self.comments = 0
        self._path = path
        self._port = port
        self._news = threading.Condition()
        self._closed = False
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        last = ""
        while not self._closed:
            try:
                stream = Stream(self._port(), self._path, last)
            except (OSError, IndexError):
                threading.Event().wait(0.02)  # the server is away
                continue
            with stream:
                self._socket = stream.socket
                if stream.status == 204:
                    return
                with self._news:
                    self.num_connections += 1
                    self._news.notify_all()
                for event in stream.events():
                    with self._news:
                        self.events.append(event)
                        self.times.append(time.monotonic())
                        self.comments = stream.comments
                        self._news.notify_all()
                    last = event.id
                    if event.type == "end" and not self._path.startswith("/v1/events"):
                        return

    def until(self, is_so: Callable[[list[Event]], bool]) -> None:
        with self._news:
            came = self._news.wait_for(lambda: is_so(self.events), PATIENCE_S)
        assert came, summary(self.events)

    def until_rows(self, count: int) -> None:
        self.until(lambda events: len(steps_of(events)) >= count)

    def is_spaced(self, began: float) -> bool:
        """Whether its rows left a tenth of a second apart, if the first left after `began`.

        How far apart they come depends on when this reader has the processor, too; none comes
        before it has left.
        """
        with self._news:
            came = [
                at
                for at, event in zip(self.times, self.events, strict=True)
                if event.type == "points"
            ]
        return all(at - began > 0.1 * number - 0.01 for number, at in enumerate(came))

    def end(self) -> list[Event]:
        """All events, once the last has come."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), summary(self.events)
        return self.events

    def stop(self) -> None:
        """Leave a stream that has no end."""
        self._closed = True
        assert self._socket is not None
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE_S)


def steps_of(events: list[Event]) -> list[int]:
    return [step for event in events if event.type == "points" for step in event.steps]


def losses_of(events: list[Event]) -> dict[int, float]:
    """The loss of each step, as a client has it in the end: rows that begin before its last take
    the place of what it had from there on."""
    losses: dict[int, float] = {}
    for event in events:
        if event.type == "points":
            for step in [step for step in losses if step >= event.steps[0]]:
                del losses[step]
            losses.update(zip(event.steps, event.data["series"]["loss"], strict=True))
    return losses


def first_of(live: Live, job: Json) -> list[Event]:
    with live.stream(job["links"]["events"]) as stream:
        return list(until_idle(stream, 2))


def begun(live: Live, **spec: Any) -> tuple[Json, Claim]:
    job = live.post(rosenbrock(budget={"max_steps": 1_000_000}, **spec))
    return job, live.worker.claim()


class Proxy:
    """Passes bytes on, and cuts a connection off that has been idle for a while."""

    def __init__(self, port: int, idle_s: float) -> None:
        self._to = port
        self._idle_s = idle_s
        self.num_cut = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._to))
        with client, server, selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while found := ready.select(self._idle_s):
                for key, _ in found:
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    data = source.recv(2**16)
                    if not data:
                        return
                    key.data.sendall(data)
            self.num_cut += 1

    def close(self) -> None:
        self._listening.close()


def until_idle(stream: Stream, count: int) -> Iterator[Event]:
    """The next `count` events."""
    events = stream.events()
    for _ in range(count):
        yield next(events)
