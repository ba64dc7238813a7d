"""Calls that jobs and studies share: both are queued, listed, read and waited for, and deleted."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypedDict, TypeVar

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from api.http.conditional import allows, matches, wait_of
from api.http.encoding import to_json
from api.http.log import REQUEST_ID, TRACEPARENT
from api.http.openapi import header
from api.http.paging import fingerprint, make_cursor, page_body, read_cursor
from api.http.queries import DatasetsQuery, JobQuery, JobsQuery
from api.keys.gate import caller_of
from api.services.cleanup import remove_kept
from api.services.dependencies import Json, Services, known_id, services_of
from api.services.places import NOWHERE, Place, first_place, place, places
from core.datasets import DatasetRecord
from core.errors import ChangedError, FieldError, InvalidInputError, NotFoundError
from core.ids import is_id
from core.jobs import TERMINAL, JobRecord
from core.store.protocols.api import ListedRecords, Records
from core.store.protocols.types import JobFilter, NewWork, QueuePlace
from core.studies import StudyRecord

New = TypeVar("New", bound=NewWork)
Record = TypeVar("Record", JobRecord, StudyRecord)
Listed = TypeVar("Listed", JobRecord, StudyRecord, DatasetRecord)
Listed_co = TypeVar("Listed_co", bound=JobRecord | StudyRecord | DatasetRecord, covariant=True)
Record_co = TypeVar("Record_co", bound=JobRecord | StudyRecord, covariant=True)


class Made(Protocol[Record_co]):
    """The store's answer to a creation."""

    @property
    def record(self) -> Record_co: ...
    @property
    def replayed(self) -> bool: ...
    @property
    def place(self) -> QueuePlace | None: ...
    @property
    def num_workers(self) -> int: ...


class PageOf(Protocol[Listed_co]):
    """A page of a list, as the store gives it."""

    @property
    def records(self) -> tuple[Listed_co, ...]: ...
    @property
    def has_more(self) -> bool: ...


@dataclass(frozen=True)
class ListedNoun(Generic[Listed]):
    """Description of a kind of records, for the calls that read them.

    Attributes:
        name: the prefix of the ids.
        path: of the list.
        records: where they are in the store.
        show: the reply's JSON, from the record and its place.
        show_listed: the same of one in a list.
        weak_while_running: whether what the reply shows changes though the record does not.
        title: in messages, where that is not the name.
    """

    name: str
    path: str
    records: Callable[[Services], ListedRecords[Listed, PageOf[Listed]]]
    show: Callable[[Services, Listed, Place], Awaitable[dict[str, Any]]]
    show_listed: Callable[[Services, Listed, Place], dict[str, Any]]
    weak_while_running: bool = False
    title: str = ""

    def tag(self, version: int, status: str, place: Place = NOWHERE) -> str:
        """`"7"`, or `"7.2.queue"` while it is queued: its place and what it waits for change while
        its record does not."""
        if status == "queued" and place.position is not None:
            return f'"{version}.{place.position}.{place.waiting_for}"'
        weak = self.weak_while_running and status not in TERMINAL
        return f'W/"{version}"' if weak else f'"{version}"'


@dataclass(frozen=True)
class Noun(ListedNoun[Record]):
    """Description of jobs, or of studies, for the calls that both share.

    Attributes:
        queue: where they are in the store, for the calls that change them.
        after_cancel: what is to be done once it has been cancelled by a call that nobody works at.
    """

    queue: Callable[[Services], Records[Any, Record, Made[Record], PageOf[Record]]] = field(
        kw_only=True
    )
    after_cancel: Callable[[Services, Record], Awaitable[None]] | None = None


async def accept(services: Services, noun: Noun[Record], made: Made[Record]) -> Json:
    """Make the reply to what has just been queued, or had been by the same key; workers hear of
    what is new."""
    record = made.record
    path = f"{services.root}{noun.path}/{record.id}"
    headers = {"Location": path, "Retry-After": "1"}
    if made.replayed:
        headers["Idempotent-Replayed"] = "true"
    else:
        services.dispatcher.announce(heard=True)
    where = await first_place(services, record, made.place, made.num_workers)
    return Json(to_json(await noun.show(services, record, where)), 202, headers)


class Marks(TypedDict):
    """The fields of new work that tell of the request which it comes from."""

    request_id: str | None
    traceparent: str | None
    owner: str | None
    key_id: str | None


def marks_of(request: Request) -> Marks:
    """Return what new work keeps of the request that it comes from."""
    scope = request.scope
    caller = caller_of(scope)
    return {
        "request_id": scope.get(REQUEST_ID),
        "traceparent": scope.get(TRACEPARENT),
        "owner": None if caller is None else caller.owner,
        "key_id": None if caller is None else caller.key.id,
    }


