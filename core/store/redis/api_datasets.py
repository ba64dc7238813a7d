"""The API's side of data sets, on Redis."""

from collections.abc import Sequence
from typing import Final

from core.datasets import DatasetRecord
from core.specs.base import Json
from core.store.calls import datasets as calls
from core.store.calls.codec import dumps
from core.store.calls.datasets import DATASETS
from core.store.connection.client import AsyncClient, call_script
from core.store.protocols.types import DatasetPage, Idempotency, StorageFullError
from core.store.redis.api_records import NO_SPACE, RETRY_AFTER_S, AsyncRecords, Room

REAP_BATCH: Final = 100
PENDING_S: Final = 3_600.0
"""Seconds in which the record of a content that is being stored must have been written."""


class AsyncRedisDatasets(AsyncRecords[DatasetRecord, DatasetRecord, DatasetRecord, DatasetPage]):
    """The `core.store.protocols.api.ApiDatasets` on one Redis server."""

    def __init__(self, link: AsyncClient, room: Room) -> None:
        super().__init__(link, DATASETS, room)

    async def add(
        self,
        record: DatasetRecord,
        idempotency: Idempotency | None,
        file: str | None,
        lease_s: float,
    ) -> tuple[DatasetRecord, bool]:
        if self._room.is_low():
            raise StorageFullError(NO_SPACE, RETRY_AFTER_S)
        call = calls.create_call(record, idempotency, file, round(1000 * lease_s))
        return calls.read_creation(await self._link.call(call), record)

    async def reserve(self, file: str) -> None:
        await self._link.call(call_script("reserve_file", file, round(1000 * PENDING_S)))

    async def settle(self, record: DatasetRecord, file: str | None) -> str | None:
        match await self._link.call(calls.settle_call(record, file)):
            case [b"ok", known]:
                found: str = known.decode()
                return found
            case _:
                return None

    async def renew_checks(self, ids: Sequence[str], lease_s: float) -> None:
        await self._link.call(call_script("renew_checks", round(1000 * lease_s), *ids))

    async def reap_checks(self) -> None:
        await self._link.call(call_script("reap_checks", REAP_BATCH, dumps(calls.INTERRUPTED)))

    async def update(
        self, id_: str, version: int | None, labels: Json | None, changes: Json
    ) -> DatasetRecord:
        call = calls.update_call(id_, version, labels, changes)
        return calls.read_update(await self._link.call(call), id_)

    async def remove(self, id_: str, version: int | None) -> str | None:
        expected = "" if version is None else str(version)
        answer = await self._link.call(call_script("delete_dataset", id_, expected))
        return calls.read_deletion(answer, id_)
