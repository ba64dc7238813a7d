"""Uses of weights on Redis: what the API asks (async), and a worker's side of the queue (sync)."""

import hashlib
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Final

from core.errors import NotFoundError, StaleAttemptError, use_not_found
from core.formats import STORE
from core.ids import JOB_PREFIX
from core.specs.base import Json
from core.store.calls.codec import Fields, columns_of, dumps, encode, fields_of, stored_fields
from core.store.calls.create import key_reused, limit_reached, made_deleted
from core.store.calls.job_codec import worker_kind
from core.store.calls.nouns import hash_in, record_key
from core.store.connection.client import AsyncClient, Call, SyncClient, call_script, command
from core.store.protocols.types import Idempotency, QueueFullError, StorageFullError, UseClaim
from core.store.redis.api_records import NO_SPACE, RETRY_AFTER_S, Room
from core.store.redis.worker_diagnoses import MAX_ATTEMPTS
from core.uses.record import UseRecord

_STORED: Final = stored_fields(UseRecord)
_COLUMNS: Final = columns_of(UseRecord)
_BY_SCRIPT: Final = frozenset({"status", "version"})
PENDING_S: Final = 3_600.0
"""Seconds in which the record of a use whose rows are being stored must have been written."""
LEFT_S: Final = 5.0
"""Seconds for which a use is left to workers of the kind that its job asks for, before one of the
other kind does it."""


def decode_use(hashed: Fields) -> UseRecord:
    """Read the record in the hash of a use."""
    return UseRecord(
        **{name: read(hashed[key]) for key, (name, read) in _COLUMNS.items() if key in hashed}
    )


def _words(record: UseRecord) -> list[bytes | str]:
    """Write the hash of a new use, but for what the script sets."""
    words: list[bytes | str] = ["format", str(STORE)]
    for each in fields(record):
        value = getattr(record, each.name)
        if value is not None and each.name not in _BY_SCRIPT:
            words += [each.name, encode(_STORED[each.name], value)]
    return words


class AsyncRedisUses:
    """The `core.store.protocols.uses.ApiUses` on one Redis server."""

    def __init__(self, link: AsyncClient, room: Room) -> None:
        self._link = link
        self._room = room

    async def reserve(self, id_: str) -> None:
        await self._link.call(call_script("reserve_file", id_, round(1000 * PENDING_S)))

    async def add(
        self, record: UseRecord, idempotency: Idempotency | None
    ) -> tuple[UseRecord, bool]:
        if self._room.is_low():
            raise StorageFullError(NO_SPACE, RETRY_AFTER_S)
        most = self._room.max_queued
        match await self._link.call(_create_call(record, idempotency, most)):
            case [b"created"]:
                return replace(record, status="queued", version=1), False
            case [b"known" | b"replayed", found]:
                return decode_use(fields_of(found)), True
            case [b"reused"]:
                raise key_reused()
            case [b"deleted", name]:
                raise made_deleted("prediction", "prediction", name.decode())
            case [b"missing"]:
                noun = "job" if record.of.startswith(JOB_PREFIX) else "study"
                raise NotFoundError(f"There is no {noun} {record.of!r} (any more).")
            case [b"full"]:
                message = f"{most} predictions wait already: try again later."
                raise QueueFullError(message, RETRY_AFTER_S)
            case [b"limit", *words]:
                raise limit_reached(words)
            case answer:
                raise AssertionError(answer)

    async def get(self, id_: str) -> UseRecord:
        answer = await self._link.call(command("HGETALL", record_key(self._link.key(), id_)))
        if not answer:
            raise use_not_found(id_)
        return decode_use(hash_in(answer))

    async def find(self, id_: str) -> UseRecord | None:
        try:
            return await self.get(id_)
        except NotFoundError:
            return None

    async def drop(self, id_: str) -> None:
        await self._link.call(call_script("drop_use", id_))


def _create_call(record: UseRecord, idempotency: Idempotency | None, most: int) -> Call:
    memory = hashlib.sha256(idempotency.key.encode()).hexdigest() if idempotency else ""
    fingerprint, ttl_s = (idempotency.fingerprint, idempotency.ttl_s) if idempotency else ("", 0)
    return call_script(
        "create_use", record.id, memory, fingerprint, ttl_s, record.of, most,
        record.key_id or "", record.size_bytes, *_words(record),
    )  # fmt: skip


class RedisUses:
    """The `core.store.protocols.uses.WorkerUses` on one Redis server."""

    def __init__(self, link: SyncClient) -> None:
        self._link = link

    def claim(self, worker: str, devices: Sequence[str], lease_s: float) -> UseClaim | None:
        words = (worker, _ms(lease_s), worker_kind(devices), _ms(LEFT_S))
        match self._link.call(call_script("claim_use", *words)):
            case [b"ok", token, record]:
                return UseClaim(decode_use(fields_of(record)), int(token))
            case _:
                return None

    def renew(self, claim: UseClaim, lease_s: float) -> None:
        self._write(claim, call_script("renew_use", claim.use.id, claim.token, _ms(lease_s)))

    def finish(self, claim: UseClaim, result: Json, size_bytes: int) -> None:
        self._close(claim, "succeeded", size_bytes, "result", dumps(result))

    def fail(self, claim: UseClaim, error: Json) -> None:
        self._close(claim, "failed", 0, "error", dumps(error))

    def hand_over(self, claim: UseClaim) -> None:
        self._close(claim, "", 0)

    def lose(self, claim: UseClaim) -> None:
        self._write(claim, call_script("lose_use", claim.use.id, claim.token, MAX_ATTEMPTS))

    def is_there(self, id_: str) -> bool:
        return bool(self._link.call(command("EXISTS", record_key(self._link.key(), id_))))

    def expire(self, limit: int) -> Sequence[str]:
        return [name.decode() for name in self._link.call(call_script("expire_uses", limit))]

    def _close(self, claim: UseClaim, status: str, size_bytes: int, *words: str) -> None:
        call = call_script("close_use", claim.use.id, claim.token, status, size_bytes, *words)
        self._write(claim, call)

    def _write(self, claim: UseClaim, call: Call) -> None:
        answer: Any = self._link.call(call)
        if answer[0] != b"ok":
            raise StaleAttemptError(f"{claim.use.id} is no longer this worker's.")


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
