"""The API's side of studies, on Redis."""

import asyncio
from collections.abc import Sequence

from core.store.calls import studies as calls
from core.store.calls.jobs import read_trash
from core.store.calls.nouns import STUDIES
from core.store.connection.client import AsyncClient, command
from core.store.protocols.types import CreatedStudy, NewStudy, Runs, StudyPage
from core.store.redis.api_records import AsyncRecords, Room
from core.studies import StudyRecord


class AsyncRedisStudies(AsyncRecords[NewStudy, StudyRecord, CreatedStudy, StudyPage]):
    """The `core.store.protocols.api.ApiStudies` on one Redis server."""

    def __init__(self, link: AsyncClient, room: Room) -> None:
        super().__init__(link, STUDIES, room)

    async def free(self, study_id: str) -> None:
        """Free what a study in the trash leaves behind; may be repeated."""
        namespace = self._link.key()
        trashed = await self._link.call(read_trash(study_id, namespace))
        for some in calls.batches(range(calls.planned_in(trashed))):
            metas = await self._link.calls(calls.read_rows_of(namespace, study_id, some))
            for batch in calls.free_runs(namespace, study_id, some, metas):
                await self._link.calls(batch)
        tasks, bundled = await self._link.calls(calls.read_rest(namespace, study_id))
        for batch in calls.free_rest(namespace, study_id, tasks, bundled):
            await self._link.calls(batch)

    async def runs(self, study_id: str, indices: Sequence[int] | None = None) -> Runs:
        namespace = self._link.key()
        wanted = indices
        if wanted is None:
            found = await self._link.call(command("HMGET", self._key(study_id), "id", "planned"))
            wanted = range(calls.planned(found, study_id))
        runs: Runs = []
        for some in calls.batches(wanted):
            runs += calls.runs_in(
                await self._link.calls(calls.read_runs(namespace, study_id, some))
            )
            await asyncio.sleep(0)  # many records are decoded: let others have a turn
        return runs
