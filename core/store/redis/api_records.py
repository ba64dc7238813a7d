"""The calls that jobs and studies share on the API's side, on Redis."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, cast

from core.errors import ChangedError, ConflictError
from core.ids import new_id
from core.jobs import Status
from core.store.calls.change import change_call
from core.store.calls.codec import fields_of
from core.store.calls.create import create_call, limit_reached, read_creation
from core.store.calls.list import matching_ids, since_of
from core.store.calls.nouns import Made, New, Noun, Page, Record, record_key
from core.store.connection.client import AsyncClient, Call, call_script, command
from core.store.protocols.types import (
    Changes,
    Idempotency,
    JobFilter,
    NewWork,
    QueueFullError,
    Stamp,
    StorageFullError,
    Used,
)

NO_SPACE: Final = (
    "The disk of the store is nearly full, and what is left is kept for the jobs at work: delete"
    " jobs, or make space, and try again."
)
USAGE_LOOK: Final = 1_000
"""Records that one call adds up: some milliseconds of the server's time."""
RETRY_AFTER_S: Final = 30.0


@dataclass(frozen=True)
class Room:
    """The room that there is for new work.

    Attributes:
        is_low: whether the store's disk has no more free than is reserved. What was made before by
            the same Idempotency-Key is answered all the same.
    """

    max_queued: int
    is_low: Callable[[], bool]


class AsyncRecords(Generic[New, Record, Made, Page]):
    """The `core.store.protocols.api.Records` of one noun."""

    def __init__(self, link: AsyncClient, noun: Noun[New, Record, Made, Page], room: Room) -> None:
        self._link = link
        self._noun = noun
        self._room = room

    async def create(self, new: New, idempotency: Idempotency | None) -> Made:
        noun, fields = self._noun, self._noun.encode_new(new)
        work = cast(NewWork, new)
        most = 0 if (low := self._room.is_low()) else self._room.max_queued
        call = create_call(
            work.id, work.labels, fields, most, idempotency, work.datasets, work.key_id
        )
        try:
            created = read_creation(await self._link.grouped(call), noun.name, most)
        except QueueFullError:
            if low:
                raise StorageFullError(NO_SPACE, RETRY_AFTER_S) from None
            raise
        earlier = created.earlier
        record = noun.new_record(new) if earlier is None else noun.decode(fields_of(earlier))
        return noun.made(record, earlier is not None, created.place, created.num_workers)

    async def get(self, id_: str) -> Record:
        answer = await self._link.grouped(self._noun.read(self._link.key(), id_))
        return self._noun.record_in(answer, id_)

    async def version(self, id_: str) -> int:
        return int(await self._field(id_, "version"))

    async def status(self, id_: str) -> Status:
        return cast(Status, (await self._field(id_, "status")).decode())

    async def stamp(self, id_: str) -> Stamp:
        version, status = await self._link.call(
            command("HMGET", self._key(id_), "version", "status")
        )
        if version is None:
            raise self._noun.not_found(id_)
        return Stamp(int(version), status.decode())

    async def list(self, where: JobFilter, limit: int, after_id: str | None) -> Page:
        ids = await matching_ids(self._link.call, self._noun.name, where, limit, after_id)
        reads = [self._noun.read(self._link.key(), id_) for id_ in ids[:limit]]
        records = [
            self._noun.record_in(answer, id_)
            for id_, answer in zip(ids, await self._calls(reads), strict=False)
            if answer  # else deleted in between
        ]
        return self._noun.page(tuple(records), len(ids) > limit)

    async def owner(self, id_: str) -> str | None:
        known, owner = await self._link.call(command("HMGET", self._key(id_), "id", "owner"))
        if known is None:
            raise self._noun.not_found(id_)
        return None if owner is None else str(owner.decode())

    async def usage(
        self, since: str | None, label: str | None, owner: str | None = None
    ) -> Mapping[str | None, Used]:
        found: dict[str | None, Used] = {}
        since_, lower = since_of(since, self._noun.name)
        upper: bytes | str = "+"
        while upper:
            call = call_script(
                "usage", f"{self._noun.name}_", USAGE_LOOK, upper, lower, since_, label or "",
                owner or "",
            )  # fmt: skip
            upper, *words = await self._link.call(call)
            for at in range(0, len(words), 6):
                value, count, device_s, cpu_s, peak, stored = words[at : at + 6]
                group = value.decode()[1:] if value else None
                used = Used(int(count), float(device_s), float(cpu_s), int(peak), int(stored))
                found[group] = found.get(group, Used()) + used
        return found

    async def request_cancel(self, id_: str) -> Record:
        match await self._link.call(call_script("cancel", id_)):
            case [b"ok", record]:
                return self._noun.decode(fields_of(record))
            case _:
                raise self._noun.not_found(id_)

    async def request_pause(self, id_: str) -> Record:
        return self._changed(await self._link.call(call_script("pause", id_)), id_, "paused")

    async def request_resume(self, id_: str) -> Record:
        stamp = new_id(self._noun.name).partition("_")[2]
        answer = await self._link.call(call_script("resume", id_, stamp))
        return self._changed(answer, id_, "resumed")

    def _changed(self, answer: Any, id_: str, what: str) -> Record:
        """Read the answer of a script that changes a record which has not ended."""
        match answer:
            case [b"ok", record]:
                return self._noun.decode(fields_of(record))
            case [b"illegal", status]:
                raise self._noun.is_over(id_, status.decode(), what)
            case [b"limit", *words]:
                raise limit_reached(words)
            case _:
                raise self._noun.not_found(id_)

    async def change(self, id_: str, version: int, changes: Changes) -> Record:
        match await self._link.call(change_call(id_, version, changes)):
            case [b"changed"]:
                raise ChangedError(f"The {self._noun.name} has changed since that version.")
            case [b"not_waiting", status]:
                raise ConflictError(
                    "not_waiting",
                    f"priority: the {self._noun.name} is {status.decode()}; only what is queued or"
                    " paused waits, and can be given another.",
                )
            case answer:
                return self._changed(answer, id_, "changed")

    async def delete(self, id_: str, version: int | None = None) -> None:
        expected = "" if version is None else str(version)
        match await self._link.call(call_script("delete", id_, expected)):
            case [b"ok"]:
                return
            case [b"changed"]:
                raise ChangedError(f"The {self._noun.name} has changed since that version.")
            case [b"not_terminal", status]:
                raise self._noun.not_terminal(id_, status)
            case [b"kept", until]:
                raise ConflictError(
                    "kept",
                    f"The {self._noun.name} is kept until {until.decode()}: PATCH its keep_until to"
                    " null, and then delete it.",
                )
            case _:
                raise self._noun.not_found(id_)

    def _key(self, name: str) -> str:
        return record_key(self._link.key(), name)

    async def _field(self, id_: str, name: str) -> bytes:
        found: bytes | None = await self._link.call(command("HGET", self._key(id_), name))
        if found is None:
            raise self._noun.not_found(id_)
        return found

    async def _calls(self, several: Sequence[Call]) -> Sequence[Any]:
        return await self._link.calls(several) if several else []
