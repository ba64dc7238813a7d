"""Connections: how large a request's head may be, and for how long a caller may keep one waiting.

uvicorn's protocol has no limits of these kinds: an endless header line took quadratic time, and a
head or body that does not go on held its descriptor for ever.
"""

import asyncio
import logging
from typing import Any, Final, cast

import httptools
from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from api.http.errors import (
    HeadTooLargeError,
    MalformedRequestError,
    RequestTimeoutError,
    TooManyConnectionsError,
    of_error,
)
from api.http.log import note
from api.http.middleware import ABORT, request_id_of
from core.errors import ThalwegError

MAX_HEAD_BYTES: Final = 2**16
"""Larger heads (the request line and all headers) are refused."""
BODY_BYTES_PER_S: Final = 500
"""A body that comes faster may take as long as it takes."""
_READER_PATIENCE: Final = 3.0
_NO_HTTP: Final = "This is not HTTP that the service understands."


class Joined:
    """A transport that writes a reply's head and body together: two writes took a tenth of the time
    of a job's submission.

    What is written first waits for what follows, at most until the event loop's next turn.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def write(self, data: bytes) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.writelines([held, data])
        elif data:
            self._held = data
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def get_write_buffer_size(self) -> int:
        return len(self._held) + self._transport.get_write_buffer_size()

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with limits; errors of the protocol are problem documents, too.

    A subclass sets `patience_s` and `max_connections`; `limited` makes it.

    Attributes:
        patience_s: seconds in which a head must have come, from its first byte (or from the
            connection's begin) on; a body has this and a second more for each `BODY_BYTES_PER_S`
            that have come. A caller that takes nothing of a reply for three times as long is cut
            off (the kernel's buffers may hold megabytes before we see that some was taken).
        max_connections: more are refused with a 503.
        linger_s: seconds for which the rest of a body is still read whose request has been
            answered: closed with bytes unread, a connection loses its reply.
    """

    patience_s: float
    max_connections: int
    linger_s = 10.0

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._reading = True
        """True while a request is to come, or has begun to come and not ended."""
        self._in_head = True
        self._begun_at = self.loop.time()
        self._silent = True
        """True while nothing has come of what is waited for."""
        self._body_bytes = 0
        self._overhead = 0
        """Bytes that came since something was last understood."""
        self._piece = 0
        """Bytes of the piece at hand."""
        self._unsent = 0
        self._moved_at = 0.0
        """Time at which the caller last took something of what waits for it."""
        self._refusal: ThalwegError | None = None
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, Joined(transport, self.loop)))
        if len(self.connections) > self.max_connections:
            self._refuse(
                TooManyConnectionsError(
                    f"The service has its {self.max_connections} connections; try again later."
                )
            )
        else:
            self._watch = self.loop.call_later(self.patience_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        self._unset_keepalive_if_required()
        if not self._reading:
            self._begin()
        self._silent = False
        self._piece = len(data)
        self._overhead += self._piece
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()
        except httptools.HttpParserError as error:
            why = error.__context__
            self._refuse(
                why if isinstance(why, HeadTooLargeError) else MalformedRequestError(_NO_HTTP)
            )
            return
        if self._reading:
            # The first piece may begin with the end of the request before: only more pieces count.
            if self._overhead - self._piece > MAX_HEAD_BYTES:
                too_much = _head_too_large() if self._in_head else MalformedRequestError(_NO_HTTP)
                self._refuse(too_much)
            elif self._watch is None:
                self._watch = self.loop.call_later(self.patience_s, self._look)

    def _begin(self) -> None:
        self._reading = self._in_head = True
        self._begun_at = self.loop.time()
        self._body_bytes = self._overhead = 0

    def on_message_begin(self) -> None:
        if not self._reading:  # the next one of several in one piece
            self._begin()
            self._overhead = self._piece
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"call": self.transport.abort}}

    def on_headers_complete(self) -> None:
        if self._overhead > MAX_HEAD_BYTES:  # the head may be; most are not worth the sum
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > MAX_HEAD_BYTES:
                raise _head_too_large()
        super().on_headers_complete()  # raises where the target is none
        if self.scope["http_version"] == "1.0":
            _send_without_chunks(self.cycle)
        self._in_head = False
        self._overhead = 0

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._overhead = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._reading = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_answered and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self.loop.call_later(self.linger_s, self._end_linger, self.cycle)

    @property
    def _is_answered(self) -> bool:
        """Tell whether the request whose body is still to come has its answer."""
        return self._reading and not self._in_head and bool(self.cycle.response_complete)

    def _end_linger(self, cycle: object) -> None:
        if self._is_answered and self.cycle is cycle:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch_reader()

    def _watch_reader(self) -> None:
        """Look after a while whether the caller has taken anything of what waits for it."""
        self._unsent, self._moved_at = self.transport.get_write_buffer_size(), self.loop.time()
        if self._unsent and self._watch is None:
            self._watch = self.loop.call_later(self.patience_s, self._look)

    def _look(self) -> None:
        """Look whether the caller keeps us waiting for too long; look again as long as it may."""
        self._watch = None
        now, due = self.loop.time(), []
        closing = self.transport.is_closing()
        if self.flow.write_paused or closing:
            unsent = self.transport.get_write_buffer_size()
            if unsent < self._unsent:
                self._unsent, self._moved_at = unsent, now
            if unsent:
                due.append(self._moved_at + _READER_PATIENCE * self.patience_s)
                if now >= due[-1]:
                    self.transport.abort()
                    return
        if self._reading and not closing:
            if self._waits_for_us:
                self._begun_at = now
            due.append(self._begun_at + self.patience_s + self._body_bytes / BODY_BYTES_PER_S)
            if now >= due[-1]:
                self._give_up()
                return
        if due:
            self._watch = self.loop.call_at(min(due), self._look)

    @property
    def _waits_for_us(self) -> bool:
        """Tell whether it is we who do not read on: the request before is still being answered, or
        the body is not taken."""
        cycle: RequestResponseCycle | None = self.cycle
        busy = cycle is not None and not cycle.response_complete
        return bool(self.flow.read_paused or (self._in_head and busy))

    def _give_up(self) -> None:
        if self._silent:  # it never said a word
            self.transport.close()
            return
        what = "head" if self._in_head else "body"
        self._refuse(RequestTimeoutError(f"The request's {what} did not come in time."))

    def _refuse(self, error: ThalwegError) -> None:
        """Close, with an answer in the place of the application where nothing of one has left."""
        self._refusal = error
        answer = not self._is_answered and not self.pipeline
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            answer = answer and not self._in_head and not cycle.response_started
            cycle.disconnected = True  # whoever reads the body hears that there is no more
            cycle.message_event.set()
        if answer:
            self._answer(error)
        self.transport.close()
        self._watch_reader()

    def _answer(self, error: ThalwegError) -> None:
        scope: Scope = {"raw_path": getattr(self, "url", b"")}
        reply = of_error(scope, error)
        request_id = request_id_of(dict(self.headers or ()).get(b"x-request-id", b""))
        lines = [STATUS_LINE[reply.status_code].rstrip()]
        lines += [name + b": " + value for name, value in reply.raw_headers]
        lines += [b"x-request-id: " + request_id, b"x-content-type-options: nosniff"]
        lines += [b"connection: close", b"", bytes(reply.body)]
        self.transport.write(b"\r\n".join(lines))
        note(
            logging.INFO,
            "request refused",
            status=reply.status_code,
            code=error.code,
            request_id=request_id.decode(),
        )


def _send_without_chunks(cycle: RequestResponseCycle) -> None:
    """Have a reply whose length is not known end with its connection: a caller of HTTP/1.0 knows no
    chunks (RFC 9112 6.1), and would take their lengths for text."""
    send = cycle.send
    is_open = False

    async def send_as_it_is(message: Any) -> None:
        nonlocal is_open
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            is_open = b"content-length" not in names
            if is_open:
                cycle.chunked_encoding = False
        elif is_open:
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    cycle.send = send_as_it_is  # type: ignore[method-assign]


def limited(patience_s: float, max_connections: int) -> type[Connection]:
    """Return the class of connections with these limits, for uvicorn."""
    return type(
        "LimitedConnection",
        (Connection,),
        {"patience_s": patience_s, "max_connections": max_connections},
    )


def _head_too_large() -> HeadTooLargeError:
    return HeadTooLargeError(
        f"The request line and the headers are larger than {MAX_HEAD_BYTES} bytes, which is the"
        " most taken."
    )
