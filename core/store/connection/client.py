"""Connections to Redis: calls of scripts, and the errors that failures become.

Nothing is retried here, because a write whose answer was lost may have been done. A client is made
at the first call, so that a store may be built before a fork or before there is an event loop.
"""

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Final

import hiredis
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from core.environment import redis_address
from core.errors import THE_STORE, StoreUnavailableError
from core.formats import STORE
from core.jobs import HELD, MOST_ENTRIES, MOVES, TERMINAL
from core.store.connection.pipeline import Line

TIMEOUT_S: Final = 5.0
_READ_BYTES: Final = 2**18
_MAX_CONNECTIONS: Final = 64

_REFUSALS: Final = {
    "OOM": "is out of memory or disk space, and refuses writes",
    "MISCONF": "cannot write to its disk and refuses writes",
    "READONLY": "is a read-only replica",
    "LOADING": "is still loading its data",
    "BUSY": "is busy with a script",
    "NOREPLICAS": "has too few replicas or no disk space, and refuses writes",
    "MASTERDOWN": "has lost its primary",
    "CLUSTERDOWN": "is down",
    "DENIED": (
        "is in protected mode and takes no connections from other machines: give it a password"
        " (requirepass, and the same in THALWEG_REDIS_URL)"
    ),
    "NOAUTH": "refuses the credentials of THALWEG_REDIS_URL",
    "WRONGPASS": "refuses the credentials of THALWEG_REDIS_URL",
    "NOPERM": (
        "forbids its user a command or a key: docs/operators.md lists the rights that are needed"
    ),
}
_CODE: Final = re.compile(rf"\b({'|'.join(_REFUSALS)})\b")


_CONNECTIONS: Final = {
    "CERTIFICATE_VERIFY_FAILED": (
        "shows a certificate that is not trusted, has run out or is of another name: look at"
        " ssl_ca_certs and the host in THALWEG_REDIS_URL"
    ),
    "CERTIFICATE_REQUIRED|UNKNOWN_CA|BAD_CERTIFICATE|HANDSHAKE_FAILURE|CERTIFICATE_EXPIRED": (
        "refuses the TLS connection: it may want a certificate that it knows (ssl_certfile and"
        " ssl_keyfile in THALWEG_REDIS_URL)"
    ),
    "Connection closed by server": (
        "cannot be reached: it closes the connection. Where it does so from the start, it may want"
        " TLS (rediss://), or a certificate that it knows (ssl_certfile and ssl_keyfile in"
        " THALWEG_REDIS_URL)"
    ),
    "WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE": (
        "speaks no TLS at this port: begin THALWEG_REDIS_URL with redis://, or name another port"
    ),
}
"""Words of OpenSSL and redis-py, and what they mean for a server."""


def _of_a_connection(error: BaseException) -> str | None:
    text = str(error)
    return next((words for found, words in _CONNECTIONS.items() if re.search(found, text)), None)


def unavailable(error: Exception) -> StoreUnavailableError | None:
    """Return the `StoreUnavailableError` that `error` stands for; None when it is a fault of ours.

    The message holds neither address nor credentials: callers of the API see it.
    """
    code = _code_of(error)
    if code is not None:
        return StoreUnavailableError(f"{THE_STORE} {_REFUSALS[code]}.")
    if (words := _of_a_connection(error)) is not None:
        return StoreUnavailableError(f"{THE_STORE} {words}.")
    match error:
        case redis.BusyLoadingError():
            return StoreUnavailableError(f"{THE_STORE} {_REFUSALS['LOADING']}.")
        case redis.AuthenticationError():
            return StoreUnavailableError(f"{THE_STORE} {_REFUSALS['NOAUTH']}.")
        case redis.TimeoutError() | TimeoutError():
            return StoreUnavailableError(f"{THE_STORE} did not answer within {TIMEOUT_S:g} s.")
        case redis.ConnectionError() | OSError():
            return StoreUnavailableError(f"{THE_STORE} cannot be reached.")
        case _:
            return None


def is_full(error: BaseException | None) -> bool:
    """Tell whether a server refused a write for want of memory or disk space: it can be read, and
    may recover by itself."""
    return _code_of(error) in {"OOM", "MISCONF"}


