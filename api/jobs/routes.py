"""Jobs: submit, validate, list, read, cancel, pause and resume, change, delete."""

import asyncio
import json
from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from api.http.encoding import to_json
from api.http.openapi import header, problems, request_body
from api.http.queries import JobQuery, JobsQuery
from api.jobs.origin import CheckpointGoneError, origin_of
from api.jobs.schemas import Job, JobPage, Validated
from api.jobs.submission import ACCEPTED, JOBS, KEY_PARAMETER, accept, new_job
from api.jobs.views import validated
from api.services.changes import MERGE_PATCH, cancel_one, patch_one, pause_one, resume_one
from api.services.dependencies import (
    JobIdPath,
    Json,
    Route,
    Services,
    in_thread_if_large,
    json_body,
    services_of,
)
from api.services.named_data import named_data
from api.services.queueing import check_signed, delete_one, read_list, read_one, source_of
from core.jobs import JobRecord
from core.specs.job import JobSpec
from core.specs.parsing.clone import JobClone, cloned, parse_clone
from core.specs.parsing.job import parse_job, parse_sized
from core.specs.sizes.uploads import Uploads, as_posted
from core.specs.validation.limits import Limits
from core.specs.webhooks.url import whole_spec
from core.store.protocols.types import NewJob

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=Route)


@router.post(
    "",
    status_code=202,
    operation_id="create_job",
    response_class=Json,
    responses={**ACCEPTED, **problems(409, 413, 415, 503)},
    openapi_extra={"parameters": [KEY_PARAMETER], **request_body("JobSpec", "JobClone")},
)
async def submit(request: Request) -> Response:
    """Queue a job. The reply carries its spec with every default written out.

    Instead of a spec the body may name another job and a patch of its spec.
    """
    services = services_of(request)
    body = await json_body(request)
    clone = parse_clone(JobClone, body)
    if clone is None:
        uploads = await named_data(body, services.store.datasets)
        job, spec = await in_thread_if_large(
            len(body), _new_job, request, body, services.limits, uploads
        )
    else:
        source = await source_of(services, JOBS, clone.source)
        # A patch holds what a caller sent: `to_json` takes no integer beyond 64 bits.
        named = json.dumps([source.current_spec, clone.patch]).encode()
        uploads = await named_data(named, services.store.datasets)
        job, spec = await asyncio.to_thread(_new_clone, request, source, clone, uploads)
    origin = await origin_of(services, spec)
    try:
        return await accept(request, job, origin)
    except CheckpointGoneError as error:
        raise error.as_refusal() from error


def _new_job(
    request: Request, body: bytes, limits: Limits, uploads: Uploads, parent_id: str | None = None
) -> tuple[NewJob, JobSpec]:
    sized = parse_sized(body, limits, uploads)
    return new_job(request, sized, parent_id, uploads), sized.spec


def _new_clone(
    request: Request, source: JobRecord, asked: JobClone, uploads: Uploads
) -> tuple[NewJob, JobSpec]:
    spec = whole_spec(as_posted(source.current_spec), source.webhook_url)
    body, limits = cloned(spec, asked, services_of(request).limits)
    return _new_job(request, body, limits, uploads, source.id)


@router.post(
    "/validate",
    operation_id="validate_job",
    response_class=Json,
    responses={200: {"model": Validated}, **problems(413, 415, 503)},
    openapi_extra=request_body("JobSpec"),
)
async def validate(request: Request) -> Response:
    """Return what a job would be and cost. Nothing is created."""
    body = await json_body(request)
    services = services_of(request)
    uploads = await named_data(body, services.store.datasets)
    spec, reply = await in_thread_if_large(len(body), _validated, body, services, uploads)
    await origin_of(services, spec)
    if spec.webhook is not None:
        await check_signed(services)
    return Json(reply)


def _validated(body: bytes, services: Services, uploads: Uploads) -> tuple[JobSpec, bytes]:
    spec = parse_job(body, services.limits, uploads)
    return spec, to_json(validated(spec, uploads))


