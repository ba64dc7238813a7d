"""The one middleware: who may call, how large a body may be, what every reply carries."""

import ipaddress
import logging
import random
import re
import time
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.errors import (
    NOTHING_HERE,
    BodyTooLargeError,
    ForeignHostError,
    ForeignOriginError,
    MalformedRequestError,
    internal_error,
    of_error,
)
from api.http.log import LOG, REQUEST_ID, TRACEPARENT, RequestCounts, note, route_of
from core.errors import NotFoundError, ThalwegError
from core.tracing import Span, Tracing, traceparent_in

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
ONCE: Final = (
    b"authorization",
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"idempotency-key",
    b"if-match",
)
"""Headers that hold one value."""
_PORT: Final = re.compile(r":\d{0,5}$")
PROBES: Final = frozenset({"/livez", "/readyz"})
"""Paths that are asked by address, under any name: their answers tell nothing that is not plain."""
_CORS_METHODS: Final = ("GET", "HEAD", "POST", "PATCH", "DELETE")
_CORS_HEADERS: Final = (
    "Authorization",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Prefer",
    "Range",
    "Traceparent",
    "X-Request-Id",
)
_CORS_EXPOSED: Final = (
    "Accept-Ranges",
    "Allow",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Thalweg-Scopes",
    "WWW-Authenticate",
    "X-Request-Id",
)
UPLOADS: Final = "/v1/datasets"
"""The path to which files are posted, which may be larger than other bodies."""
ABORT: Final = "thalweg.abort"
"""The scope's extension by which a reply breaks its connection off."""
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")


@lru_cache(maxsize=64)
def host_of(authority: str) -> str:
    """Return the host of `host[:port]`, in lower case, without brackets and a final dot."""
    text = authority.strip().lower()
    if text.count(":") < 2 or text.startswith("["):  # else an IPv6 address without its brackets
        text = _PORT.sub("", text)
    return text.strip("[]").removesuffix(".")


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def own_path(scope: Scope) -> str:
    """Return the path without the prefix under which a proxy shows the service."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def shown_path(scope: Scope) -> str:
    """Return the path as the caller knows it, whether or not a proxy has cut the prefix off."""
    return f"{scope.get('root_path', '')}{own_path(scope)}"


def request_id_of(given: bytes) -> bytes:
    """Return the caller's id of a request where it is one, else a new one."""
    return given if _REQUEST_ID.fullmatch(given) else b"%016x" % random.getrandbits(64)


class Gate(Protocol):
    """Decides of each request whether it may come in (`api.keys.gate.Gate`)."""

    needed: bool
    """True once keys are needed."""

    @property
    def is_due(self) -> bool: ...
    async def look(self, path: str, /) -> None: ...
    async def admit(
        self, scope: Scope, headers: Mapping[bytes, bytes], reply: list[tuple[bytes, bytes]], /
    ) -> None: ...