def _code_of(error: BaseException | None) -> str | None:
    # redis-py takes the code off the messages that it has a class for.
    code = getattr(error, "status_code", None)
    if code in _REFUSALS:
        return str(code)
    found = _CODE.search(str(error)) if isinstance(error, redis.ResponseError) else None
    return found[1] if found else None


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn what redis-py raises for a server that is away into `StoreUnavailableError`."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        if (translation := unavailable(error)) is None:
            raise
        raise translation from error


@dataclass(frozen=True)
class Call:
    """A script with its arguments, or (`script` None) a plain command."""

    script: str | None
    args: tuple[Any, ...]


def call_script(script: str, *args: Any) -> Call:
    """Call the script of this name."""
    return Call(script, args)


def command(*args: Any) -> Call:
    """Call a command of Redis."""
    return Call(None, args)


class _Link:
    def __init__(self, url: str, namespace: str, name: str) -> None:
        self._url = url
        self._namespace = namespace
        self._options = {
            "client_name": name,
            "socket_timeout": TIMEOUT_S,
            "socket_connect_timeout": TIMEOUT_S,
            "socket_read_size": _READ_BYTES,
            "protocol": 2,
        }

    def key(self, *parts: str) -> str:
        return ":".join((self._namespace, *parts))

    def _words(self, call: Call) -> tuple[Any, ...]:
        if call.script is None:
            return call.args
        return ("EVALSHA", scripts()[call.script].sha, 1, self._namespace, *call.args)


def _answers(answers: Sequence[Any]) -> Sequence[Any]:
    """Return the answers of a pipeline; raise the first error among them."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _unknown_script(answers: Sequence[Any]) -> bool:
    """Tell whether the server knew none of the scripts. All are loaded in one transaction, so
    either every script of a pipeline ran or none did, and calling the pipeline again is safe."""
    return any(isinstance(answer, NoScriptError) for answer in answers)


class SyncClient(_Link):
    """Client for a worker: blocking calls, usable from several threads and after a fork."""

    @cached_property
    def client(self) -> Any:
        # Untyped on purpose: redis-py's own types are unions with awaitables.
        retry = Retry(NoBackoff(), 0)
        return redis_address.client(self._url, retry=retry, **self._options)

    def call(self, call: Call) -> Any:
        """Make one call in one round trip (two more when the server does not know the scripts
        yet)."""
        with translated():
            try:
                return self.client.execute_command(*self._words(call))
            except NoScriptError:
                self._load()
                return self.client.execute_command(*self._words(call))

    def calls(self, calls: Sequence[Call]) -> Sequence[Any]:
        """Make several calls in one round trip, in order; not a transaction."""
        with translated():
            answers = self._send(calls)
            if _unknown_script(answers):
                self._load()
                answers = self._send(calls)
            return _answers(answers)

    def _send(self, calls: Sequence[Call]) -> Sequence[Any]:
        with self.client.pipeline(transaction=False) as pipeline:
            for call in calls:
                pipeline.execute_command(*self._words(call))
            answers: Sequence[Any] = pipeline.execute(raise_on_error=False)
            return answers

    def _load(self) -> None:
        with self.client.pipeline(transaction=True) as pipeline:
            for script in scripts().values():
                pipeline.execute_command("SCRIPT", "LOAD", script.source)
            pipeline.execute()

    def disconnect(self) -> None:
        """Close the connections; a later call opens new ones."""
        if "client" in self.__dict__:
            self.client.close()


def _packing_fast(connection: Any) -> Any:
    """Derive a connection class that writes its commands in C, as redis-py's blocking ones do: 5 µs
    instead of 30 for a job's creation."""

    class Connection(connection):  # type: ignore[misc]
        def pack_command(self, *args: Any) -> list[bytes]:
            return [hiredis.pack_command(args)]

    return Connection