@router.get(
    "",
    operation_id="list_jobs",
    response_class=Json,
    responses={200: {"model": JobPage}, **problems(503)},
)
async def list_jobs(request: Request, query: Annotated[JobsQuery, Query()]) -> Response:
    """List jobs, the newest first; the filters apply before the limit."""
    return await read_list(request, JOBS, query)


@router.get(
    "/{job_id:id}",
    operation_id="get_job",
    response_class=Json,
    responses={
        200: {"model": Job, "headers": {"ETag": header("Changes whenever the job does.")}},
        304: {"description": "Unchanged since the ETag in If-None-Match."},
        **problems(404, 503),
    },
)
async def read_job(
    request: Request,
    job_id: JobIdPath,
    query: Annotated[JobQuery, Query()],
    if_none_match: Annotated[str | None, Header()] = None,
    prefer: Annotated[str | None, Header(description="`wait=SECONDS`, as the query.")] = None,
) -> Response:
    """Return the job, at once or once it is terminal."""
    return await read_one(request, JOBS, job_id, query, if_none_match, prefer)


@router.post(
    "/{job_id:id}/cancel",
    status_code=202,
    operation_id="cancel_job",
    response_class=Json,
    responses={
        200: {"model": Job, "description": "It was terminal already; nothing changed."},
        202: {"model": Job},
        **problems(404, 413, 503),
    },
)
async def cancel(request: Request, job_id: JobIdPath) -> Response:
    """Ask a job to stop: a queued one is cancelled at once, a running one keeps what it had."""
    return await cancel_one(request, JOBS, job_id)


@router.post(
    "/{job_id:id}/pause",
    status_code=202,
    operation_id="pause_job",
    response_class=Json,
    responses={
        200: {"model": Job, "description": "It is paused."},
        202: {"model": Job, "description": "It will be, once it is handed over."},
        **problems(404, 409, 413, 503),
    },
)
async def pause(request: Request, job_id: JobIdPath) -> Response:
    """Pause a job: one that waits is paused at once; a running one leaves a checkpoint
    at its next step, and goes on from there once it is resumed."""
    return await pause_one(request, JOBS, job_id)


@router.post(
    "/{job_id:id}/resume",
    status_code=202,
    operation_id="resume_job",
    response_class=Json,
    responses={
        200: {"model": Job, "description": "It was not paused; a pause under way is withdrawn."},
        202: {"model": Job, "description": "It waits again."},
        **problems(404, 409, 413, 503),
    },
)
async def resume(request: Request, job_id: JobIdPath) -> Response:
    """End a pause: the job waits behind all others of its priority; its bits are the same."""
    return await resume_one(request, JOBS, job_id)


@router.patch(
    "/{job_id:id}",
    operation_id="change_job",
    response_class=Json,
    responses={200: {"model": Job}, **problems(404, 409, 412, 413, 415, 503)},
    openapi_extra=request_body("RecordChange", also=(MERGE_PATCH,)),
)
async def change(
    request: Request,
    job_id: JobIdPath,
    if_match: Annotated[str | None, Header(description="Its ETag: change it as it is.")] = None,
) -> Response:
    """Change name, note, labels, `keep_until` and, while it waits, the priority; the spec stays."""
    return await patch_one(request, JOBS, job_id, if_match)


@router.delete(
    "/{job_id:id}",
    status_code=204,
    operation_id="delete_job",
    response_class=Response,
    responses={
        204: {"description": "Gone, with history and artifacts."},
        **problems(404, 409, 412, 503),
    },
)
async def delete(
    request: Request,
    job_id: JobIdPath,
    if_match: Annotated[str | None, Header(description="Its ETag: delete it as it is.")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Remove a terminal job, its history and its artifacts."""
    return await delete_one(request, JOBS, job_id, if_match, if_none_match)
