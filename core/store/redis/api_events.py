"""Calls of those who follow changes, on Redis."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Final, cast

from core.store.calls.codec import Fields, fields_of
from core.store.calls.job_codec import KINDS, META_FIELDS, decode_job, decode_meta
from core.store.calls.nouns import record_key
from core.store.calls.study_codec import RUN_FIELDS, decode_run, decode_study
from core.store.connection.client import AsyncClient, call_script, command
from core.store.history.layout import HistoryKind, HistoryMeta
from core.store.protocols.api import LOG
from core.store.protocols.types import EventKind, LogEntry, LogPage, Snapshot
from core.studies import study_of

_GONE: Final = "gone"


class AsyncRedisEvents:
    """The `core.store.protocols.api.ApiEvents` on one Redis server."""

    def __init__(self, link: AsyncClient) -> None:
        self._link = link

    async def changed(self, stamps: Mapping[str, str]) -> Mapping[str, Snapshot | str | None]:
        names = list(stamps)
        words = [word for pair in stamps.items() for word in pair]
        found: dict[str, Snapshot | str | None] = {}
        for number, stamp, flat in await self._link.call(call_script("watch", *words)):
            name, known = names[number], stamp.decode()
            if name == LOG:
                found[name] = known
            else:
                found[name] = None if known == _GONE else _snapshot(name, known, fields_of(flat))
        return found

    async def log(self, after: int, limit: int) -> LogPage:
        key = self._link.key(LOG)
        found, oldest, newest = await self._link.calls(
            [
                command("XRANGE", key, f"1-{after + 1}", "+", "COUNT", limit),
                command("XRANGE", key, "-", "+", "COUNT", 1),
                command("XREVRANGE", key, "+", "-", "COUNT", 1),
            ]
        )
        first, last = (_number(some[0][0]) if some else 0 for some in (oldest, newest))
        return LogPage(tuple(_entry(*each) for each in found), first, last)

    async def present(self, num_ended: int, owner: str | None = None) -> Sequence[str]:
        found = await self._link.call(call_script("present", num_ended, owner or ""))
        return sorted({name.decode() for name in found})

    async def ended_runs(self, study_id: str, first: int, limit: int) -> Sequence[int]:
        key = f"{record_key(self._link.key(), study_id)}/ended"
        found = await self._link.call(command("LRANGE", key, first, first + limit - 1))
        return [int(index) for index in found]


def _snapshot(name: str, stamp: str, fields: Fields) -> Snapshot | None:
    study = study_of(name)
    if study == name:
        return Snapshot(stamp, decode_study(fields))
    histories = {kind: _meta(fields, kind) for kind in KINDS}
    if study is None:
        mark = fields.get("diagnosis")
        marked = "" if mark is None else f"{zlib.crc32(mark):08x}"
        return Snapshot(stamp, decode_job(fields), histories, marked)
    run = decode_run([fields.get(field) for field in RUN_FIELDS])
    return None if run is None else Snapshot(stamp, run, histories)


def _meta(fields: Fields, kind: HistoryKind) -> HistoryMeta:
    return decode_meta([fields.get(field.format(kind)) for field in META_FIELDS])


def _number(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[2])


def _entry(entry_id: bytes, fields: Mapping[bytes, bytes]) -> LogEntry:
    what, _, name = fields[b"e"].decode().partition(" ")
    owner = fields.get(b"o")
    return LogEntry(
        _number(entry_id), cast(EventKind, what), name, None if owner is None else owner.decode()
    )
