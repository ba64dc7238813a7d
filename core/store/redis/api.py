"""The API's store on Redis."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import numpy as np
import redis
from numpy.typing import NDArray

from core.errors import ConflictError, StoreUnavailableError
from core.ids import utc_now
from core.jobs import JobRecord
from core.store.calls import jobs as job_calls
from core.store.calls.create import queue_place
from core.store.calls.job_codec import decode_worker
from core.store.calls.nouns import JOBS
from core.store.calls.opening import check_mode, check_opened, mode_call, open_call
from core.store.calls.totals import totals_call, totals_in
from core.store.connection.client import (
    AsyncClient,
    SyncClient,
    call_script,
    command,
    is_full,
    unavailable,
)
from core.store.history.chunks import steps_of, unpack
from core.store.history.layout import Columns, HistoryKind, HistoryMeta
from core.store.history.samples import samples_name, unpack_samples
from core.store.history.times import TimeLine, entries_in, job_name, joined
from core.store.history.times import unpack as times_in
from core.store.protocols.types import (
    Created,
    JobPage,
    NewJob,
    QueuePlace,
    StoreMemory,
    Totals,
    WorkerInfo,
)
from core.store.redis.api_datasets import AsyncRedisDatasets
from core.store.redis.api_events import AsyncRedisEvents
from core.store.redis.api_records import AsyncRecords, Room
from core.store.redis.api_studies import AsyncRedisStudies
from core.store.redis.keys import AsyncRedisKeys
from core.store.redis.uses import AsyncRedisUses
from core.store.redis.webhooks import AsyncRedisWebhooks
from core.studies import study_of

PICK_ROWS: Final = 5_000
LARGE_READ: Final = 2**18
"""Bytes of rows from which on a thread reads them, over a connection of its own: the event loop
goes on, and a blocking socket takes megabytes in half the time."""
IDLE_PING_S: Final = 15.0
RECONNECT_S: Final = (0.05, 2.0)

_log = logging.getLogger(__name__)


class AsyncRedisStore(AsyncRecords[NewJob, JobRecord, Created, JobPage]):
    """`ApiStore` on one Redis server. Connects at the first call; one per event loop."""

    def __init__(
        self,
        url: str,
        namespace: str,
        *,
        max_queued: int = 1_000_000,
        is_low: Callable[[], bool] = lambda: False,
    ) -> None:
        """Create no more of a noun while `max_queued` are queued, or while `is_low` says that the
        store's disk is nearly full."""
        room = Room(max_queued, is_low)
        super().__init__(AsyncClient(url, namespace, "thalweg-api"), JOBS, room)
        self._bulk = SyncClient(url, namespace, "thalweg-api-bulk")
        self.studies = AsyncRedisStudies(self._link, room)
        self.events = AsyncRedisEvents(self._link)
        self.datasets = AsyncRedisDatasets(self._link, room)
        self.uses = AsyncRedisUses(self._link, room)
        self.keys = AsyncRedisKeys(self._link)
        self.webhooks = AsyncRedisWebhooks(self._link)

    async def aclose(self) -> None:
        await self._link.disconnect()
        self._bulk.disconnect()

    async def open(self) -> None:
        check_mode(await self._link.call(mode_call()))
        check_opened(await self._link.call(open_call()))

    async def queue_places(self, ids: Sequence[str]) -> Sequence[QueuePlace | None]:
        if not ids:
            return []
        return [
            queue_place(found) for found in await self._link.call(call_script("positions", *ids))
        ]

    async def request_checkpoint(self, job_id: str) -> JobRecord:
        match await self._link.call(call_script("request_checkpoint", job_id)):
            case [b"not_running", status]:
                raise ConflictError(
                    "not_running",
                    f"Job {job_id} is {status.decode()}: only one that is running writes"
                    " checkpoints.",
                )
            case answer:
                return self._changed(answer, job_id, "asked")

    async def request_diagnosis(self, job_id: str, checkpoint: str) -> None:
        match await self._link.call(call_script("request_diagnosis", job_id, checkpoint)):
            case [b"ok"]:
                return
            case [b"not_terminal", status]:
                raise ConflictError(
                    "not_terminal",
                    f"Job {job_id} is {status.decode()}; a diagnosis can be asked for once it has"
                    " ended.",
                )
            case [b"pending", other]:
                raise ConflictError(
                    "diagnosis_pending",
                    f"The diagnosis of {other.decode()} is not done yet: wait for it.",
                )
            case _:
                raise JOBS.not_found(job_id)

    async def free(self, job_id: str) -> None:
        if study_of(job_id):
            await self.studies.free(job_id)
            return
        namespace = self._link.key()
        trashed = await self._link.call(job_calls.read_trash(job_id, namespace))
        for batch in job_calls.free(trashed, job_id, namespace):
            await self._link.calls(batch)

    async def history_meta(self, job_id: str, kind: HistoryKind) -> HistoryMeta:
        answer = await self._link.call(job_calls.read_meta(self._key(job_id), kind))
        return job_calls.meta_in(answer, job_id)

    async def history_rows(
        self,
        job_id: str,
        kind: HistoryKind,
        meta: HistoryMeta,
        series: Sequence[str],
        first_row: int,
        num_rows: int,
    ) -> Columns:
        reader = job_calls.RowReader(job_id, kind, meta, series, first_row, num_rows)
        requests = reader.calls(self._link.key())
        if reader.num_bytes < LARGE_READ:
            return reader.columns(await self._calls(requests))
        return await asyncio.to_thread(lambda: reader.columns(self._bulk.calls(requests)))

    async def history_pick(
        self,
        job_id: str,
        kind: HistoryKind,
        meta: HistoryMeta,
        series: Sequence[str],
        rows: NDArray[np.int64],
    ) -> Columns:
        stored = [name for name in series if name != "step"]
        head = job_calls.pick_head(job_id, kind, meta, stored)
        batches = await self._calls(
            [
                call_script("pick", *head, *rows[i : i + PICK_ROWS].tolist())
                for i in range(0, len(rows), PICK_ROWS)
            ]
            if stored
            else []
        )
        columns: Columns = {}
        for name in series:
            if name == "step":
                columns[name] = steps_of(meta, rows)
                continue
            parts = [batch[stored.index(name)] for batch in batches]
            column = unpack(meta.layout, name, len(rows), parts)
            if column is None:
                raise JOBS.not_found(job_id)
            columns[name] = column
        return columns

    async def history_times(self, job_id: str) -> TimeLine:
        study = study_of(job_id)
        if study is None:
            data = await self._link.call(command("GET", self._link.key("rows", job_name(job_id))))
            return times_in(data)
        entries = entries_in(await self._link.call(command("HGET", self._key(job_id), "times")))
        if not entries:
            return times_in(None)
        names = [self._link.key("rows", entry.name(study)) for entry in entries]
        found = await self._link.call(command("MGET", *names))
        parts = zip(found, entries, strict=True)
        return joined([(times_in(data), entry.earlier_s) for data, entry in parts])

    async def samples(self, job_id: str) -> Columns:
        key = self._link.key("rows", samples_name(job_id))
        return unpack_samples(await self._link.call(command("LRANGE", key, 0, -1)))

    async def check_writes(self) -> None:
        # A key that is never there: nothing is written, and yet it is a write.
        try:
            await self._link.call(command("DEL", self._link.key("check")))
        except StoreUnavailableError as error:
            if not is_full(error.__cause__):
                raise

    async def workers(self) -> Sequence[WorkerInfo]:
        found = await self._link.call(call_script("workers"))
        return [decode_worker(*each) for each in zip(found[::2], found[1::2], strict=True)]

    async def totals(self) -> Totals:
        return totals_in(await self._link.call(totals_call()), utc_now().timestamp())

    async def memory(self) -> StoreMemory | None:
        try:
            found = await self._link.client.info("memory")
        except redis.ResponseError:
            return None
        except (redis.RedisError, OSError) as error:
            raise unavailable(error) or error from error
        return StoreMemory(int(found["used_memory"]), int(found["maxmemory"]))

    async def ends(self, idle_ping_s: float = IDLE_PING_S) -> AsyncIterator[str]:
        wait_s, longest_s = RECONNECT_S
        told = False
        while True:
            pubsub = self._link.client.pubsub()
            try:
                await pubsub.subscribe(self._link.key("ended"))
                async for message in _messages(pubsub, idle_ping_s):
                    if message["type"] == "subscribe":
                        wait_s, told = RECONNECT_S[0], False
                        yield ""
                    elif message["type"] == "message":
                        yield message["data"].decode()
            except (redis.RedisError, OSError) as error:
                if not told:
                    _log.warning("The subscription to ends broke; subscribing again: %s", error)
                told = True
            finally:
                await pubsub.aclose()
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, longest_s)


async def _messages(pubsub: Any, idle_ping_s: float) -> AsyncIterator[Any]:
    """Yield all messages that arrive. A silent server is asked for a sign of life, and must give
    it."""
    asked = False
    while True:
        message = await pubsub.get_message(timeout=idle_ping_s)
        if message is not None:
            asked = False
            yield message
        elif asked:
            raise redis.TimeoutError("no answer to a ping")
        else:
            await pubsub.ping()
            asked = True
