"""What the calls of jobs and of studies share: both are queued and listed."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from pydantic import BaseModel

from api.http.openapi import header
from api.http.paging import fingerprint, read_cursor
from api.http.queries import JobsQuery
from api.services.dependencies import Services
from core.ids import is_id
from core.jobs import JobRecord
from core.store.protocols.types import JobFilter
from core.studies import StudyRecord


class Listing(NamedTuple):
    """A list that is asked for: which, what stands for the query in cursors, and the last id of the
    page before."""

    where: JobFilter
    of: str
    after_id: str | None


def listing(query: JobsQuery, noun: str, prefix: str) -> Listing:
    """`noun`: of the list's path; `prefix`: of its ids."""
    where = JobFilter(
        statuses=tuple(query.status),
        labels=tuple((key, value) for key, _, value in (it.partition(":") for it in query.label)),
        created_after=query.created_after,
    )
    of = fingerprint(
        noun, sorted(set(where.statuses)), sorted(set(where.labels)), where.created_after
    )
    after_id = None
    if query.after is not None:
        after_id = read_cursor(of, query.after, lambda text: is_id(text, prefix))
    return Listing(where, of, after_id)


async def places(
    services: Services, page: Iterable[JobRecord | StudyRecord]
) -> dict[str, int | None]:
    """By id, the places in the queue of those that wait there."""
    queued = [work.id for work in page if work.status == "queued"]
    found = await services.store.queue_positions(queued) if queued else ()
    return dict(zip(queued, found, strict=True))


async def place(services: Services, work: JobRecord | StudyRecord) -> int | None:
    """Its place in the queue."""
    return await services.store.queue_position(work.id) if work.status == "queued" else None


def accepted(noun: str, model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a call that queues one."""
    headers = {
        "Location": header(f"The {noun}'s path."),
        "Retry-After": header("Seconds.", type="integer"),
        "Idempotent-Replayed": header("`true` when the key was known.", const="true"),
    }
    return {202: {"model": model, "headers": headers}}


def announced(services: Services, path: str, *, replayed: bool) -> dict[str, str]:
    """The headers of such a reply; workers hear of what is new."""
    headers = {"Location": path, "Retry-After": "1"}
    if replayed:
        return headers | {"Idempotent-Replayed": "true"}
    services.dispatcher.announce()
    return headers
