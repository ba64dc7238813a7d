"""The call that goes on where a job stopped."""

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.http.openapi import problems, request_body
from api.jobs.origin import CheckpointGoneError, check_time, origins
from api.jobs.submission import ACCEPTED, KEY_PARAMETER, accept, new_job
from api.services.dependencies import JobIdPath, Json, Route, json_body, known_form, services_of
from api.services.named_data import data_of
from core.specs.job import StartFrom
from core.specs.parsing.continuation import continued, parse_continuation
from core.specs.parsing.job import sized_of
from core.specs.webhooks.url import whole_spec

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=Route)


@router.post(
    "/{job_id:id}/continue",
    status_code=202,
    operation_id="continue_job",
    response_class=Json,
    responses={**ACCEPTED, **problems(404, 409, 413, 415, 503)},
    openapi_extra={"parameters": [KEY_PARAMETER], **request_body("Continuation")},
)
async def go_on(request: Request, job_id: JobIdPath) -> Response:
    """Queue a job that goes on from a terminal one's checkpoint, with a longer budget.

    Budgets count from the origin. The new job owns a copy of the checkpoint; its rows start at the
    checkpoint's step.
    """
    services = services_of(request)
    known_form(job_id)
    asked = parse_continuation(await json_body(request))
    parent = await services.store.get(job_id)
    left = origins(parent, asked.checkpoint)
    whole = whole_spec(parent.spec, parent.webhook_url)
    uploads = await data_of(parent.spec, services.store.datasets)
    while True:
        origin = left.pop(0)
        start = StartFrom(job=job_id, step=origin.step)
        spec = await asyncio.to_thread(continued, whole, asked, start, services.limits)
        check_time(spec, origin)
        try:
            return await accept(request, new_job(request, sized_of(spec), uploads=uploads), origin)
        except CheckpointGoneError:
            if not left:
                raise
