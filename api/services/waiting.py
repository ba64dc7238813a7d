"""Replies held until a job or study is terminal: one subscription a process, whoever waits."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, Protocol, TypeVar

from api.background import ended
from api.http.log import note
from core.store.protocols.api import ApiStore

RETRY_S: Final = 1.0


class Record(Protocol):
    """A record that can be waited for: that of a job or of a study."""

    @property
    def terminal(self) -> bool: ...


Waited = TypeVar("Waited", bound=Record)


class EndFeed:
    """Wakes those who wait for a job or study when the store says that it has ended.

    `poll_s`: a waiter reads the record this often although nothing woke it: announcements are not
    repeated, and those made while the subscription was broken are lost.
    """

    def __init__(self, store: ApiStore, poll_s: float = 2.0) -> None:
        self._store = store
        self._poll_s = poll_s
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        """Subscribe, in the running loop."""
        self._task = asyncio.create_task(self._listen(), name="end-feed")

    async def stop(self) -> None:
        """End the subscription of this process."""
        self.release()
        await ended(self._task)

    def release(self) -> None:
        """Answer everyone who waits now; nobody waits any more, since the process is ending."""
        self._closing = True
        self._wake("")

    async def wait_until_terminal(
        self, name: str, seconds: float, read: Callable[[str], Awaitable[Waited]]
    ) -> Waited:
        """Wait for the record that `read` gives: once it is terminal, or as it is when the time is
        up.

        Raises `NotFoundError` (also when it is deleted meanwhile) and `StoreUnavailableError`.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        # Watching begins before reading: an end between the two sets the event.
        with self._watch(name) as ended:
            while True:
                ended.clear()
                record = await read(name)
                left = until - loop.time()
                if record.terminal or left <= 0 or self._closing:
                    return record
                note(logging.DEBUG, "waiting", id=name, left_s=round(left, 3))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, self._poll_s)):
                        await ended.wait()

    @contextlib.contextmanager
    def _watch(self, name: str) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        events = self._waiting.setdefault(name, set())
        events.add(event)
        try:
            yield event
        finally:
            events.discard(event)
            if not events and self._waiting.get(name) is events:
                del self._waiting[name]

    async def _listen(self) -> None:
        while True:
            try:
                async for name in self._store.ends():
                    self._wake(name)
            except Exception:  # the feed must not end while the process lives
                note(logging.ERROR, "the feed of ends failed")
            await asyncio.sleep(RETRY_S)

    def _wake(self, name: str) -> None:
        """Wake those that wait for this id. An empty id says that the subscription has begun
        (again): anything may have ended."""
        found = [self._waiting.get(name, set())] if name else list(self._waiting.values())
        for events in found:
            for event in events:
                event.set()
