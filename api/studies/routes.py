"""Studies: submit, validate, list, read, cancel, pause and resume, change, delete."""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from api.http.encoding import to_json
from api.http.openapi import header, problems, request_body
from api.http.queries import JobQuery, JobsQuery
from api.services.changes import MERGE_PATCH, cancel_one, patch_one, pause_one, resume_one
from api.services.cleanup import remove_spent
from api.services.comparisons import known_best
from api.services.dependencies import (
    Json,
    Route,
    Services,
    StudyIdPath,
    json_body,
    services_of,
)
from api.services.idempotency import KEY_PARAMETER, idempotency_of
from api.services.named_data import data_used, named_data
from api.services.places import Place
from api.services.queueing import (
    Noun,
    accept,
    accepted,
    check_signed,
    delete_one,
    marks_of,
    read_list,
    read_one,
    source_of,
)
from api.studies.origin import Origin, origin_of
from api.studies.schemas import Study, StudyEstimate, StudyPage, ValidatedStudy
from api.studies.views import listed_study_json, study_json
from core.ids import STUDY_PREFIX, new_id, rfc3339, utc_now
from core.specs.parsing.clone import StudyClone, cloned, parse_clone
from core.specs.sizes.uploads import as_posted
from core.specs.studies.parse import ResolvedStudy, parse_study
from core.specs.validation.limits import Limits
from core.specs.webhooks.url import shown_spec, whole_spec
from core.store.protocols.types import NewStudy
from core.studies import StudyRecord

router = APIRouter(prefix="/v1/studies", tags=["studies"], route_class=Route)

LIVE_BEST_RUNS: Final = 1_000
"""A larger study that runs does not look at all its runs each time that it is read: `best` is null
until its end, and at `links.best`."""


async def _best(services: Services, study: StudyRecord) -> dict[str, Any] | None:
    """Return the best configuration as far as it is known."""
    if not study.counts.get("succeeded"):
        return known_best(study)
    if not study.terminal and study.num_runs > LIVE_BEST_RUNS:
        return None
    return await services.findings.best(services.store, study)


async def _show(services: Services, study: StudyRecord, place: Place) -> dict[str, Any]:
    return study_json(services, study, place, await _best(services, study))


async def _after_cancel(services: Services, study: StudyRecord) -> None:
    if study.terminal and study.started_at is not None:
        await remove_spent(services, study.id)


STUDIES: Final = Noun[StudyRecord](
    STUDY_PREFIX,
    "/v1/studies",
    lambda services: services.store.studies,
    _show,
    lambda services, study, place: listed_study_json(services, study, place, known_best(study)),
    weak_while_running=True,  # the mean rate of steps goes on falling
    queue=lambda services: services.store.studies,
    after_cancel=_after_cancel,
)
"""Studies, for the calls that they share with jobs."""


@router.post(
    "",
    status_code=202,
    operation_id="create_study",
    response_class=Json,
    responses={**accepted("study", Study), **problems(409, 413, 415, 503)},
    openapi_extra={"parameters": [KEY_PARAMETER], **request_body("StudySpec", "StudyClone")},
)
async def submit(request: Request) -> Response:
    """Queue a study. The reply carries its spec with every default written out.

    Instead of a spec the body may name another study and a patch of its spec.
    """
    services = services_of(request)
    body, limits, parent_id = await json_body(request), services.limits, None
    clone = parse_clone(StudyClone, body)
    if clone is not None:
        source = await source_of(services, STUDIES, clone.source)
        parent_id = source.id
        spec = whole_spec(as_posted(source.current_spec), source.webhook_url)
        body, limits = await asyncio.to_thread(cloned, spec, clone, limits)
    origin = await origin_of(body, services.store.studies)
    resolved = await _resolved(body, limits, services, origin)
    new = _new_study(request, resolved, parent_id, origin)
    own = {"parent_id": new.parent_id, "name": new.name, "note": new.note}
    if new.webhook_url is not None:
        await check_signed(services)
        own["webhook_url"] = new.webhook_url
    more = [own] if any(own.values()) else []
    idempotency = idempotency_of(request, services, "study", new.spec, *more)
    created = await services.store.studies.create(new, idempotency)
    return await accept(services, STUDIES, created)


async def _resolved(
    body: bytes, limits: Limits, services: Services, origin: Origin | None
) -> ResolvedStudy:
    """Resolve the posted study in a thread: a short body may name ten thousand runs, and each
    configuration is checked."""
    uploads = await named_data(body, services.store.datasets)
    source = None if origin is None else origin.source
    return await asyncio.to_thread(parse_study, body, limits, uploads, source)


def _new_study(
    request: Request, resolved: ResolvedStudy, parent_id: str | None, origin: Origin | None
) -> NewStudy:
    repeats, target = resolved.spec["repeats"], resolved.spec["metric"]["target"]
    return NewStudy(
        id=new_id(STUDY_PREFIX),
        spec=shown_spec(resolved.spec),
        labels=dict(resolved.labels),
        created_at=rfc3339(utc_now()),
        priority=resolved.priority,
        max_attempts=resolved.max_attempts,
        device=resolved.device,
        parent_id=parent_id,
        name=resolved.name,
        note=resolved.note,
        num_runs=resolved.num_runs,
        max_updates=resolved.max_updates,
        warnings=tuple(map(asdict, resolved.warnings)),
        inherited=() if origin is None else origin.runs(resolved.inherited, repeats, target),
        datasets=data_used([resolved.spec["base"].get("problem"), resolved.spec["sweep"]]),
        memory_bytes=resolved.memory_bytes,
        webhook_url=(resolved.spec["webhook"] or {}).get("url"),
        **marks_of(request),
    )


