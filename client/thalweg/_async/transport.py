"""Requests on their way to the service, and replies on their way back."""

import json
import math
import os
import time
from asyncio import sleep
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx2

from thalweg import __version__
from thalweg.errors import ThalwegError, UnreachableError, UnsendableError, error_of
from thalweg.retries import Tries, retry_after

DEFAULT_URL: Final = "http://127.0.0.1:8000"
PAGE: Final = 200
"""Entries that are asked for at once where a list is gone through."""

Query = Mapping[str, Any]
Primitive = str | int | float | bool | None
Made = TypeVar("Made")


class AsyncTransport:
    """One service's address, the key for it, and the connections.

    Raises `ThalwegError` for an address that is none.
    """

    def __init__(
        self,
        url: str | None,
        key: str | None,
        timeout_s: float,
        retry_for_s: float,
        http: httpx2.AsyncClient | None,
    ) -> None:
        self.url = (url or os.environ.get("THALWEG_URL") or DEFAULT_URL).rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise ThalwegError(
                f"{self.url!r} is no address of a service: it begins with http:// or https://, as"
                f" {DEFAULT_URL} does"
            )
        key = key or os.environ.get("THALWEG_KEY")
        self.retry_for_s = retry_for_s
        self.timeout_s = timeout_s
        self._headers = {"User-Agent": f"thalweg-client/{__version__}"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._own = http is None
        self._http = httpx2.AsyncClient(timeout=timeout_s) if http is None else http

    async def aclose(self) -> None:
        """Close the connections, unless they are the caller's."""
        if self._own:
            await self._http.aclose()

    def request(
        self,
        method: str,
        path: str,
        params: Query | None,
        body: Any,
        content: Any,
        headers: Mapping[str, str],
        wait_s: float,
    ) -> httpx2.Request:
        """Make a request. `wait_s`: how long the service may hold the reply by agreement."""
        known = {**self._headers, **headers}
        if body is not None:
            content = encoded(body)
            known["Content-Type"] = "application/json"
        return self._http.build_request(
            method,
            self.url + path,
            params=None if params is None else pairs(params),
            content=content,
            headers=known,
            timeout=self.timeout_s + wait_s,
        )

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Query | None = None,
        body: Any = None,
        content: Callable[[], Any] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
        once: bool = False,
        wait_s: float = 0.0,
    ) -> httpx2.Response:
        """Send a request until it is answered; return the reply.

        Args:
            body: what is sent as JSON.
            content: makes what is sent instead, anew for each try.
            repeatable: whether it may be sent twice.
            once: whether it can be sent only once, since `content` is gone then.
        Raises `ServiceError` for a refusal, `UnreachableError` where no reply came.
        """
        tries = Tries(0.0 if once else self.retry_for_s, repeatable=repeatable)
        while True:
            made = None if content is None else content()
            request = self.request(method, path, params, body, made, headers or {}, wait_s)
            try:
                reply = await self._http.send(request)
            except httpx2.TransportError as error:
                pause = tries.after_loss(sent=not isinstance(error, NOT_SENT))
                if pause is None:
                    raise self.unreachable(error) from error
            else:
                if reply.status_code < 300:
                    return reply
                if method == "DELETE" and reply.status_code == 404 and tries.lost:
                    return reply  # the first try did it
                pause = tries.after_status(reply.status_code, retry_after(reply.headers))
                if pause is None:
                    raise refusal(reply, body)
            await sleep(pause)

    async def json(self, method: str, path: str, **options: Any) -> Any:
        """Send a request; return the JSON of the reply."""
        reply = await self.send(method, path, **options)
        try:
            return json.loads(reply.content)
        except ValueError as error:
            raise ThalwegError(f"What answers at {self.url} is no service of Thalweg") from error

    @asynccontextmanager
    async def open(
        self,
        path: str,
        *,
        params: Query | None = None,
        headers: Mapping[str, str] | None = None,
        silent_s: float | None = None,
    ) -> AsyncIterator[httpx2.Response]:
        """Send a GET whose reply is read bit by bit, until it is answered.

        `silent_s`: the longest silence within the reply. Raises as `send`; where the reply breaks
        off, `httpx2.TransportError`.
        """
        tries = Tries(self.retry_for_s, repeatable=True)
        longer = 0.0 if silent_s is None else max(0.0, silent_s - self.timeout_s)
        while True:
            request = self.request("GET", path, params, None, None, headers or {}, longer)
            try:
                reply = await self._http.send(request, stream=True)
            except httpx2.TransportError as error:
                pause = tries.after_loss(sent=True)
                if pause is None:
                    raise self.unreachable(error) from error
            else:
                try:
                    if reply.status_code < 300:
                        yield reply
                        return
                    await reply.aread()
                finally:
                    await reply.aclose()
                pause = tries.after_status(reply.status_code, retry_after(reply.headers))
                if pause is None:
                    raise refusal(reply, None)
            await sleep(pause)

    async def pages(
        self, path: str, make: Callable[[Any], Made], params: Query, limit: int | None
    ) -> AsyncIterator[Made]:
        """Go through a list, page by page; `limit`: the most entries, None for all."""
        left = limit
        after: str | None = None
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = await self.json("GET", path, params={**params, "limit": size, "after": after})
            for entry in page["data"]:
                yield make(entry)
            after = page["next_cursor"]
            if left is not None:
                left -= len(page["data"])
            if not page["has_more"] or after is None:
                return

    def unreachable(self, error: Exception) -> UnreachableError:
        """Return the error of a service that does not answer."""
        why = str(error) or type(error).__name__
        return UnreachableError(f"No service answers at {self.url}: {why}")


