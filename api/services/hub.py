"""The hub of streams of events: one look at the store a process and a moment, whoever reads.

Nothing is queued for a reader: each has a position and takes what comes after it when its last
piece has left. So one that is slow falls behind, and costs no more memory than one piece.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from api.background import ended
from api.http.log import note
from core.errors import StoreUnavailableError
from core.settings import Settings
from core.store.protocols.api import ApiEvents
from core.store.protocols.types import Snapshot

TICK_S: Final = 0.2
SWEEP_S: Final = 0.5
CLOSE_S: Final = 1.0
"""Seconds after which a stream that has not ended by itself is broken off when the process ends."""
SHARED_BYTES: Final = 8 * 2**20
"""Bytes of what was made last that stay for the readers who are a little behind."""

Known = Snapshot | str | None
"""Knowledge of a job, study or run; of the log the number of its last entry; None: gone."""
T = TypeVar("T")


class Reader:
    """One stream that is open.

    Attributes:
        wake: set when there may be something new for it.
        is_gone: its client is not there any more, or was cut off.
        sent_at: when its last piece began to leave.
        is_sending: that piece has not left yet.
        is_ended: it is to be sent nothing more: its key is not taken any more.
    """

    def __init__(self, abort: Callable[[], None], now: float) -> None:
        """`abort`: breaks the connection off."""
        self.wake = asyncio.Event()
        self.is_gone = False
        self.is_ended = False
        self.sent_at = now
        self.is_sending = False
        self.is_due = False
        """True once it is to be pinged."""
        self._abort = abort

    def leave(self) -> None:
        """Note that nobody reads."""
        self.is_gone = True
        self.wake.set()

    def end(self) -> None:
        """End the stream in good order."""
        self.is_ended = True
        self.wake.set()

    def break_off(self) -> None:
        """Cut a reader off who takes nothing."""
        self.leave()
        self._abort()


@dataclass
class Topic:
    """A name that is followed in this process: what is known of it, and who follows it."""

    known: Known
    stamp: str
    readers: set[Reader] = field(default_factory=set)


class EventHub:
    """Follows what the readers of this process follow, and wakes them when it changes.

    Args:
        tick_s: time between two looks at the store.
        ping_s: a reader that was sent nothing for so long is woken for a ping.
        patience_s: a reader that takes nothing for so long is cut off.
    """

    def __init__(
        self,
        events: ApiEvents,
        *,
        tick_s: float = TICK_S,
        ping_s: float = 10.0,
        patience_s: float = 10.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._events = events
        self._tick_s = tick_s
        self._ping_s = ping_s
        self._patience_s = patience_s
        self._clock = clock
        self._topics: dict[str, Topic] = {}
        self._readers: set[Reader] = set()
        self._shared: dict[tuple[Any, ...], asyncio.Future[Any]] = {}
        self._sizes: dict[tuple[Any, ...], int] = {}
        self._num_bytes = 0
        self._followed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_away = False
        self.closing = False

    @classmethod
    def of(cls, settings: Settings, events: ApiEvents) -> "EventHub":
        """Make a hub with the times that the settings say."""
        return cls(events, ping_s=settings.stream_ping_s, patience_s=settings.stream_patience_s)

    @property
    def num_readers(self) -> int:
        return len(self._readers)

    def now(self) -> float:
        """Return the time by a monotonic clock."""
        return self._clock() if self._clock else asyncio.get_running_loop().time()

    def start(self) -> None:
        """Begin to follow, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._run(), name="event-hub")

    async def stop(self) -> None:
        """End all streams, and stop; also what is made for askers who have left."""
        self.close()
        await ended(*self._shared.values(), self._task)

    def close(self) -> None:
        """Let every stream end, since the process does. Those that cannot are broken off."""
        self.closing = True
        for reader in self._readers:
            reader.wake.set()
        if self._loop is not None and self._readers:
            self._loop.call_later(CLOSE_S, self._break_off_all)

    def _break_off_all(self) -> None:
        for reader in list(self._readers):
            reader.break_off()

    async def look(self, names: Sequence[str]) -> Mapping[str, tuple[str, Known]]:
        """Return the stamp and what is known of each name: as the last look has found it where it
        is followed already, else read now."""
        read: dict[str, Known] = {}
        # Those who follow a name may leave while another is read: then it is read too.
        while missing := {
            name: "" for name in names if name not in self._topics and name not in read
        }:
            changed = await self._events.changed(missing)
            read |= {name: changed.get(name) for name in missing}
        found: dict[str, tuple[str, Known]] = {}
        for name in names:
            topic = self._topics.get(name)
            if topic is not None:
                found[name] = topic.stamp, topic.known
            else:
                found[name] = _stamp_of(read.get(name)), read.get(name)
        return found

    @contextlib.contextmanager
    def joined(self, reader: Reader, found: Mapping[str, tuple[str, Known]]) -> Iterator[None]:
        """Follow these names for a reader. `found`: what `look` gave for them."""
        for name, (stamp, known) in found.items():
            self._topics.setdefault(name, Topic(known, stamp)).readers.add(reader)
        self._readers.add(reader)
        self._followed.set()
        try:
            yield
        finally:
            self._readers.discard(reader)
            for name in found:
                topic = self._topics[name]
                topic.readers.discard(reader)
                if not topic.readers:
                    del self._topics[name]
            if not self._topics:
                self._followed.clear()

    def known(self, name: str) -> Known:
        """Return what is known of a name that is followed."""
        return self._topics[name].known

    async def refresh(self) -> None:
        """Look at the store once, and wake those whose names have changed."""
        stamps = {name: topic.stamp for name, topic in self._topics.items()}
        for name, known in (await self._events.changed(stamps)).items():
            topic = self._topics.get(name)
            if topic is not None:
                topic.known, topic.stamp = known, _stamp_of(known)
                for reader in topic.readers:
                    reader.wake.set()

    def sweep(self) -> None:
        """Wake those who are to be pinged, and cut off those who take nothing."""
        now = self.now()
        for reader in list(self._readers):
            silent_s = now - reader.sent_at
            if reader.is_sending:
                if silent_s >= self._patience_s:
                    note(logging.INFO, "a reader of events was cut off: it took nothing")
                    reader.break_off()
            elif silent_s >= self._ping_s:
                reader.is_due = True
                reader.wake.set()

    async def shared(
        self,
        key: tuple[Any, ...],
        make: Callable[[], Awaitable[T]],
        size: Callable[[Any], int] = len,
    ) -> T:
        """Return what `make` gives, made once for all who ask for it at about the same time."""
        making = self._shared.get(key)
        if making is None:
            making = asyncio.ensure_future(_made(make))
            self._shared[key] = making
            making.add_done_callback(lambda done: self._keep(key, done, size))
        return cast(T, await asyncio.shield(making))

    def _keep(
        self, key: tuple[Any, ...], done: asyncio.Future[T], size: Callable[[T], int]
    ) -> None:
        if done.cancelled() or done.exception() is not None:
            self._shared.pop(key, None)
            return
        self._sizes[key] = size(done.result())
        self._num_bytes += self._sizes[key]
        while self._num_bytes > SHARED_BYTES:
            oldest = next(iter(self._sizes))
            self._num_bytes -= self._sizes.pop(oldest)
            self._shared.pop(oldest, None)

    async def _run(self) -> None:
        swept = self.now()
        while True:
            await self._followed.wait()
            await asyncio.sleep(self._tick_s)
            try:
                await self.refresh()
                self._is_away = False
            except StoreUnavailableError as error:
                if not self._is_away:
                    note(logging.WARNING, "streams of events wait for the store", error=str(error))
                self._is_away = True
            except Exception:  # the hub must not end while the process lives
                note(logging.ERROR, "the hub of events failed")
            if self.now() - swept >= min(SWEEP_S, self._ping_s / 4):
                swept = self.now()
                self.sweep()


async def _made(make: Callable[[], Awaitable[T]]) -> T:
    return await make()


def _stamp_of(known: Known) -> str:
    if known is None:
        return "gone"
    return known if isinstance(known, str) else known.stamp
