"""Compression of large replies by gzip, where the caller accepts it: Starlette's, for what is worth
it.

A small reply, a stream and what is compressed by itself (weights, pictures, archives) pass
untouched, at the price of a look at their head.
"""

from typing import Final

from starlette.middleware.gzip import GZipResponder, IdentityResponder
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGE: Final = 4 * 1024
"""Bytes of a body from which on it is compressed."""
_LEVEL: Final = 4
"""Half the time of zlib's default for nearly the same size."""
_TEXTS: Final = (
    b"text/",
    b"application/json",
    b"application/problem+json",
    b"application/x-ndjson",
    b"image/svg+xml",
)


class Compression:
    """Pure ASGI, within the middleware that takes the bodies of HEAD replies away: so a HEAD tells
    the length that a GET would have."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._app(scope, receive, _Reply(scope, send).send)
        else:
            await self._app(scope, receive, send)


class _Reply:
    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_large_text(message):
            responder = self._responder()
            responder.send = self._send
            self._send = responder.send_with_compression
        await self._send(message)

    def _responder(self) -> IdentityResponder:
        """Return what compresses, or says in `Vary` that it might have."""
        if accepts_gzip(self._scope):
            return GZipResponder(self._nothing, LARGE, _LEVEL)
        return IdentityResponder(self._nothing, LARGE)

    async def _nothing(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("the application runs already")


def _is_large_text(start: Message) -> bool:
    length, media_type = b"0", b""
    for name, value in start.get("headers", ()):
        if name == b"content-length":
            length = value
        elif name == b"content-type":
            media_type = value
    return int(length) >= LARGE and media_type.startswith(_TEXTS)


def accepts_gzip(scope: Scope) -> bool:
    """Tell whether the request accepts gzip (RFC 9110 12.5.3): by its name, else by `*`."""
    weights: dict[str, float] = {}
    for name, value in scope["headers"]:
        if name == b"accept-encoding":
            for part in value.decode("latin-1").lower().split(","):
                coding, _, parameters = part.partition(";")
                weights[coding.strip()] = _weight(parameters)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def _weight(parameters: str) -> float:
    name, _, value = parameters.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