NOT_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
"""Failures before anything of a request has left."""


def pairs(params: Query) -> list[tuple[str, Primitive]]:
    """List the pairs of a query: None is left out, a list is repeated."""
    found: list[tuple[str, Primitive]] = []
    for name, value in params.items():
        values = value if isinstance(value, list | tuple) else [value]
        found += [(name, word(each)) for each in values if each is not None]
    return found


def word(value: Any) -> str:
    """Return a value as the service reads it in a query."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def encoded(body: Any) -> bytes:
    """Return JSON. Raises `UnsendableError` with every value that JSON has not, and its path."""
    try:
        return json.dumps(body, allow_nan=False, default=plain).encode()
    except (TypeError, ValueError, RecursionError) as error:
        try:
            found = list(unsendable(body, ""))
        except RecursionError:
            found = ["it is nested too deeply, or holds itself"]
        raise UnsendableError("; ".join(found) or str(error)) from error


def unsendable(value: Any, path: str) -> Iterator[str]:
    """Yield what is wrong with each value that JSON has not."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from unsendable(each, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from unsendable(each, f"{path}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{path} is {value}: give a finite number"
    elif not isinstance(value, str | int | float | None):
        yield f"{path} is {value!r:.60}, a {type(value).__name__}, which JSON has not"


def plain(value: Any) -> Any:
    """Return a value of NumPy's as JSON has it. Raises `TypeError` for anything else."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(type(value).__name__)


def place(*names: Any) -> str:
    """Return a path below `/v1`: each name is one step of it, whatever characters it has."""
    return "/v1/" + "/".join(quote(str(name), safe="") for name in names)


def refusal(reply: httpx2.Response, sent: Any) -> ThalwegError:
    """Return the error that a reply stands for."""
    if reply.status_code < 400:  # the key goes to nobody else
        to = reply.headers.get("location", "elsewhere")
        return ThalwegError(f"{reply.request.url} sends callers on to {to}: give that address")
    try:
        problem = json.loads(reply.content)
    except ValueError:
        problem = reply.text
    return error_of(
        reply.status_code,
        problem,
        sent=sent,
        request_id=reply.headers.get("x-request-id"),
        retry_after_s=retry_after(reply.headers),
    )


def deadline(timeout_s: float | None) -> Callable[[], float]:
    """Return what tells the seconds that are left; infinitely many without a limit."""
    if timeout_s is None:
        return lambda: float("inf")
    end = time.monotonic() + timeout_s
    return lambda: end - time.monotonic()


def listed(value: str | Sequence[str] | None) -> list[str] | None:
    """Return one or several words as a list."""
    if value is None:
        return None
    return [value] if isinstance(value, str) else list(value)
