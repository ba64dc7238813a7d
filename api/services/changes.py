"""Changes of a job or study that a caller asks for: it is cancelled, paused or resumed, or gets
another name, labels, priority or time to be kept."""

from typing import Any, Final, TypeVar

from starlette.requests import Request

from api.http.conditional import names_version
from api.http.encoding import to_json
from api.services.dependencies import (
    Json,
    Services,
    json_body,
    known_id,
    no_body,
    services_of,
)
from api.services.places import NOWHERE, place
from api.services.queueing import Noun
from core.errors import ChangedError
from core.jobs import TERMINAL, JobRecord
from core.specs.parsing.change import RecordChange, merged_labels, parse_change
from core.store.protocols.types import Changes
from core.studies import StudyRecord

Record = TypeVar("Record", JobRecord, StudyRecord)

MERGE_PATCH: Final = "application/merge-patch+json"
ATTEMPTS: Final = 50
"""Times that a change is tried again, where the record changed between reading and writing."""


async def cancel_one(request: Request, noun: Noun[Record], id_: str) -> Json:
    """Ask a job or study to stop. 200 where it was terminal already, and nothing changed."""
    services = services_of(request)
    records = noun.queue(services)
    known_id(id_, noun.name)
    await no_body(request)
    before = await records.status(id_)
    record = await records.request_cancel(id_)
    # A record that became `cancelled` in between was cancelled by this call; one that ended
    # otherwise was not.
    changed = before not in TERMINAL and record.status not in {"succeeded", "failed"}
    if changed and noun.after_cancel is not None:
        await noun.after_cancel(services, record)
    return Json(to_json(await noun.show(services, record, NOWHERE)), 202 if changed else 200)


async def pause_one(request: Request, noun: Noun[Record], id_: str) -> Json:
    """Ask a job or study to pause. 200 where it is paused by now, 202 where whoever works at it is
    asked to hand it over."""
    services = services_of(request)
    known_id(id_, noun.name)
    await no_body(request)
    record = await noun.queue(services).request_pause(id_)
    return await _shown(services, noun, record, 200 if record.status == "paused" else 202)


async def resume_one(request: Request, noun: Noun[Record], id_: str) -> Json:
    """End a pause. 202 where it was paused, and waits again; 200 where it was not, or not yet: then
    the pause is withdrawn."""
    services = services_of(request)
    records = noun.queue(services)
    known_id(id_, noun.name)
    await no_body(request)
    was_paused = await records.status(id_) == "paused"
    record = await records.request_resume(id_)
    if record.status == "queued":
        services.dispatcher.announce(heard=True)
    return await _shown(services, noun, record, 202 if was_paused else 200)


async def patch_one(request: Request, noun: Noun[Record], id_: str, if_match: str | None) -> Json:
    """Change what the body names; where the request says so, only as it was read."""
    services = services_of(request)
    records = noun.queue(services)
    known_id(id_, noun.name)
    asked = parse_change(await json_body(request, MERGE_PATCH))
    for _ in range(ATTEMPTS):
        record = await records.get(id_)
        if if_match is not None and not names_version(if_match, record.version):
            break
        changes = _changes(record, asked)
        if changes is None:
            return await _shown(services, noun, record, 200)
        try:
            record = await records.change(id_, record.version, changes)
        except ChangedError:
            continue
        return await _shown(services, noun, record, 200)
    raise ChangedError(
        f"The {noun.name} was not changed: its ETag is {noun.tag(record.version, record.status)}"
        " now. Read it again, and send that ETag if it shall change as it is."
    )


def _changes(record: JobRecord | StudyRecord, asked: RecordChange) -> Changes | None:
    """Return what the change alters; None: nothing."""
    given = asked.model_fields_set
    fields: dict[str, str | None] = {
        name: getattr(asked, name)
        for name in ("name", "note", "keep_until")
        if name in given and getattr(asked, name) != getattr(record, name)
    }
    labels = merged_labels(record.labels, asked)
    priority = asked.priority if "priority" in given else None
    if priority == record.current_priority:
        priority = None
    if not fields and labels is None and priority is None:
        return None
    return Changes(fields=fields, labels=labels, priority=priority)


async def _shown(services: Services, noun: Noun[Record], record: Record, status: int) -> Json:
    where = await place(services, record)
    headers = {"ETag": noun.tag(record.version, record.status, where)}
    shown: dict[str, Any] = await noun.show(services, record, where)
    return Json(to_json(shown), status, headers)
