"""Jobs: submit, validate, list, read, cancel, delete."""

from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from api.http.conditional import matches, wait_of
from api.http.encoding import to_json
from api.http.openapi import header, problems, request_body
from api.http.paging import make_cursor, page_body
from api.http.queries import JobQuery, JobsQuery
from api.jobs.origin import CheckpointGoneError, origin_of
from api.jobs.schemas import Job, JobPage, Validated
from api.jobs.submission import ACCEPTED, KEY_PARAMETER, accept, new_job
from api.jobs.views import etag, job_bytes, job_json
from api.services.cleanup import remove_kept
from api.services.dependencies import (
    JobIdPath,
    Json,
    Route,
    Services,
    in_thread_if_large,
    json_body,
    known_form,
    no_body,
    services_of,
)
from api.services.queueing import listing, place, places
from core.ids import JOB_PREFIX
from core.jobs import TERMINAL
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.sizes.cost import estimate
from core.store.protocols.types import NewJob

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=Route)


@router.post(
    "",
    status_code=202,
    response_class=Json,
    responses={**ACCEPTED, **problems(409, 413, 415, 503)},
    openapi_extra={"parameters": [KEY_PARAMETER], **request_body("JobSpec")},
)
async def submit(request: Request) -> Response:
    """Queue a job. The reply carries its spec with every default written out."""
    services = services_of(request)
    body = await json_body(request)
    job, spec = await in_thread_if_large(len(body), _new_job, body, services)
    origin = await origin_of(services, spec)
    try:
        return await accept(request, job, origin)
    except CheckpointGoneError as error:
        raise error.as_refusal() from error


def _new_job(body: bytes, services: Services) -> tuple[NewJob, JobSpec]:
    spec = parse_job(body, services.limits)
    return new_job(spec), spec


@router.post(
    "/validate",
    response_class=Json,
    responses={200: {"model": Validated}, **problems(413, 415, 503)},
    openapi_extra=request_body("JobSpec"),
)
async def validate(request: Request) -> Response:
    """What a job would be and cost. Nothing is created."""
    body = await json_body(request)
    services = services_of(request)
    spec, reply = await in_thread_if_large(len(body), _validated, body, services)
    await origin_of(services, spec)
    return Json(reply)


def _validated(body: bytes, services: Services) -> tuple[JobSpec, bytes]:
    spec = parse_job(body, services.limits)
    cost = estimate(spec)
    return spec, to_json(
        {
            "spec": spec.model_dump(mode="json"),
            "estimate": {
                "num_parameters": cost.num_parameters,
                "num_steps": cost.num_steps,
                "memory_bytes": cost.memory_bytes,
                "history_bytes": cost.history_bytes,
            },
        }
    )


@router.get("", response_class=Json, responses={200: {"model": JobPage}, **problems(503)})
async def list_jobs(request: Request, query: Annotated[JobsQuery, Query()]) -> Response:
    """Newest first; the filters apply before the limit."""
    services = services_of(request)
    where, of, after_id = listing(query, "jobs", JOB_PREFIX)
    page = await services.store.list(where, query.limit, after_id)
    waiting = await places(services, page.jobs)
    jobs = [job_json(job, waiting.get(job.id), listed=True) for job in page.jobs]
    next_cursor = make_cursor(of, page.jobs[-1].id) if page.has_more else None
    return Json(to_json(page_body(jobs, next_cursor)))


@router.get(
    "/{job_id:id}",
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
    """The job, at once or once it is terminal."""
    services = services_of(request)
    known_form(job_id)
    wait, headers = wait_of(query.wait, prefer)
    if wait:
        job = await services.feed.wait_until_terminal(job_id, wait)
    elif if_none_match and (tag := await _unchanged(services, job_id, if_none_match)):
        return Response(status_code=304, headers={"ETag": tag, "Cache-Control": "no-cache"})
    else:
        job = await services.store.get(job_id)
    position = await place(services, job)
    headers["ETag"] = etag(job, position)
    if if_none_match and matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers={"Cache-Control": "no-cache", **headers})
    return Json(job_bytes(job, position), headers=headers)


async def _unchanged(services: Services, job_id: str, if_none_match: str) -> str | None:
    """The job's tag, if the client has it already, without reading the job.

    A tag without a place was given when the job was not queued, and a job that is queued again has
    a new version: so the version alone tells. The others need the place as well.
    """
    version = f'"{await services.store.version(job_id)}"'
    return version if matches(if_none_match, version) and "*" not in if_none_match else None


@router.post(
    "/{job_id:id}/cancel",
    status_code=202,
    response_class=Json,
    responses={
        200: {"model": Job, "description": "It was terminal already; nothing changed."},
        202: {"model": Job},
        **problems(404, 413, 503),
    },
)
async def cancel(request: Request, job_id: JobIdPath) -> Response:
    """Ask a job to stop: a queued one is cancelled at once, a running one keeps what it had."""
    services = services_of(request)
    known_form(job_id)
    await no_body(request)
    before = await services.store.status(job_id)
    job = await services.store.request_cancel(job_id)
    # `cancelled` between the two was our doing; any other end was not.
    changed = before not in TERMINAL and job.status not in {"succeeded", "failed"}
    return Json(job_bytes(job), 202 if changed else 200)


@router.delete(
    "/{job_id:id}",
    status_code=204,
    response_class=Response,
    responses={
        204: {"description": "Gone, with history and artifacts."},
        **problems(404, 409, 503),
    },
)
async def delete(request: Request, job_id: JobIdPath) -> Response:
    """Remove a terminal job, its history and its artifacts."""
    services = services_of(request)
    known_form(job_id)
    await services.store.delete(job_id)
    await remove_kept(services, job_id)
    return Response(status_code=204)
