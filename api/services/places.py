"""Places in the queue of what waits, and the reason why it waits."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from api.http.schemas import WaitingFor
from api.services.dependencies import Services
from core.datasets import DatasetRecord
from core.errors import StoreUnavailableError
from core.jobs import JobRecord
from core.store.calls.job_codec import queues_served
from core.store.protocols.types import QueuePlace, WorkerInfo
from core.studies import StudyRecord

Work = JobRecord | StudyRecord | DatasetRecord


class Place(NamedTuple):
    """`position`: 0 is next; None unless it is queued. `waiting_for`: None unless it waits."""

    position: int | None = None
    waiting_for: WaitingFor | None = None


NOWHERE: Final = Place()


async def places(services: Services, page: Iterable[Work]) -> dict[str, Place]:
    """Look up the places of those of the page that wait, by id."""
    waiting = [work for work in page if _waits(work)]
    if not waiting:
        return {}
    queued = [work.id for work in waiting if work.status == "queued"]
    found, workers = await asyncio.gather(
        services.store.queue_places(queued), services.store.workers()
    )
    place_of = dict(zip(queued, found, strict=True))
    return {work.id: _place(work, place_of.get(work.id), workers) for work in waiting}


def _place(work: Work, found: QueuePlace | None, workers: Sequence[WorkerInfo]) -> Place:
    why = _waiting_for(work, workers)
    if found is None:
        return Place(None, why)
    return Place(found.position, "limit" if found.is_limited and why == "queue" else why)


async def place(services: Services, work: Work) -> Place:
    """Look up the place of a job or study."""
    return (await places(services, [work])).get(work.id, NOWHERE)


async def first_place(
    services: Services, work: Work, found: QueuePlace | None, num_workers: int
) -> Place:
    """Return the place of what has just been queued, of which the store said the place in the queue
    and the number of workers already: they are looked at only for what not every worker can run."""
    if work.status != "queued" or found is None:
        return NOWHERE
    if not num_workers:
        return Place(found.position, "no_worker")
    if not _device(work).startswith("cuda"):
        return Place(found.position, "limit" if found.is_limited else "queue")
    try:
        return _place(work, found, await services.store.workers())
    except StoreUnavailableError:  # it is queued all the same
        return Place(found.position)


def _waits(work: Work) -> bool:
    """Tell whether nobody works at it now, though somebody should."""
    if work.status == "queued":
        return True
    return (
        isinstance(work, StudyRecord)
        and work.status == "running"
        and not work.counts.get("running")
    )


def _waiting_for(work: Work, workers: Sequence[WorkerInfo]) -> WaitingFor | None:
    if not workers:
        return "no_worker"
    if not any(_device(work) in queues_served(worker.devices) for worker in workers):
        return "device"
    return "queue" if work.status == "queued" else None  # a study's plan may be in hand


def _device(work: Work) -> str:
    assert not isinstance(work, DatasetRecord)
    spec = work.spec if isinstance(work, JobRecord) else work.spec["base"]
    return spec.get("device") or "auto"