class Middleware:
    """Pure ASGI, around everything.

    While there are no keys, a request is refused that names a foreign `Host` (a name that someone
    else's DNS points here) or comes from a foreign `Origin`: so no web page can reach the service.
    The probes take any `Host`: an orchestrator asks them by address.
    Bodies are counted while they stream. An exception that nobody caught becomes a 500 that says
    nothing of its cause. HEAD replies lose their bodies. Each refusal has one line in
    the log; at `debug` each request has one.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_body_bytes: int,
        max_upload_bytes: int,
        trusted_hosts: Collection[str],
        cors_origins: Collection[str] = (),
        root_path: str = "",
        counts: RequestCounts | None = None,
        tracing: Tracing | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._gate = gate
        self._tracing = tracing
        self._origins = frozenset(origin.lower() for origin in cors_origins)
        self._reading = frozenset(origin.encode() for origin in self._origins)
        self._counts = RequestCounts() if counts is None else counts
        self._app = app
        self._readable_app = _readable(app, self._origins)
        self._root_path = root_path
        self._max_body_bytes = max_body_bytes
        self._max_upload_bytes = max_upload_bytes
        self._trusted = frozenset(host_of(name) for name in trusted_hosts if name.strip())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = request_id_of(headers.get(b"x-request-id", b""))
        scope[REQUEST_ID] = request_id.decode()
        span = self._begun(scope, headers.get(b"traceparent"))
        scope["root_path"] = self._root_path
        limit = self._limit(scope)
        exchange = _Exchange(scope, receive, send, request_id, limit)
        began = time.perf_counter()
        try:
            await self._enter(scope, headers, exchange, limit)
            app = self._readable_app if self._may_read(headers) else self._app
            await app(scope, exchange.receive, exchange.send)
        except ThalwegError as error:
            if exchange.status:
                raise
            await self._reply(of_error(scope, error), scope, receive, exchange.send)
        except ClientDisconnect:  # nobody is there to answer
            pass
        except Exception:
            note(
                logging.ERROR,
                "request failed",
                method=scope["method"],
                path=scope["path"][:200],
                request_id=request_id.decode(),
            )
            if exchange.status:
                raise  # the reply has begun, and can only be broken off
            await self._reply(internal_error(scope), scope, receive, exchange.send)
        seconds = time.perf_counter() - began
        self._counts.add(scope, exchange.status, seconds)
        if span is not None:
            _end(span, scope, exchange.status)
        level = logging.DEBUG if exchange.status < 400 else logging.INFO
        if not LOG.isEnabledFor(level):
            return
        note(
            level,
            "request",
            method=scope["method"],
            path=scope["path"][:200],
            status=exchange.status,
            duration_ms=round(1000 * seconds, 2),
            request_id=request_id.decode(),
        )

    def _begun(self, scope: Scope, given: bytes | None) -> Span | None:
        """Begin the request's span, where there is tracing; note what its work is to follow."""
        parent = None if given is None else traceparent_in(given.decode("latin-1"))
        span = None
        if self._tracing is not None:
            span = self._tracing.start(scope["method"], "server", parent)
            parent = span.traceparent
        scope[TRACEPARENT] = parent
        return span

    def _limit(self, scope: Scope) -> int:
        """Return how many bytes the request's body may have."""
        if scope["method"] == "POST" and own_path(scope) == UPLOADS:
            return self._max_upload_bytes
        return self._max_body_bytes

    async def _enter(
        self, scope: Scope, headers: dict[bytes, bytes], exchange: "_Exchange", limit: int
    ) -> None:
        """Let a request in, or raise the error that it is answered with. A key is what a page of
        another site has not: with one, `Host` and `Origin` tell nothing that matters."""
        gate = self._gate
        if gate is not None and gate.is_due and own_path(scope) not in PROBES:
            await gate.look(own_path(scope))
        is_guarded = gate is not None and gate.needed
        self._admit(scope, headers, limit, is_guarded)
        if gate is not None and is_guarded and not self._is_preflight(scope, headers):
            await gate.admit(scope, headers, exchange.extra)

    def _is_preflight(self, scope: Scope, headers: dict[bytes, bytes]) -> bool:
        """Tell whether a browser asks, without the key, if a page may call."""
        asks = b"access-control-request-method" in headers
        return asks and scope["method"] == "OPTIONS" and self._may_read(headers)

    def _admit(
        self, scope: Scope, headers: dict[bytes, bytes], limit: int, is_guarded: bool
    ) -> None:
        names = [value for name, value in scope["headers"] if name == b"host"]
        known = len(names) == 1 and (
            is_guarded or self._is_ours(host_of(names[0].decode("latin-1")))
        )
        if not known and own_path(scope) not in PROBES:
            raise ForeignHostError(
                "This service answers to localhost and loopback addresses, and to the names in"
                " THALWEG_TRUSTED_HOSTS; the request's Host is another."
            )
        if len(headers) < len(scope["headers"]):
            _refuse_repeated(scope)
        path = scope.get("raw_path", b"")
        if b"%" in path and b"%2f" in path.lower():
            raise NotFoundError(f"{NOTHING_HERE} No part of a path has a slash (%2F) in it.")
        origin = headers.get(b"origin")
        ours = origin is None or self._is_ours(_origin_host(origin.decode("latin-1")))
        if not (ours or is_guarded or self._may_read(headers)):
            raise ForeignOriginError(
                "Web pages of other sites may not call this service: the request's Origin is"
                " neither localhost nor in THALWEG_TRUSTED_HOSTS or THALWEG_CORS_ORIGINS."
            )
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            raise MalformedRequestError("Content-Length is not a number.")
        if int(length) > limit:
            raise _too_large(limit)

    async def _reply(self, reply: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        if self._may_read(dict(scope["headers"])):
            reply = _readable(reply, self._origins)
        await reply(scope, receive, send)

    def _may_read(self, headers: dict[bytes, bytes]) -> bool:
        """Tell whether the request comes from a page that may read replies."""
        return headers.get(b"origin") in self._reading

    def _is_ours(self, host: str) -> bool:
        return is_loopback(host) or host in self._trusted


def _readable(app: ASGIApp, origins: Collection[str]) -> ASGIApp:
    """Let pages of these origins read what `app` replies (CORS)."""
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=_CORS_METHODS,
        allow_headers=_CORS_HEADERS,
        expose_headers=_CORS_EXPOSED,
    )


def _end(span: Span, scope: Scope, status: int) -> None:
    """End a request's span, by OpenTelemetry's conventions for HTTP."""
    route = route_of(scope)
    span.rename(f"{scope['method']} {route}")
    span.note(
        request_id=scope[REQUEST_ID],
        http__request__method=scope["method"],
        http__route=route,
        http__response__status_code=status or None,
    )
    span.end("a fault in the service" if status >= 500 else None)


def _refuse_repeated(scope: Scope) -> None:
    """Refuse a header that comes more than once where one value is meant: who checks it and who
    acts on it might not take the same one."""
    names = [name for name, _ in scope["headers"]]
    if names.count(b"origin") > 1:
        raise ForeignOriginError("The header Origin came more than once: no web page sends it so.")
    for name in ONCE:
        if names.count(name) > 1:
            raise MalformedRequestError(
                f"The header {name.decode().title()} came {names.count(name)} times: send it once."
            )


class _Exchange:
    """The two channels of one request, with a count of what came and a note of what left."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, request_id: bytes, limit: int
    ) -> None:
        self._receive = receive
        self._send = send
        self.extra = [(b"x-request-id", request_id), _NOSNIFF]
        self._head = scope["method"] == "HEAD"
        self._left = limit
        self._limit = limit
        self.status = 0

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                raise _too_large(self._limit)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self.extra]
        elif self._head and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"The body is larger than {limit} bytes, which is the most taken.")


def _origin_host(origin: str) -> str:
    try:
        return host_of(urlsplit(origin).netloc)
    except ValueError:
        return ""
