"""Calls for the diagnosis of a descent, its remedies, and the proof: a job that tries a remedy."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from api.http.encoding import strict, to_json
from api.http.openapi import header, problems, request_body
from api.jobs.schemas import AskedDiagnosis, Diagnosis, DiagnosisLink
from api.jobs.submission import ACCEPTED, KEY_PARAMETER, accept, new_job
from api.jobs.views import diagnosis_json
from api.services.dependencies import (
    JobIdPath,
    Json,
    Route,
    json_body,
    known_form,
    no_body,
    services_of,
)
from api.services.named_data import check_data, data_of
from core.errors import ConflictError, NotFoundError
from core.jobs import JobRecord
from core.specs.parsing.diagnosis import parse_diagnosis_request
from core.specs.parsing.job import sized_of
from core.specs.parsing.remedy import remedied
from core.specs.webhooks.url import whole_spec

router = APIRouter(prefix="/v1/jobs", tags=["diagnosis"], route_class=Route)

RemedyIndex = Annotated[int, Path(ge=0, description="`index` of the remedy in the diagnosis.")]


@router.get(
    "/{job_id:id}/diagnosis",
    operation_id="get_job_diagnosis",
    response_class=Json,
    responses={200: {"model": Diagnosis}, **problems(404, 409, 503)},
)
async def diagnosis(request: Request, job_id: JobIdPath) -> Response:
    """Diagnose the descent: what went on, and what may help.

    While one that was asked for later is not done, this is a 409: the diagnosis before it stands in
    the job.
    """
    job = await services_of(request).store.get(known_form(job_id))
    if job.asked_diagnosis is not None:
        message = f"The diagnosis of {job.asked_diagnosis}, asked for later, is not done yet."
        raise ConflictError("not_ready", message)
    return Json(to_json(strict(_diagnosis_of(job))))


def _diagnosis_of(job: JobRecord) -> dict[str, Any]:
    """Return the job's diagnosis. Raises `ConflictError("not_ready")`."""
    failed = job.failed_diagnosis
    if job.diagnosis is not None:
        found = diagnosis_json(job.diagnosis)
        return found if failed is None else {**found, "later_failed": failed}
    why = f"The job is {job.status}; its spec says diagnose: {job.spec.get('diagnose')}."
    if failed is not None:
        why = f"The one asked for later failed: {failed}"
    raise ConflictError("not_ready", f"There is no diagnosis. {why}")


@router.post(
    "/{job_id:id}/diagnosis",
    status_code=202,
    operation_id="diagnose_job",
    response_class=Json,
    responses={
        202: {
            "model": AskedDiagnosis,
            "headers": {
                "Location": header("Where the diagnosis will be."),
                "Retry-After": header("Seconds.", type="integer"),
            },
        },
        **problems(404, 409, 413, 415, 503),
    },
    openapi_extra=request_body("DiagnosisRequest"),
)
async def ask_for_diagnosis(request: Request, job_id: JobIdPath) -> Response:
    """Have a terminal job diagnosed in full: its weights are measured at one of its checkpoints.

    The answer takes the place of the job's diagnosis; until then `GET` of it is a 409.
    """
    services = services_of(request)
    known_form(job_id)
    asked = parse_diagnosis_request(await json_body(request))
    job = await services.store.get(job_id)
    if job.terminal:  # the store refuses another itself
        _check_kept(job, asked.checkpoint)
        await check_data(job.spec, services.store.datasets)
    await services.store.request_diagnosis(job_id, str(asked.checkpoint))
    services.dispatcher.announce()
    path = f"{services.root}/v1/jobs/{job_id}/diagnosis"
    links = DiagnosisLink.build(diagnosis=path)
    body = AskedDiagnosis.build(job_id=job_id, checkpoint=asked.checkpoint, links=links)
    return Json(to_json(body), 202, {"Location": path, "Retry-After": "1"})


def _check_kept(job: JobRecord, wanted: str | int) -> None:
    """Raise `ConflictError("no_checkpoint")` unless the job has kept these weights."""
    names = {each["name"] for each in job.checkpoints} - {"kept", "resume"}
    steps = sorted(each["step"] for each in job.checkpoints if each["name"] == "resume")
    if wanted not in names and wanted not in steps:
        kept = [*sorted(names), *(str(step) for step in steps)]
        raise ConflictError(
            "no_checkpoint",
            f"The job is {job.status} and has kept no checkpoint {wanted}; those that there are:"
            f" {', '.join(kept) or 'none'}.",
        )


@router.post(
    "/{job_id:id}/remedies/{index:index}/apply",
    status_code=202,
    operation_id="apply_remedy",
    response_class=Json,
    responses={**ACCEPTED, **problems(404, 409, 413, 503)},
    openapi_extra={"parameters": [KEY_PARAMETER]},
)
async def apply(request: Request, job_id: JobIdPath, index: RemedyIndex) -> Response:
    """Queue a job that tries a remedy: the spec of a terminal job, patched, from the same start.

    Its diagnosis says in `compared_to_parent` what the remedy did.
    """
    services = services_of(request)
    known_form(job_id)
    await no_body(request)
    parent = await services.store.get(job_id)
    if not parent.terminal:
        raise ConflictError(
            "not_terminal", f"The job is {parent.status}; remedies are tried once it has ended."
        )
    remedies = _diagnosis_of(parent)["remedies"]
    patch = next((each["patch"] for each in remedies if each["index"] == index), None)
    if patch is None:
        there = ", ".join(str(each["index"]) for each in remedies)
        known = f"the remedies {there}" if remedies else "none"
        raise NotFoundError(f"There is no remedy {index}; this diagnosis has {known}.")
    uploads = await data_of(parent.spec, services.store.datasets)
    whole = whole_spec(parent.spec, parent.webhook_url)
    spec = await asyncio.to_thread(remedied, whole, patch, services.limits)
    return await accept(request, new_job(request, sized_of(spec), job_id, uploads))
