"""API keys on Redis: what the API asks (async), and what operators change (sync)."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from core.errors import ConflictError, NotFoundError
from core.ids import DATA_PREFIX, JOB_PREFIX, STUDY_PREFIX
from core.keys import KeyRecord, digest_of, new_token
from core.store.calls.codec import columns_of, encode, fields_of, stored_fields
from core.store.connection.client import AsyncClient, Call, SyncClient, call_script

_STORED: Final = stored_fields(KeyRecord)
_COLUMNS: Final = columns_of(KeyRecord)
ADOPT_BATCH: Final = 1_000
"""Records that one call looks at: some milliseconds of the server's time."""


def _decoded(flat: Sequence[bytes]) -> KeyRecord:
    hashed = fields_of(flat)
    found = {name: read(hashed[key]) for key, (name, read) in _COLUMNS.items() if key in hashed}
    return KeyRecord(**found)


def _create_call(record: KeyRecord, digest: str) -> Call:
    words: list[Any] = []
    for each in fields(record):
        if (value := getattr(record, each.name)) is not None:
            words += [each.name, encode(_STORED[each.name], value)]
    return call_script("create_key", record.id, digest, record.name or "", *words)


class AsyncRedisKeys:
    """The `core.store.protocols.api.ApiKeys` on one Redis server."""

    def __init__(self, link: AsyncClient) -> None:
        self._link = link

    async def find(self, digest: str) -> KeyRecord | None:
        found = await self._link.call(call_script("find_key", digest))
        return _decoded(found) if found else None

    async def state(self) -> tuple[int, bool]:
        made, usable = await self._link.call(call_script("keys_state"))
        return made, bool(usable)

    async def used(self, key_id: str) -> None:
        await self._link.call(call_script("use_key", key_id))


class RedisKeys:
    """Keys as operators see and change them. Every method may raise `StoreUnavailableError`."""

    def __init__(self, url: str, namespace: str) -> None:
        self._link = SyncClient(url, namespace, "thalweg-keys")

    def disconnect(self) -> None:
        self._link.disconnect()

    def create(self, record: KeyRecord) -> str:
        """Write a new key, and return its token, which is kept nowhere.

        Raises:
            ConflictError: another key has its name, or its id.
        """
        token = new_token()
        match self._link.call(_create_call(record, _digest(token))):
            case [b"ok"]:
                return token
            case [b"named", other]:
                named = (record.name or "")[:80]
                raise ConflictError(
                    "name_in_use",
                    f"{named!r} is the name of {other.decode()}, which is not revoked: give another"
                    " name; `thalweg keys rotate` gives that key a new secret, and once it is"
                    " revoked its name is free.",
                )
            case _:
                raise ConflictError("exists", f"There is a key {record.id} already.")

    def list(self) -> list[KeyRecord]:
        """List all keys that were made, the newest first."""
        return [_decoded(flat) for flat in self._link.call(call_script("keys"))]

    def get(self, named: str) -> KeyRecord:
        """Return the key with this id, or the one of this name: of revoked ones where all are.

        Raises:
            NotFoundError: there is none.
            ConflictError: several have the name.
        """
        keys = self.list()
        of_name = [key for key in keys if key.name == named]
        found = (
            [key for key in keys if key.id == named]
            or [key for key in of_name if key.revoked_at is None]
            or of_name
        )
        if not found:
            raise NotFoundError(f"There is no key {named[:80]!r}; `thalweg keys list` lists them.")
        if len(found) > 1:
            ids = ", ".join(key.id for key in found)
            if found[0].revoked_at is not None:
                raise ConflictError("revoked", f"All keys named {named[:80]!r} are revoked: {ids}.")
            raise ConflictError("ambiguous", f"{named[:80]!r} is the name of {ids}: give the id.")
        return found[0]

    def revoke(self, key_id: str) -> KeyRecord:
        """Take the key out of use; one that is revoked stays as it is. Raises `NotFoundError`."""
        match self._link.call(call_script("revoke_key", key_id)):
            case [b"ok", record]:
                return _decoded(record)
            case _:
                raise NotFoundError(f"There is no key {key_id!r}.")

    def rotate(self, key_id: str, grace_s: float) -> tuple[KeyRecord, str]:
        """Give the key a new token, and return both. The old token is taken for `grace_s` more.

        Raises:
            NotFoundError: there is no such key.
            ConflictError: it is revoked.
        """
        token = new_token()
        call = call_script("rotate_key", key_id, _digest(token), round(1000 * grace_s))
        match self._link.call(call):
            case [b"ok", record]:
                return _decoded(record), token
            case [b"revoked"]:
                raise ConflictError("revoked", f"{key_id} is revoked: create a new key.")
            case _:
                raise NotFoundError(f"There is no key {key_id!r}.")

    def adopt(self, owner: str) -> int:
        """Give all jobs, studies and data sets that have no owner to this one; returns how many.
        Some at a time: what is made meanwhile has its owner already."""
        adopted = 0
        for prefix in (JOB_PREFIX, STUDY_PREFIX, DATA_PREFIX):
            upper: bytes | str = "+"
            while upper:
                call = call_script("adopt", f"{prefix}_", owner, upper, ADOPT_BATCH)
                number, upper = self._link.call(call)
                adopted += number
        return adopted

    def state(self) -> tuple[int, bool]:
        """Return how many keys were made, and whether one of them is taken now."""
        made, usable = self._link.call(call_script("keys_state"))
        return made, bool(usable)


def _digest(token: str) -> str:
    digest = digest_of(token)
    assert digest is not None
    return digest
