"""The API's side of studies, on Redis."""

import asyncio
from collections.abc import Sequence

from core.errors import ConflictError
from core.ids import STUDY_PREFIX
from core.store.calls import studies as calls
from core.store.calls.create import create_call, read_creation
from core.store.calls.job_codec import fields_of
from core.store.calls.list import matching_ids
from core.store.calls.study_codec import decode_study, encode_new_study, new_study_record
from core.store.connection.client import AsyncClient, call_script, command
from core.store.protocols.types import CreatedStudy, Idempotency, JobFilter, NewStudy, StudyPage
from core.studies import RunRecord, StudyRecord

Runs = list[RunRecord]


class AsyncRedisStudies:
    """`core.store.protocols.api.ApiStudies` on one Redis server."""

    def __init__(self, link: AsyncClient, max_queued: int) -> None:
        self._link = link
        self._max_queued = max_queued

    async def create(self, study: NewStudy, idempotency: Idempotency | None) -> CreatedStudy:
        fields = encode_new_study(study)
        call = create_call(study.id, study.labels, fields, self._max_queued, idempotency)
        created = read_creation(await self._link.call(call), "study", self._max_queued)
        if created.earlier is None:
            return CreatedStudy(new_study_record(study), False)
        return CreatedStudy(decode_study(fields_of(created.earlier)), True)

    async def get(self, study_id: str) -> StudyRecord:
        answer = await self._link.call(calls.read_record(self._link.key(), study_id))
        return calls.study_in(answer, study_id)

    async def version(self, study_id: str) -> int:
        key = calls.record_key(self._link.key(), study_id)
        found: bytes | None = await self._link.call(command("HGET", key, "version"))
        if found is None:
            raise calls.not_found(study_id)
        return int(found)

    async def list(self, where: JobFilter, limit: int, after_id: str | None) -> StudyPage:
        ids = await matching_ids(self._link.call, STUDY_PREFIX, where, limit, after_id)
        reads = [calls.read_record(self._link.key(), study_id) for study_id in ids[:limit]]
        answers = await self._link.calls(reads) if reads else []
        studies = [
            calls.study_in(answer, study_id)
            for study_id, answer in zip(ids, answers, strict=False)
            if answer  # else deleted in between
        ]
        return StudyPage(tuple(studies), len(ids) > limit)

    async def request_cancel(self, study_id: str) -> StudyRecord:
        match await self._link.call(call_script("cancel", study_id)):
            case [b"ok", record]:
                return decode_study(fields_of(record))
            case _:
                raise calls.not_found(study_id)

    async def delete(self, study_id: str) -> None:
        match await self._link.call(call_script("delete", study_id)):
            case [b"ok"]:
                return
            case [b"not_terminal", status]:
                raise ConflictError(
                    "not_terminal",
                    f"Study {study_id} is {status.decode()}: cancel it and wait for its end before"
                    " deleting it.",
                )
            case _:
                raise calls.not_found(study_id)

    async def free(self, study_id: str) -> None:
        """Free what a study in the trash leaves behind; may be repeated."""
        namespace = self._link.key()
        trashed = await self._link.call(calls.read_trash(study_id, namespace))
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
            key = calls.record_key(namespace, study_id)
            found = await self._link.call(command("HMGET", key, "id", "planned"))
            wanted = range(calls.planned(found, study_id))
        runs: Runs = []
        for some in calls.batches(wanted):
            runs += calls.runs_in(
                await self._link.calls(calls.read_runs(namespace, study_id, some))
            )
            await asyncio.sleep(0)  # many records are decoded: let others have a turn
        return runs
