"""The gate: whether keys are needed, whose a request's key is, and what that key may do."""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast

from starlette.types import Scope as Asgi

from api.background import ended
from api.http.log import note
from api.http.middleware import PROBES, is_loopback, own_path
from api.keys.rates import Headers, Rates
from core.artifacts.base import ArtifactStore
from core.errors import (
    ArtifactError,
    MissingScopeError,
    NoKeysError,
    NotAuthenticatedError,
    StoreUnavailableError,
)
from core.ids import rfc3339, utc_now
from core.keys import KeyRecord, Scope, digest_of
from core.settings import Settings
from core.store.protocols.api import ApiKeys

LOOK_EVERY_S: Final = 0.2
"""Time after which a request looks again whether a key has been made: the first one guards every
API process by then."""
KNOWN_S: Final = 1.0
"""Seconds for which a key that was found is known without another look: so long may a revoked one
be taken."""
MOST_KNOWN: Final = 10_000
NOTE_USE_S: Final = 60.0
CALLER: Final = "thalweg.caller"
"""Name, in a request's scope, of whose key it came with; it is missing while none is needed."""
SCOPES: Final = b"thalweg-scopes"
"""Header of replies to a request with a key: what the key may do."""
_READING: Final = frozenset({"/v1/jobs/validate", "/v1/studies/validate", "/v1/functions/values"})
"""Paths to which something is posted that is only looked at."""
_WAY_OUT: Final = "send a key: Authorization: Bearer thw_… (`thalweg keys create` makes one)"


@dataclass(frozen=True)
class Caller:
    """Maker of a request, by its key. `digest`: of the token."""

    key: KeyRecord
    digest: str

    @property
    def owner(self) -> str:
        return self.key.owner


def caller_of(scope: Mapping[str, object]) -> Caller | None:
    """Return who makes a request; None while no keys are needed: all may do all."""
    return cast(Caller | None, scope.get(CALLER))


def owner_seen(scope: Mapping[str, object]) -> str | None:
    """Return the owner of what the request may see; None: it may see all."""
    caller = caller_of(scope)
    return None if caller is None or caller.key.is_admin else caller.owner


