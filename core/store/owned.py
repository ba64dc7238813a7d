"""The store as one owner sees it: what others made is not there.

The answers to calls about it are those about ids that nobody has. An id belongs to the same owner
for as long as it is there, so that it is looked up once.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.datasets import DatasetRecord
from core.errors import NotFoundError, delivery_not_found, use_not_found
from core.ids import DATA_PREFIX, STUDY_PREFIX
from core.jobs import JobRecord, Status
from core.specs.base import Json
from core.specs.webhooks.fields import Format
from core.store.calls.datasets import DATASETS
from core.store.calls.nouns import JOBS, STUDIES, Noun
from core.store.history.layout import Columns, HistoryKind, HistoryMeta
from core.store.history.times import TimeLine
from core.store.protocols.api import (
    ApiDatasets,
    ApiEvents,
    ApiKeys,
    ApiStore,
    ApiStudies,
    ListedRecords,
    Records,
)
from core.store.protocols.types import (
    Changes,
    Created,
    CreatedStudy,
    DatasetPage,
    Idempotency,
    JobFilter,
    JobPage,
    NewJob,
    NewStudy,
    QueuePlace,
    Runs,
    Stamp,
    StoreMemory,
    StudyPage,
    Totals,
    Used,
    WorkerInfo,
)
from core.store.protocols.uses import ApiUses
from core.store.protocols.webhooks import ApiWebhooks, DeliveryPage
from core.studies import StudyRecord, study_of
from core.uses.record import UseRecord
from core.webhooks.delivery import Delivery, DeliveryStatus

if TYPE_CHECKING:
    from core.specs.studies.extension import Extension


MOST_KNOWN: Final = 10_000
"""Ids of one owner that are known at a time; then they are looked up again."""

New = TypeVar("New")
Record = TypeVar("Record")
Made = TypeVar("Made")
Page = TypeVar("Page")


class _Listed(Generic[Record, Page]):
    """The `ListedRecords` of one noun, of one owner."""

    def __init__(
        self, records: ListedRecords[Record, Page], noun: Noun[Any, Any, Any, Any], owner: str
    ) -> None:
        self._listed = records
        self._noun = noun
        self._owner = owner
        self._mine: set[str] = set()

    async def check(self, id_: str) -> None:
        """Raise `NotFoundError` for what the owner has not."""
        if id_ in self._mine:
            return
        if await self._listed.owner(id_) != self._owner:
            raise self._noun.not_found(id_)
        if len(self._mine) >= MOST_KNOWN:
            self._mine.clear()
        self._mine.add(id_)

    async def owner(self, id_: str) -> str | None:
        await self.check(id_)
        return self._owner

    async def get(self, id_: str) -> Record:
        await self.check(id_)
        return await self._listed.get(id_)

    async def version(self, id_: str) -> int:
        await self.check(id_)
        return await self._listed.version(id_)

    async def stamp(self, id_: str) -> Stamp:
        await self.check(id_)
        return await self._listed.stamp(id_)

    async def list(self, where: JobFilter, limit: int, after_id: str | None) -> Page:
        return await self._listed.list(replace(where, owner=self._owner), limit, after_id)


class _Records(_Listed[Record, Page], Generic[New, Record, Made, Page]):
    """The `Records` of one noun, of one owner."""

    def __init__(
        self,
        records: Records[New, Record, Made, Page],
        noun: Noun[New, Record, Made, Page],
        owner: str,
    ) -> None:
        super().__init__(records, noun, owner)
        self._records = records

    async def create(self, new: New, idempotency: Idempotency | None) -> Made:
        return await self._records.create(new, idempotency)

    async def status(self, id_: str) -> Status:
        await self.check(id_)
        return await self._records.status(id_)

    async def request_pause(self, id_: str) -> Record:
        await self.check(id_)
        return await self._records.request_pause(id_)

    async def request_resume(self, id_: str) -> Record:
        await self.check(id_)
        return await self._records.request_resume(id_)

    async def usage(
        self, since: str | None, label: str | None, owner: str | None = None
    ) -> Mapping[str | None, Used]:
        return await self._records.usage(since, label, self._owner)

    async def request_cancel(self, id_: str) -> Record:
        await self.check(id_)
        return await self._records.request_cancel(id_)

    async def change(self, id_: str, version: int, changes: Changes) -> Record:
        await self.check(id_)
        return await self._records.change(id_, version, changes)

    async def delete(self, id_: str, version: int | None = None) -> None:
        await self.check(id_)
        await self._records.delete(id_, version)


class OwnedStudies(_Records[NewStudy, StudyRecord, CreatedStudy, StudyPage]):
    """The `ApiStudies` of one owner."""

    def __init__(self, studies: ApiStudies, owner: str) -> None:
        super().__init__(studies, STUDIES, owner)
        self._studies = studies

    async def runs(self, study_id: str, indices: Sequence[int] | None = None) -> Runs:
        await self.check(study_id)
        return await self._studies.runs(study_id, indices)

    async def inherited(self, study_id: str) -> Runs:
        await self.check(study_id)
        return await self._studies.inherited(study_id)

    async def extend(self, study_id: str, num_extensions: int, change: "Extension") -> StudyRecord:
        await self.check(study_id)
        return await self._studies.extend(study_id, num_extensions, change)


class OwnedDatasets(_Listed[DatasetRecord, DatasetPage]):
    """The `ApiDatasets` of one owner."""

    def __init__(self, datasets: ApiDatasets, owner: str) -> None:
        super().__init__(datasets, DATASETS, owner)
        self._datasets = datasets

    async def add(
        self,
        record: DatasetRecord,
        idempotency: Idempotency | None,
        file: str | None,
        lease_s: float,
    ) -> tuple[DatasetRecord, bool]:
        return await self._datasets.add(record, idempotency, file, lease_s)

    async def reserve(self, file: str) -> None:
        await self._datasets.reserve(file)

    async def settle(self, record: DatasetRecord, file: str | None) -> str | None:
        return await self._datasets.settle(record, file)

    async def renew_checks(self, ids: Sequence[str], lease_s: float) -> None:
        await self._datasets.renew_checks(ids, lease_s)

    async def reap_checks(self) -> None:
        await self._datasets.reap_checks()

    async def update(
        self, id_: str, version: int | None, labels: Json | None, changes: Json
    ) -> DatasetRecord:
        await self.check(id_)
        return await self._datasets.update(id_, version, labels, changes)

    async def remove(self, id_: str, version: int | None) -> str | None:
        await self.check(id_)
        return await self._datasets.remove(id_, version)


class OwnedWebhooks:
    """The `ApiWebhooks` of one owner."""

    def __init__(self, webhooks: ApiWebhooks, owner: str) -> None:
        self._webhooks = webhooks
        self._owner = owner

    async def has_secret(self) -> bool:
        return await self._webhooks.has_secret()

    async def get(self, id_: str) -> Delivery:
        found = await self._webhooks.get(id_)
        if found.owner != self._owner:
            raise delivery_not_found(id_)
        return found

    async def list(
        self,
        statuses: Sequence[DeliveryStatus],
        of: Mapping[str, str],
        limit: int,
        after_id: str | None,
    ) -> DeliveryPage:
        return await self._webhooks.list(statuses, {**of, "owner": self._owner}, limit, after_id)

    async def send_trial(self, url: str, format_: Format, owner: str | None) -> Delivery:
        return await self._webhooks.send_trial(url, format_, self._owner)

    async def redeliver(self, id_: str) -> Delivery:
        await self.get(id_)
        return await self._webhooks.redeliver(id_)


class OwnedUses:
    """The `ApiUses` of one owner."""

    def __init__(self, uses: ApiUses, owner: str) -> None:
        self._uses = uses
        self._owner = owner

    async def reserve(self, id_: str) -> None:
        await self._uses.reserve(id_)

    async def add(
        self, record: UseRecord, idempotency: Idempotency | None
    ) -> tuple[UseRecord, bool]:
        return await self._uses.add(record, idempotency)

    async def get(self, id_: str) -> UseRecord:
        found = await self._uses.get(id_)
        if found.owner != self._owner:
            raise use_not_found(id_)
        return found

    async def find(self, id_: str) -> UseRecord | None:
        return await self._uses.find(id_)

    async def drop(self, id_: str) -> None:
        await self._uses.drop(id_)


class OwnedStore(_Records[NewJob, JobRecord, Created, JobPage]):
    """The `ApiStore` of one owner. What tells of the whole service alone is as it is."""

    def __init__(self, store: ApiStore, owner: str) -> None:
        super().__init__(store, JOBS, owner)
        self._store = store
        self._studies = OwnedStudies(store.studies, owner)
        self._datasets = OwnedDatasets(store.datasets, owner)
        self._uses = OwnedUses(store.uses, owner)
        self._webhooks = OwnedWebhooks(store.webhooks, owner)

    @property
    def studies(self) -> ApiStudies:
        return self._studies

    @property
    def datasets(self) -> ApiDatasets:
        return self._datasets

    @property
    def uses(self) -> ApiUses:
        return self._uses

    @property
    def webhooks(self) -> ApiWebhooks:
        return self._webhooks

    @property
    def events(self) -> ApiEvents:
        """The calls of all followers: these share what they read, and each passes over what its
        reader does not see."""
        return self._store.events

    @property
    def keys(self) -> ApiKeys:
        return self._store.keys

    async def check(self, id_: str) -> None:
        """Do as of jobs; of a study's run, the study tells whose it is."""
        if (study := study_of(id_)) is not None:
            await self._studies.check(study)
        else:
            await super().check(id_)

    async def sees(self, name: str) -> bool:
        """Tell whether a job, study, run or data set is there for the owner."""
        listed: _Listed[Any, Any] = self
        if name.startswith((f"{STUDY_PREFIX}_", f"{DATA_PREFIX}_")):
            listed = self._datasets if name.startswith(DATA_PREFIX) else self._studies
        try:
            await listed.check(study_of(name) or name)
        except NotFoundError:
            return False
        return True

    async def aclose(self) -> None:
        await self._store.aclose()

    async def open(self) -> None:
        await self._store.open()

    async def queue_places(self, ids: Sequence[str]) -> Sequence[QueuePlace | None]:
        return await self._store.queue_places(ids)

    async def request_checkpoint(self, job_id: str) -> JobRecord:
        await self.check(job_id)
        return await self._store.request_checkpoint(job_id)

    async def request_diagnosis(self, job_id: str, checkpoint: str) -> None:
        await self.check(job_id)
        await self._store.request_diagnosis(job_id, checkpoint)

    async def free(self, job_id: str) -> None:
        await self._store.free(job_id)

    async def history_meta(self, job_id: str, kind: HistoryKind) -> HistoryMeta:
        await self.check(job_id)
        return await self._store.history_meta(job_id, kind)

    async def history_rows(
        self,
        job_id: str,
        kind: HistoryKind,
        meta: HistoryMeta,
        series: Sequence[str],
        first_row: int,
        num_rows: int,
    ) -> Columns:
        await self.check(job_id)
        return await self._store.history_rows(job_id, kind, meta, series, first_row, num_rows)

    async def history_pick(
        self,
        job_id: str,
        kind: HistoryKind,
        meta: HistoryMeta,
        series: Sequence[str],
        rows: NDArray[np.int64],
    ) -> Columns:
        await self.check(job_id)
        return await self._store.history_pick(job_id, kind, meta, series, rows)

    async def history_times(self, job_id: str) -> TimeLine:
        await self.check(job_id)
        return await self._store.history_times(job_id)

    async def samples(self, job_id: str) -> Columns:
        await self.check(job_id)
        return await self._store.samples(job_id)

    async def check_writes(self) -> None:
        await self._store.check_writes()

    async def workers(self) -> Sequence[WorkerInfo]:
        """List the workers; of others' jobs it does not say which they are at."""
        return [
            worker
            if worker.current_job is None or await self.sees(worker.current_job)
            else replace(worker, current_job=None)
            for worker in await self._store.workers()
        ]

    async def totals(self) -> Totals:
        return await self._store.totals()

    async def memory(self) -> StoreMemory | None:
        return await self._store.memory()

    def ends(self) -> AsyncIterator[str]:
        return self._store.ends()