@router.post(
    "/validate",
    operation_id="validate_study",
    response_class=Json,
    responses={200: {"model": ValidatedStudy}, **problems(413, 415, 503)},
    openapi_extra=request_body("StudySpec"),
)
async def validate(request: Request) -> Response:
    """Return what a study would be and cost. Nothing is created."""
    services, body = services_of(request), await json_body(request)
    origin = await origin_of(body, services.store.studies)
    resolved = await _resolved(body, services.limits, services, origin)
    if resolved.spec["webhook"] is not None:
        await check_signed(services)
    cost = StudyEstimate.build(resolved, num_steps=resolved.max_updates)
    spec = shown_spec(resolved.spec)
    found = ValidatedStudy.build(spec=spec, estimate=cost, warnings=resolved.warnings)
    return Json(to_json(found))


@router.get(
    "",
    operation_id="list_studies",
    response_class=Json,
    responses={200: {"model": StudyPage}, **problems(503)},
)
async def list_studies(request: Request, query: Annotated[JobsQuery, Query()]) -> Response:
    """List studies, the newest first; the filters apply before the limit."""
    return await read_list(request, STUDIES, query)


@router.get(
    "/{study_id:id}",
    operation_id="get_study",
    response_class=Json,
    responses={
        200: {"model": Study, "headers": {"ETag": header("Changes whenever the study does.")}},
        304: {"description": "Unchanged since the ETag in If-None-Match."},
        **problems(404, 503),
    },
)
async def read_study(
    request: Request,
    study_id: StudyIdPath,
    query: Annotated[JobQuery, Query()],
    if_none_match: Annotated[str | None, Header()] = None,
    prefer: Annotated[str | None, Header(description="`wait=SECONDS`, as the query.")] = None,
) -> Response:
    """Return the study, at once or once it is terminal."""
    return await read_one(request, STUDIES, study_id, query, if_none_match, prefer)


@router.post(
    "/{study_id:id}/cancel",
    status_code=202,
    operation_id="cancel_study",
    response_class=Json,
    responses={
        200: {"model": Study, "description": "It was terminal already; nothing changed."},
        202: {"model": Study},
        **problems(404, 413, 503),
    },
)
async def cancel(request: Request, study_id: StudyIdPath) -> Response:
    """Ask a study to stop: what waits is cancelled at once, what trains keeps what it had."""
    return await cancel_one(request, STUDIES, study_id)


@router.post(
    "/{study_id:id}/pause",
    status_code=202,
    operation_id="pause_study",
    response_class=Json,
    responses={
        200: {"model": Study, "description": "It is paused."},
        202: {"model": Study, "description": "It will be, once it is handed over."},
        **problems(404, 409, 413, 503),
    },
)
async def pause(request: Request, study_id: StudyIdPath) -> Response:
    """Pause a study: no more of its work begins; what trains leaves a checkpoint at its next
    step, and goes on from there once it is resumed."""
    return await pause_one(request, STUDIES, study_id)


@router.post(
    "/{study_id:id}/resume",
    status_code=202,
    operation_id="resume_study",
    response_class=Json,
    responses={
        200: {"model": Study, "description": "It was not paused; a pause under way is withdrawn."},
        202: {"model": Study, "description": "It waits again."},
        **problems(404, 409, 413, 503),
    },
)
async def resume(request: Request, study_id: StudyIdPath) -> Response:
    """End a pause: the study waits behind all others of its priority; its bits are the same."""
    return await resume_one(request, STUDIES, study_id)


@router.patch(
    "/{study_id:id}",
    operation_id="change_study",
    response_class=Json,
    responses={200: {"model": Study}, **problems(404, 409, 412, 413, 415, 503)},
    openapi_extra=request_body("RecordChange", also=(MERGE_PATCH,)),
)
async def change(
    request: Request,
    study_id: StudyIdPath,
    if_match: Annotated[str | None, Header(description="Its ETag: change it as it is.")] = None,
) -> Response:
    """Change name, note, labels, `keep_until` and, while it waits, the priority; the spec stays."""
    return await patch_one(request, STUDIES, study_id, if_match)


@router.delete(
    "/{study_id:id}",
    status_code=204,
    operation_id="delete_study",
    response_class=Response,
    responses={
        204: {"description": "Gone, with its runs, their histories and weights."},
        **problems(404, 409, 412, 503),
    },
)
async def delete(
    request: Request,
    study_id: StudyIdPath,
    if_match: Annotated[str | None, Header(description="Its ETag: delete it as it is.")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Remove a terminal study, its runs, their histories and weights."""
    return await delete_one(request, STUDIES, study_id, if_match, if_none_match)