async def check_signed(services: Services, param: str = "webhook") -> None:
    """Check that messages of a webhook would be signed. Raises `InvalidInputError`; `param`: the
    field that it names."""
    if not await services.store.webhooks.has_secret():
        message = (
            f"{param}: this service has no secret to sign webhooks with; its operator makes one by"
            " `thalweg webhooks secret add`"
        )
        raise InvalidInputError([FieldError(param, "no_secret", message)])


async def source_of(services: Services, noun: Noun[Record], id_: str) -> Record:
    """Read the job or study that a body names in `from`. Raises `InvalidInputError`."""
    try:
        return await noun.records(services).get(id_)
    except NotFoundError:
        message = f"from: there is no {noun.name} {id_} (any more)"
        raise InvalidInputError([FieldError("from", f"unknown_{noun.name}", message)]) from None


async def read_list(
    request: Request, noun: ListedNoun[Listed], query: JobsQuery | DatasetsQuery
) -> Json:
    """Read a page, the newest first."""
    services = services_of(request)
    where, of, after_id = listing(query, noun.path.rpartition("/")[2], noun.name)
    page: PageOf[Listed] = await noun.records(services).list(where, query.limit, after_id)
    waiting = await places(services, [*page.records])
    shown = [
        noun.show_listed(services, record, waiting.get(record.id, NOWHERE))
        for record in page.records
    ]
    next_cursor = make_cursor(of, page.records[-1].id) if page.has_more else None
    return Json(to_json(page_body(shown, next_cursor)))


async def read_one(
    request: Request,
    noun: ListedNoun[Listed],
    id_: str,
    query: JobQuery,
    if_none_match: str | None,
    prefer: str | None,
) -> Response:
    """Read one record, at once or once it is terminal; a 304 where the client has it
    already."""
    services = services_of(request)
    records = noun.records(services)
    known_id(id_, noun.name)
    wait, headers = wait_of(query.wait, prefer)
    if wait:
        record = await services.feed.wait_until_terminal(id_, wait, records.get)
    elif if_none_match and (tag := await _unchanged(services, noun, id_, if_none_match)):
        return Response(status_code=304, headers={"ETag": tag, "Cache-Control": "no-cache"})
    else:
        record = await records.get(id_)
    where = await place(services, record)
    headers["ETag"] = noun.tag(record.version, record.status, where)
    if if_none_match and matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers={"Cache-Control": "no-cache", **headers})
    return Json(to_json(await noun.show(services, record, where)), headers=headers)


async def _unchanged(
    services: Services, noun: ListedNoun[Listed], id_: str, if_none_match: str
) -> str | None:
    """Return the tag if the client has the record already, without reading the record.

    A tag without a place was given when it was not queued, and what is queued again has a new
    version: so version and status alone tell. The others need the place as well.
    """
    stamp = await noun.records(services).stamp(id_)
    tag = noun.tag(stamp.version, stamp.status)
    return tag if matches(if_none_match, tag) and "*" not in if_none_match else None


async def delete_one(
    request: Request, noun: Noun[Record], id_: str, if_match: str | None, if_none_match: str | None
) -> Response:
    """Remove a terminal job or study, with all that it kept; where the request says so, only as it
    was read."""
    services = services_of(request)
    known_id(id_, noun.name)
    version = await expected_version(services, noun, id_, if_match, if_none_match)
    await noun.queue(services).delete(id_, version)
    await remove_kept(services, id_)
    return Response(status_code=204)


async def expected_version(
    services: Services,
    noun: ListedNoun[Listed],
    id_: str,
    if_match: str | None,
    if_none_match: str | None,
) -> int | None:
    """Return the version that the record must have for a change of it; None: any. Raises
    `ChangedError` where it has another ETag than the request wants."""
    if if_match is None and if_none_match is None:
        return None
    record = await noun.records(services).get(id_)
    tag = noun.tag(record.version, record.status, await place(services, record))
    if not allows(if_match, if_none_match, tag):
        raise ChangedError(
            f"The {noun.title or noun.name} was not changed: its ETag is {tag} now. Read it again,"
            " and send that ETag if it shall be changed as it is."
        )
    return record.version


class Listing(NamedTuple):
    """The list that is asked for: which, what stands for the query in cursors, and the last id of
    the page before."""

    where: JobFilter
    of: str
    after_id: str | None


def listing(query: JobsQuery | DatasetsQuery, noun: str, prefix: str) -> Listing:
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


def accepted(noun: str, model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Describe the `responses=` of a call that queues one."""
    headers = {
        "Location": header(f"The {noun}'s path."),
        "Retry-After": header("Seconds.", type="integer"),
        "Idempotent-Replayed": header("`true` when the key was known.", const="true"),
    }
    return {202: {"model": model, "headers": headers}}
