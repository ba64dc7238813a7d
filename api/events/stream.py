"""A reply that is a stream of events: it goes on until its reader has all, leaves, or takes
nothing."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final, Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.http.middleware import ABORT
from api.keys.gate import Gate, caller_of
from api.services.hub import EventHub, Known, Reader
from core.errors import NotFoundError, StoreUnavailableError

BEGIN: Final = b"retry: 1000\n\n"
"""A client that was cut off reconnects after a second."""
PING: Final = b": ping\n\n"
RETRY_S: Final = 1.0


class Follower(Protocol):
    """A reader's place in what it follows, and the way to the next event.

    Attributes:
        due: when `next` is to be asked again although nothing has changed; None: not before.
        is_over: nothing comes any more.
    """

    due: float | None
    is_over: bool

    async def next(self, now: float) -> bytes | None:
        """Return the next event; None when there is none now. May raise `StoreUnavailableError`,
        and `NotFoundError` for rows that have just been taken back."""
        ...


class EventStream(Response):
    """The reply. Its head, and what may be wrong with the request, come before it.

    Args:
        found: what `EventHub.look` gave for all names that the follower follows.
    """

    media_type = "text/event-stream"

    def __init__(
        self, hub: EventHub, found: Mapping[str, tuple[str, Known]], follower: Follower
    ) -> None:
        self._hub = hub
        self._found = found
        self._follower = follower
        self.status_code = 200
        self.background = None
        # A proxy passes it on piece by piece, and keeps nothing of it.
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **head})
        if scope["method"] != "HEAD":
            reader = Reader(_abort_in(scope), self._hub.now())
            with self._hub.joined(reader, self._found), _guarded(scope, reader):
                leaving = asyncio.create_task(_until_gone(receive, reader))
                try:
                    await self._follow(reader, send)
                finally:
                    leaving.cancel()
            if reader.is_gone:
                return
        await send({"type": "http.response.body", "body": b""})

    async def _follow(self, reader: Reader, send: Send) -> None:
        hub, follower = self._hub, self._follower
        await self._send(reader, send, BEGIN)
        while not (reader.is_gone or reader.is_ended or hub.closing):
            reader.wake.clear()
            due = None
            try:
                piece = await follower.next(hub.now())
                due = follower.due
            except (NotFoundError, StoreUnavailableError):
                piece, due = None, hub.now() + RETRY_S
            if piece is None and reader.is_due:
                piece = PING
            if piece is not None:
                await self._send(reader, send, piece)
            elif follower.is_over:
                return
            else:
                await _until(reader.wake, due)

    async def _send(self, reader: Reader, send: Send, piece: bytes) -> None:
        """Send, for as long as the hub is patient with a reader who takes nothing."""
        reader.sent_at, reader.is_sending, reader.is_due = self._hub.now(), True, False
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        reader.is_sending = False


def _guarded(scope: Scope, reader: Reader) -> AbstractContextManager[None]:
    """Have the stream end soon after its key is not taken any more."""
    caller = caller_of(scope)
    if caller is None:
        return contextlib.nullcontext()
    gate: Gate = scope["app"].state.gate
    return gate.watching(caller, reader.end)


async def _until(wake: asyncio.Event, due: float | None) -> None:
    if due is None:
        await wake.wait()
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(due):
            await wake.wait()


async def _until_gone(receive: Receive, reader: Reader) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    reader.leave()


def _abort_in(scope: Scope) -> Callable[[], None]:
    """Return what breaks the connection off; where the server offers nothing, the reply is."""
    found: Callable[[], None] | None = scope.get("extensions", {}).get(ABORT, {}).get("call")
    task = asyncio.current_task()
    assert task is not None

    def cancel() -> None:
        task.cancel()

    return found or cancel
