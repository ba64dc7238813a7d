"""Calls for the results of a job: weights, checkpoints and pictures."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from api.history.selection import Question, answer
from api.http.encoding import to_json
from api.http.openapi import header, problems
from api.http.paging import fingerprint, page_body, page_of
from api.http.pictures import PICTURE, picture_reply
from api.http.queries import JobModelQuery, PageQuery, PlotQuery
from api.http.weights import RANGE_PARAMETERS, weights_reply
from api.jobs.schemas import CheckpointPage, Job
from api.jobs.views import checkpoint_json, job_json
from api.models.export import MODEL, Source, other_form
from api.models.places import job_place
from api.services.dependencies import (
    JobIdPath,
    Json,
    Route,
    known_form,
    no_body,
    services_of,
)
from api.services.places import NOWHERE
from core.errors import ConflictError, FieldError, InvalidInputError
from core.jobs import JobRecord
from core.plots import measured as measured_plots
from core.plots.measured import MeasuredKind
from core.plots.run import PlotFormat
from core.specs.job import JobSpec

router = APIRouter(prefix="/v1/jobs", tags=["results"], route_class=Route)

PLOT_POINTS = 2_000


@router.get(
    "/{job_id:id}/model",
    operation_id="get_job_model",
    response_class=Response,
    responses={**MODEL, **problems(404, 409, 416, 503)},
    openapi_extra={"parameters": RANGE_PARAMETERS},
)
async def model(
    request: Request,
    job_id: JobIdPath,
    query: Annotated[JobModelQuery, Query()],
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Return the trained weights; or the model as ONNX, which a worker makes at the first request
    (202 until it is there), or a card that tells of it in words."""
    services = services_of(request)
    job = await services.store.get(known_form(job_id))
    wanted = query.checkpoint
    place, sha256 = job_place(job, wanted)
    name = f"{job_id}-{wanted}"
    is_part = place.part == "resumed"  # the weights are a part of it
    tag = f'"{sha256}.weights"' if is_part else f'"{sha256}"'
    match query.format:
        case "onnx" | "card":
            source = Source.of_job(job, place, tag)
            return await other_form(request, source, query.format, name, if_none_match)
        case "safetensors":
            pass
    artifacts = services.artifacts.job(job_id)
    return await weights_reply(
        request,
        lambda: place.open(services.artifacts),
        name=name,
        # Only a terminal job has a tag: before, a better checkpoint may replace this one.
        tag=tag if job.terminal or wanted.isdigit() else None,
        if_none_match=if_none_match,
        read=None
        if is_part
        else lambda start, length: artifacts.read_range(place.name, start, length),
    )


@router.get(
    "/{job_id:id}/checkpoints",
    operation_id="list_job_checkpoints",
    response_class=Json,
    responses={200: {"model": CheckpointPage}, **problems(404, 503)},
)
async def checkpoints(
    request: Request, job_id: JobIdPath, query: Annotated[PageQuery, Query()]
) -> Response:
    """List the weights that were saved, the latest step first."""
    job = await services_of(request).store.get(known_form(job_id))
    items = sorted(
        (checkpoint_json(each) for each in job.checkpoints), key=_checkpoint_key, reverse=True
    )
    of = fingerprint("checkpoints", job_id)
    page, next_cursor = page_of(items, _checkpoint_key, of, query.limit, query.after)
    return Json(to_json(page_body(page, next_cursor)))


@router.post(
    "/{job_id:id}/checkpoints",
    status_code=202,
    operation_id="keep_job_checkpoint",
    response_class=Json,
    responses={
        202: {"model": Job, "headers": {"Location": header("Path of the checkpoints.")}},
        **problems(404, 409, 413, 503),
    },
)
async def keep_checkpoint(request: Request, job_id: JobIdPath) -> Response:
    """Have a running job leave a checkpoint at its next step, which stays as long as the job."""
    services = services_of(request)
    known_form(job_id)
    await no_body(request)
    job = await services.store.request_checkpoint(job_id)
    location = f"{services.root}/v1/jobs/{job_id}/checkpoints"
    return Json(to_json(job_json(services, job, NOWHERE)), 202, {"Location": location})


def _checkpoint_key(checkpoint: dict[str, Any]) -> str:
    return f"{checkpoint['step']:015d} {checkpoint['name']}"


@router.get(
    "/{job_id:id}/plot",
    operation_id="get_job_plot",
    response_class=Response,
    responses={**PICTURE, **problems(404, 409, 503)},
)
async def plot(
    request: Request, job_id: JobIdPath, query: Annotated[PlotQuery, Query()]
) -> Response:
    """Draw the loss, the learning rate, the path of a point in the plane; and, once a full
    diagnosis is there, the Hessian's eigenvalues and the loss around the weights."""
    services = services_of(request)
    job = await services.store.get(known_form(job_id))
    from core.plots import run as run_plots  # imported late: it brings matplotlib

    spec = await asyncio.to_thread(JobSpec.model_validate_json, to_json(job.spec))
    match query.kind:
        case "spectrum" | "landscape" as kind:
            return await _measured_plot(job, spec, kind, query.format)
        case "path" if not run_plots.path_is_possible(spec):
            message = "kind: a path is drawn for functions of two variables; ask for loss or lr."
            raise InvalidInputError([FieldError("kind", "not_two_dimensional", message)])
        case _:
            pass
    series = {"loss": ("loss", "grad_norm"), "lr": ("lr",), "path": ("loss", "x")}[query.kind]
    question = Question("train", series, None, PLOT_POINTS, PLOT_POINTS)
    rows = await answer(services.store, job_id, question)
    if not rows.returned:
        raise ConflictError("not_ready", f"The job is {job.status} and has no rows yet.")
    evaluation = None
    if query.kind == "loss":
        evaluated = await answer(
            services.store, job_id, Question("eval", None, None, PLOT_POINTS, PLOT_POINTS)
        )
        evaluation = dict(evaluated.columns) if evaluated.returned else None
    picture = await asyncio.to_thread(
        run_plots.render,
        query.kind,
        query.format,
        spec,
        dict(rows.columns),
        evaluation,
        outcome=job.outcome,
        best=job.best,
        diagnosis=job.diagnosis,
    )
    return picture_reply(picture, query.format)


async def _measured_plot(
    job: JobRecord, spec: JobSpec, kind: MeasuredKind, form: PlotFormat
) -> Response:
    measured = (job.diagnosis or {}).get("measured")
    if not measured or not measured_plots.has(kind, measured):
        why = "has no full diagnosis" if not measured else "was measured, but there was no time for"
        raise ConflictError(
            "not_ready",
            f"The job is {job.status} and {why}{' this' if measured else ''}: POST its diagnosis"
            " once it has ended.",
        )
    picture = await asyncio.to_thread(
        measured_plots.render, kind, form, spec, measured, job.outcome
    )
    return picture_reply(picture, form)
