"""What a job leaves behind: weights, checkpoints and pictures."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.conditional import matches
from api.dependencies import JobIdPath, Json, Route, known_form, services_of
from api.encoding import to_json
from api.history import Question, answer
from api.openapi import header, problems
from api.paging import fingerprint, page_body, page_of
from api.queries import ModelQuery, PageQuery, PlotQuery
from api.schemas import CheckpointPage
from api.views import checkpoint_json
from core import plots_measured
from core.artifacts.base import JobArtifacts, OpenArtifact
from core.errors import ArtifactError, ConflictError, FieldError, InvalidInputError, NotFoundError
from core.jobs import JobRecord
from core.plots import PlotFormat
from core.plots_measured import MeasuredKind
from core.spec.job import JobSpec

router = APIRouter(prefix="/v1/jobs", tags=["results"], route_class=Route)

_OCTETS = "application/octet-stream"
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
PLOT_POINTS = 2_000
_MEDIA = {"svg": "image/svg+xml", "png": "image/png"}


@router.get(
    "/{job_id:id}/model",
    response_class=Response,
    responses={
        200: {
            "description": "safetensors; its metadata carries the spec and what use needs.",
            "content": {_OCTETS: _BINARY},
            "headers": {"ETag": header("The file's SHA-256."), "Content-Disposition": header("")},
        },
        304: {"description": "Unchanged since the ETag in If-None-Match."},
        **problems(404, 409, 503),
    },
)
async def model(
    request: Request,
    job_id: JobIdPath,
    query: Annotated[ModelQuery, Query()],
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The trained weights."""
    services = services_of(request)
    job = await services.store.get(known_form(job_id))
    saved = _saved(job, query.checkpoint)
    headers = {
        "Content-Disposition": f'attachment; filename="{job_id}-{query.checkpoint}.safetensors"',
        "Cache-Control": "no-cache",
    }
    if job.terminal:  # before that, a better checkpoint may take this one's place at any moment
        headers["ETag"] = f'"{saved["sha256"]}"'
        if if_none_match and matches(if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
    artifacts = services.artifacts.job(job_id)
    found = await asyncio.to_thread(_open, artifacts, saved["path"])
    headers["Content-Length"] = str(found.size_bytes)
    if request.method == "HEAD":
        found.close()
        return Response(headers=headers, media_type=_OCTETS)
    return StreamingResponse(found.chunks(), headers=headers, media_type=_OCTETS)


def _saved(job: JobRecord, name: str) -> dict[str, Any]:
    """The newest checkpoint of this name. Raises `ConflictError("not_ready")`."""
    found = [each for each in job.checkpoints if each["name"] == name]
    if not found:
        have = ", ".join(sorted({each["name"] for each in job.checkpoints} - {"resume"})) or "none"
        raise ConflictError(
            "not_ready",
            f"The job is {job.status} and has no {name} weights; those that there are: {have}.",
        )
    return max(found, key=lambda each: int(each["step"]))


def _open(artifacts: JobArtifacts, path: str) -> OpenArtifact:
    try:
        return artifacts.open(path)
    except NotFoundError as error:
        raise ArtifactError("The weights are recorded, but their file is not there.") from error


@router.get(
    "/{job_id:id}/checkpoints",
    response_class=Json,
    responses={200: {"model": CheckpointPage}, **problems(404, 503)},
)
async def checkpoints(
    request: Request, job_id: JobIdPath, query: Annotated[PageQuery, Query()]
) -> Response:
    """The weights that were saved, the latest step first."""
    job = await services_of(request).store.get(known_form(job_id))
    items = sorted(
        (checkpoint_json(each) for each in job.checkpoints), key=_checkpoint_key, reverse=True
    )
    of = fingerprint("checkpoints", job_id)
    page, next_cursor = page_of(items, _checkpoint_key, of, query.limit, query.after)
    return Json(to_json(page_body(page, next_cursor)))


def _checkpoint_key(checkpoint: dict[str, Any]) -> str:
    return f"{checkpoint['step']:015d} {checkpoint['name']}"


@router.get(
    "/{job_id:id}/plot",
    response_class=Response,
    responses={
        200: {
            "description": "A picture.",
            "content": dict.fromkeys(_MEDIA.values(), _BINARY),
        },
        **problems(404, 409, 503),
    },
)
async def plot(
    request: Request, job_id: JobIdPath, query: Annotated[PlotQuery, Query()]
) -> Response:
    """The loss, the learning rate, the path of a point in the plane; and, once a full diagnosis is
    there, the Hessian's eigenvalues and the loss around the weights."""
    services = services_of(request)
    job = await services.store.get(known_form(job_id))
    from core import plots  # for those who ask only: it brings matplotlib

    spec = await asyncio.to_thread(JobSpec.model_validate_json, to_json(job.spec))
    match query.kind:
        case "spectrum" | "landscape" as kind:
            return await _measured_plot(job, spec, kind, query.format)
        case "path" if not plots.path_is_possible(spec):
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
        plots.render,
        query.kind,
        query.format,
        spec,
        dict(rows.columns),
        evaluation,
        outcome=job.outcome,
        best=job.best,
        diagnosis=job.diagnosis,
    )
    return Response(picture, media_type=_MEDIA[query.format], headers={"Cache-Control": "no-cache"})


async def _measured_plot(
    job: JobRecord, spec: JobSpec, kind: MeasuredKind, form: PlotFormat
) -> Response:
    measured = (job.diagnosis or {}).get("measured")
    if not measured or not plots_measured.has(kind, measured):
        why = "has no full diagnosis" if not measured else "was measured, but there was no time for"
        raise ConflictError(
            "not_ready",
            f"The job is {job.status} and {why}{' this' if measured else ''}: POST its diagnosis"
            " once it has ended.",
        )
    picture = await asyncio.to_thread(
        plots_measured.render, kind, form, spec, measured, job.outcome
    )
    return Response(picture, media_type=_MEDIA[form], headers={"Cache-Control": "no-cache"})
