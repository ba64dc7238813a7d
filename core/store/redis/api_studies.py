"""The API's side of studies, on Redis."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.errors import ChangedError
from core.store.calls import studies as calls
from core.store.calls.jobs import read_trash
from core.store.calls.nouns import STUDIES
from core.store.connection.client import AsyncClient, command
from core.store.protocols.types import (
    CreatedStudy,
    Idempotency,
    NewStudy,
    Runs,
    StudyPage,
)
from core.store.redis.api_records import AsyncRecords, Room
from core.studies import StudyRecord

if TYPE_CHECKING:
    from core.specs.studies.extension import Extension


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

    async def create(self, new: NewStudy, idempotency: Idempotency | None) -> CreatedStudy:
        if new.inherited:  # which expires unless the study is created
            await self._link.call(calls.write_inherited(self._link.key(), new.id, new.inherited))
        return await super().create(new, idempotency)

    async def inherited(self, study_id: str) -> Runs:
        return calls.inherited_in(
            await self._link.call(calls.read_inherited(self._link.key(), study_id))
        )

    async def extend(self, study_id: str, num_extensions: int, change: "Extension") -> StudyRecord:
        answer = await self._link.call(calls.extend_call(study_id, num_extensions, change))
        if answer[0] == b"changed":
            raise ChangedError("Runs have been added to the study since.")
        return self._changed(answer, study_id, "extended")

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