class AsyncClient(_Link):
    """Client for an API process: one per event loop."""

    @cached_property
    def _line(self) -> Line:
        return Line(self._url, TIMEOUT_S, self._options)

    @cached_property
    def client(self) -> Any:
        pool = redis_address.async_pool(
            self._url,
            retry=AsyncRetry(NoBackoff(), 0),
            max_connections=_MAX_CONNECTIONS,
            timeout=TIMEOUT_S,
            **self._options,
        )
        pool.connection_class = _packing_fast(pool.connection_class)
        return redis.asyncio.Redis.from_pool(pool)

    async def call(self, call: Call) -> Any:
        """Make one call as `SyncClient.call` does."""
        with translated():
            try:
                return await self.client.execute_command(*self._words(call))
            except NoScriptError:
                await self._load()
                return await self.client.execute_command(*self._words(call))

    async def grouped(self, call: Call) -> Any:
        """Make a call as `call` does, for what many ask at once: all of it over one connection, so
        that the server syncs its disk once for all that has come meanwhile. Answers are as the
        server sends them."""
        with translated():
            command = hiredis.pack_command(self._words(call))
            answer = await self._line.ask(command)
            if isinstance(answer, NoScriptError):
                await self._load()
                answer = await self._line.ask(command)
            return _answers([answer])[0]

    async def calls(self, calls: Sequence[Call]) -> Sequence[Any]:
        """Make several calls as `SyncClient.calls` does."""
        with translated():
            return _answers(await self._send_known(calls))

    async def _send_known(self, calls: Sequence[Call]) -> Sequence[Any]:
        answers = await self._send(calls)
        if _unknown_script(answers):
            await self._load()
            answers = await self._send(calls)
        return answers

    async def _send(self, calls: Sequence[Call]) -> Sequence[Any]:
        async with self.client.pipeline(transaction=False) as pipeline:
            for call in calls:
                pipeline.execute_command(*self._words(call))
            answers: Sequence[Any] = await pipeline.execute(raise_on_error=False)
            return answers

    async def _load(self) -> None:
        async with self.client.pipeline(transaction=True) as pipeline:
            for script in scripts().values():
                pipeline.execute_command("SCRIPT", "LOAD", script.source)
            await pipeline.execute()

    async def disconnect(self) -> None:
        """Close the connections; a later call opens new ones."""
        if "client" in self.__dict__:
            await self.client.aclose()
        if "_line" in self.__dict__:
            await self._line.close()


@dataclass(frozen=True)
class Script:
    """A Lua script; every change of a job is one.

    Each is `lua/<name>.lua` behind what it uses of `lua/lib.lua` and of tables generated from
    `core.jobs` (and the number of `core.formats`), so that the moves are restated nowhere. They
    name their keys themselves, below the namespace that they are given: for one server, not for
    Redis Cluster.

    Attributes:
        sha: the SHA-1 by which a server that has loaded the source knows it.
    """

    source: str
    sha: str


def compose(body: str) -> Script:
    """Make the script of `body`, and of the generated tables and the library what it uses."""
    source = f"{_needed(body)}\n{body}"
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def _needed(body: str) -> str:
    """Return what of the tables and the library `body` uses: a script runs all of its source at
    each call, and the whole library takes the server longer than most scripts do."""
    library = files("core.store").joinpath("lua", "lib.lua").read_text("utf-8")
    used, needed = set(_WORD.findall(_COMMENT.sub("", body))), []
    for part in reversed(_PART.split(f"{_tables()}\n{library}")[1:]):
        defined = {*_WORD.findall(_HEAD_END.split(part, 1)[0])} - {"local", "function"}
        if defined & used:
            needed.append(_COMMENT.sub("", part).rstrip())
            used |= set(_WORD.findall(needed[-1]))
    return "\n".join(reversed(needed))


_PART: Final = re.compile(r"^(?=local )", re.MULTILINE)
_HEAD_END: Final = re.compile(r"[=(\n]")
_WORD: Final = re.compile(r"\w+")
_COMMENT: Final = re.compile(r"^\s*--.*\n?", re.MULTILINE)


@cache
def scripts() -> Mapping[str, Script]:
    """Read all scripts by name, once per process, at first use."""
    return {
        entry.name.removesuffix(".lua"): compose(entry.read_text("utf-8"))
        for entry in files("core.store").joinpath("lua").iterdir()
        if entry.name.endswith(".lua") and entry.name != "lib.lua"
    }


def _tables() -> str:
    moves = ", ".join(f"{status} = {_set(targets)}" for status, targets in MOVES.items())
    return (
        f"local MOVES = {{{moves}}}\nlocal TERMINAL = {_set(TERMINAL)}\nlocal HELD = {_set(HELD)}\n"
        f"local MOST_ENTRIES = {MOST_ENTRIES}\nlocal FORMAT = {STORE}\n"
    )


def _set(names: Iterable[str]) -> str:
    return "{" + ", ".join(f"{name} = true" for name in sorted(names)) + "}"
