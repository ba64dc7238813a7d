"""One post to a URL of somebody else's: only to an address that was checked, within one time limit,
and with nothing followed.

The name is looked up once, each address is held against the rules (`core.addresses`), and the
connection goes to one that has passed: a name that leads elsewhere a moment later has no effect.
TLS and `Host` are of the name.
"""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from core.addresses import Networks, is_listed, refusal

MOST_BYTES: Final = 4_096
"""Bytes of a reply's body that are read: as many as the chats' answers need."""
MOST_ADDRESSES: Final = 3
"""Addresses of a name that are tried."""


class Reply(NamedTuple):
    """The reply to a post. Names of headers are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


LookUp = Callable[..., Sequence[Any]]


class SendError(Exception):
    """The reason why there is no reply; `str(error)` says it, without the URL."""


class _Place(NamedTuple):
    """An address to connect to."""

    family: int
    address: Any


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    listed: Networks,
    timeout_s: float,
    tls: ssl.SSLContext | None = None,
    look_up: LookUp = socket.getaddrinfo,
) -> Reply:
    """Post a body. A redirect is a reply as any other.

    Args:
        url: checked as `core.specs.webhooks.url` does.
        listed: networks that may be reached whatever they are, and by http.
        timeout_s: for all of it but the looking-up of the name.
        tls: what certificates are held against; None: the system's.
        look_up: finds the addresses of a name, as `socket.getaddrinfo`.

    Raises:
        SendError: no address may be called, or there was no reply in time.
    """
    parts = urlsplit(url)
    name, secure = parts.hostname or "", parts.scheme == "https"
    try:
        found = look_up(name, parts.port or (443 if secure else 80), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SendError(f"its name is not found: {_words(error)}") from error
    places = _allowed(found, listed, secure=secure)
    until = time.monotonic() + timeout_s
    try:
        with _connected(places, until) as plain, _bounded(plain, until):
            line = plain
            if secure:
                context = tls or ssl.create_default_context()
                line = context.wrap_socket(plain, server_hostname=name.removesuffix("."))
            return _exchange(line, url, body, headers, until)
    except SendError:
        raise
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", "") or error.reason or "it failed"
        raise SendError(f"TLS: {str(why)[:200]}") from error
    except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
        if time.monotonic() >= until or isinstance(error, TimeoutError):
            raise SendError(f"no reply within {timeout_s:g} s") from error
        raise SendError(f"the connection failed: {_words(error)}") from error


def _allowed(found: Sequence[Any], listed: Networks, *, secure: bool) -> list[_Place]:
    """Return those of the addresses that may be called. Raises `SendError`: there is none."""
    places, why = [], "its name has no address"
    for family, _, _, _, address in found:
        host = ip_address(str(address[0]))
        if (what := refusal(host, listed)) is not None:
            why = f"it leads to {what}, which is not listed in THALWEG_WEBHOOK_ALLOW"
        elif not secure and not is_listed(host, listed):
            why = "http:// is for addresses that are listed in THALWEG_WEBHOOK_ALLOW alone"
        else:
            places.append(_Place(family, address))
    if not places:
        raise SendError(why)
    return places[:MOST_ADDRESSES]


@contextlib.contextmanager
def _connected(places: list[_Place], until: float) -> Iterator[socket.socket]:
    """Connect to the first address that answers."""
    failure: OSError = TimeoutError("the time is up")
    for number, place in enumerate(places):
        # What is left is shared among the addresses that are left.
        left = (until - time.monotonic()) / (len(places) - number)
        if left <= 0:
            break
        line = socket.socket(place.family, socket.SOCK_STREAM)
        with contextlib.closing(line):
            line.settimeout(left)
            try:
                line.connect(place.address)
            except OSError as error:
                failure = error
                continue
            line.settimeout(max(0.001, until - time.monotonic()))
            yield line
            return
    raise failure


@contextlib.contextmanager
def _bounded(line: socket.socket, until: float) -> Iterator[None]:
    """Cut the connection off when the time is up, also one that gives a byte now and then."""

    def cut() -> None:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(inner, socket.SHUT_RDWR)

    inner = line.dup()
    timer = threading.Timer(max(0.0, until - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        inner.close()


class _Lines:
    """The lines of a reply, in the place of its file: one that is cut off is none, since the rest
    of a head might have said anything."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readline(self, most: int = -1) -> bytes:
        line: bytes = self._file.readline(most)
        if not line.endswith(b"\n") and len(line) != most:
            raise http.client.RemoteDisconnected("cut off")
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _Response(http.client.HTTPResponse):
    """A reply whose head has come whole."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fp = _Lines(self.fp)  # type: ignore[assignment]


class _Connection(http.client.HTTPConnection):
    """A connection over a socket that is there."""

    response_class = _Response

    def __init__(self, host: str, line: socket.socket) -> None:
        super().__init__(host)
        self._line = line

    def connect(self) -> None:
        self.sock = self._line


def _exchange(
    line: socket.socket, url: str, body: bytes, headers: Mapping[str, str], until: float
) -> Reply:
    parts = urlsplit(url)
    connection = _Connection("unused", line)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.putrequest("POST", target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", parts.netloc)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.putheader("Connection", "close")
        connection.endheaders(body)
        response = connection.getresponse()
        if time.monotonic() >= until:  # cut off in its head
            raise TimeoutError
        found = {name.lower(): value for name, value in response.getheaders()}
        text = b""
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError, AttributeError):
            text = response.read(MOST_BYTES)
        return Reply(response.status, found, text)
    finally:
        connection.close()


_FAILURES: Final[Mapping[type[Exception], str]] = {
    http.client.RemoteDisconnected: "it was closed before the whole head of a reply had come",
    http.client.BadStatusLine: "what came is no reply of HTTP",
    http.client.LineTooLong: "the head of the reply is too long",
}


def _words(error: Exception) -> str:
    """Say what went wrong, without what the other side has sent."""
    if (known := _FAILURES.get(type(error))) is not None:
        return known
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return type(error).__name__