class Gate:
    """Decides of each request whether it may come in. One for each application.

    Keys are needed once one was made, whatever became of it; so says the store, or, where that was
    emptied, a note among the artifacts. An API on an address that others can reach needs them from
    its start, unless it is told that something else guards it.
    """

    def __init__(
        self,
        keys: ApiKeys,
        artifacts: ArtifactStore,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._artifacts = artifacts
        self._is_local = is_loopback(settings.host.strip("[]").lower())
        self._clock = clock
        self.needed = not (self._is_local or settings.insecure_listen)
        self._look_at = 0.0
        self._is_noted: bool | None = None
        self._known: OrderedDict[str, tuple[float, KeyRecord]] = OrderedDict()
        self._finding: dict[str, asyncio.Future[KeyRecord | None]] = {}
        self._noting: set[asyncio.Future[None]] = set()
        self._used: dict[str, float] = {}
        self._rates = Rates(clock)
        self._watched: dict[str, set[Callable[[], None]]] = {}
        self._watching: asyncio.Task[None] | None = None

    @property
    def is_due(self) -> bool:
        """True while it is to look, before the next request, whether keys are needed."""
        return not self.needed and self._clock() >= self._look_at

    async def look(self, path: str) -> None:
        """Look whether keys are needed by now. Raises `StoreUnavailableError` where that has never
        been known, and the path tells of jobs."""
        if self._is_noted is None:
            with contextlib.suppress(ArtifactError):  # away: the next look asks again
                self._is_noted = await asyncio.to_thread(self._artifacts.has_keys)
        try:
            made, _ = await self._keys.state()
        except StoreUnavailableError:
            self.needed = bool(self._is_noted)
            if self._look_at == 0.0 and not self.needed and path.startswith("/v1"):
                raise
            return
        if made or self._is_noted:
            self.needed = True
            note(logging.INFO, "API keys are needed from now on", made=made)
        if made and not self._is_noted:
            await self._note_made()
        self._look_at = self._clock() + LOOK_EVERY_S

    async def _note_made(self) -> None:
        try:
            await asyncio.to_thread(self._artifacts.note_keys)
            self._is_noted = True
        except ArtifactError as error:
            note(
                logging.WARNING, "that there are keys is noted in the store only", error=str(error)
            )

    async def admit(self, scope: Asgi, headers: Mapping[bytes, bytes], reply: Headers) -> None:
        """Let a request in, or raise the error that it is answered with. Who makes it stands in its
        scope then; `reply` gets headers of the reply, whatever it is.

        Raises:
            NotAuthenticatedError: it has no key that is taken.
            MissingScopeError: its key may not do this.
            NoKeysError: no key there is would be taken, and others can reach the address.
            LimitReachedError: requests with its key come too fast.
        """
        path = own_path(scope)
        if path in PROBES:
            return
        if not _is_guarded(path):
            await self._refuse_without_keys()
            return
        given = headers.get(b"authorization")
        if given is None:
            await self._refuse_without_keys()
            raise NotAuthenticatedError(f"This call needs a key: {_WAY_OUT}.", was_given=False)
        caller = await self._caller(given)
        reply.append((SCOPES, ", ".join(caller.key.scopes).encode()))
        self._rates.take(caller.key, reply)
        wanted = _scope_wanted(scope["method"], path)
        if not caller.key.allows(wanted):
            raise MissingScopeError(
                wanted,
                f"The key {caller.key.id} has the scopes {', '.join(caller.key.scopes)}; this call"
                f" needs {wanted}: use another key.",
            )
        scope[CALLER] = caller

    async def _refuse_without_keys(self) -> None:
        """Say that nobody can come in, where others than this machine may ask."""
        if self._is_local:
            return
        _, is_usable = await self._keys.state()
        if not is_usable:
            raise NoKeysError(
                "This service is reached by others and has no key that is taken (all are revoked or"
                " expired, or the store was emptied): `thalweg keys create` makes one."
            )

    async def _caller(self, given: bytes) -> Caller:
        kind, _, token = given.decode("latin-1").strip().partition(" ")
        digest = digest_of(token.strip()) if kind.lower() == "bearer" else None
        key = None if digest is None else await self.find(digest)
        if key is None or digest is None:
            why = f"The key in Authorization is none that this service knows: {_WAY_OUT}."
        elif (refusal := key.refusal(rfc3339(utc_now()))) is not None:
            why = f"{refusal} Send one that is taken (`thalweg keys list` shows which are)."
        else:
            self._note_use(key)
            return Caller(key, digest)
        await self._refuse_without_keys()
        raise NotAuthenticatedError(why, was_given=True)

    async def stop(self) -> None:
        """End what goes on beside the requests, once no more of them come. What was begun with the
        store after it is closed would hold a connection that nobody closes."""
        await ended(*self._finding.values(), self._watching)
        await asyncio.gather(*self._noting, return_exceptions=True)  # uses are noted to the end

    async def find(self, digest: str) -> KeyRecord | None:
        """Return the key whose token has this digest, as it was within the last second."""
        now = self._clock()
        known = self._known.get(digest)
        if known is not None and known[0] > now:
            return known[1]
        finding = self._finding.get(digest)
        if finding is None:  # all who ask meanwhile wait for the same answer
            finding = asyncio.ensure_future(self._keys.find(digest))
            self._finding[digest] = finding
            finding.add_done_callback(lambda done: self._keep(digest, now + KNOWN_S, done))
        return await asyncio.shield(finding)

    def _keep(self, digest: str, until: float, done: "asyncio.Future[KeyRecord | None]") -> None:
        del self._finding[digest]
        self._known.pop(digest, None)
        if done.cancelled() or done.exception() is not None:
            return
        found = done.result()
        if found is not None:  # others are asked for each time: a new key is taken at once
            self._known[digest] = until, found
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)

    @contextlib.contextmanager
    def watching(self, caller: Caller, end: Callable[[], None]) -> Iterator[None]:
        """Call `end` within some seconds of the moment from which on the key is not taken."""
        ends = self._watched.setdefault(caller.digest, set())
        ends.add(end)
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch(), name="watch-keys")
        try:
            yield
        finally:
            ends.discard(end)
            if not ends and self._watched.get(caller.digest) is ends:
                del self._watched[caller.digest]

    async def _watch(self) -> None:
        while self._watched:
            await asyncio.sleep(KNOWN_S)
            for digest, ends in list(self._watched.items()):
                with contextlib.suppress(StoreUnavailableError):
                    key = await self.find(digest)
                    if key is None or key.refusal(rfc3339(utc_now())) is not None:
                        for end in list(ends):
                            end()

    def _note_use(self, key: KeyRecord) -> None:
        """Note at most once a minute, and beside the request, that the key is used."""
        now = self._clock()
        if self._used.get(key.id, now) > now:
            return
        self._used[key.id] = now + NOTE_USE_S
        noting = asyncio.ensure_future(self._noted(key.id))
        self._noting.add(noting)
        noting.add_done_callback(self._noting.discard)

    async def _noted(self, key_id: str) -> None:
        with contextlib.suppress(StoreUnavailableError):
            await self._keys.used(key_id)


def _is_guarded(path: str) -> bool:
    """Tell whether a path needs a key: all that tells of jobs. Documentation and version do not."""
    return path.startswith("/v1/") or path in {"/v1", "/metrics"}


def _scope_wanted(method: str, path: str) -> Scope:
    return "read" if method in {"GET", "HEAD", "OPTIONS"} or path in _READING else "write"
