"""Calls for predictions: ask a worker for them, and read what it has made."""

import asyncio
import contextlib
import io
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from api.http.conditional import wait_of
from api.http.encoding import to_json
from api.http.log import REQUEST_ID, TRACEPARENT
from api.http.openapi import header, problems, request_body
from api.http.queries import PredictionQuery, PredictQuery
from api.keys.gate import caller_of
from api.models.places import job_place, known_run, run_place
from api.predictions.schemas import Prediction
from api.predictions.views import MEDIA_TYPES, WRITERS, prediction_json, read_arrays
from api.services.dependencies import (
    JobIdPath,
    Json,
    PredictionIdPath,
    Route,
    RunIndexPath,
    Services,
    StudyIdPath,
    in_thread_if_large,
    json_body,
    known_form,
    known_id,
    services_of,
)
from api.services.idempotency import KEY_PARAMETER, idempotency_of
from core.artifacts.weights import WeightsPlace
from core.datasets import DatasetRecord
from core.errors import ArtifactError, ConflictError, FieldError, InvalidInputError, NotFoundError
from core.ids import PREDICTION_PREFIX, new_id, rfc3339, utc_now
from core.specs.base import Json as JsonObject
from core.specs.data import Upload
from core.specs.job import DataProblem, JobSpec
from core.specs.parsing.prediction import PredictionRequest, parse_prediction_request
from core.specs.studies.runs import run_spec
from core.uses.coding import Coder
from core.uses.dataset import check_columns
from core.uses.model import ModelFacts
from core.uses.posted import Posted, code_posted, coder_of
from core.uses.record import INPUT_NAME, UseRecord
from core.uses.series import Windows, count_windows

router = APIRouter(tags=["predictions"], route_class=Route)

MOST_NUMBERS: Final = 50_000_000
"""Numbers that the rows of one prediction are, and that come out, at most: 400 MB."""
_ACCEPTED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": Prediction, "description": "With `wait`: they are there."},
    202: {
        "model": Prediction,
        "headers": {
            "Location": header("The prediction's path."),
            "Retry-After": header("Seconds.", type="integer"),
            "Idempotent-Replayed": header("`true` when the key was known.", const="true"),
        },
    },
    **problems(404, 409, 413, 415, 503),
}
Prefer = Annotated[str | None, Header(description="`wait=SECONDS`, as the query.")]


@dataclass(frozen=True)
class _Model:
    """The model that rows are predicted with. `data`: of its spec."""

    of: str
    run: int | None
    spec: JobSpec
    place: WeightsPlace
    facts: ModelFacts


@router.post(
    "/v1/jobs/{job_id:id}/predictions",
    status_code=202,
    operation_id="predict_with_job",
    response_class=Json,
    responses=_ACCEPTED,
    openapi_extra={"parameters": [KEY_PARAMETER], **request_body("PredictionRequest")},
)
async def predict_with_job(
    request: Request,
    job_id: JobIdPath,
    query: Annotated[PredictQuery, Query()],
    prefer: Prefer = None,
) -> Response:
    """Predict rows with the weights of a job. A worker does it; each row is checked before the
    reply."""
    services = services_of(request)
    known_form(job_id)
    body = await json_body(request)
    asked = await in_thread_if_large(len(body), parse_prediction_request, body)
    job = await services.store.get(job_id)
    data = await _named_data(services, asked)
    spec = await asyncio.to_thread(JobSpec.model_validate_json, to_json(job.spec))
    facts = ModelFacts.of(spec)
    place, _ = job_place(job, str(asked.checkpoint))
    model = _Model(job_id, None, spec, place, facts)
    return await _accept(request, services, model, asked, data, wait_of(query.wait, prefer))


@router.post(
    "/v1/studies/{study_id:id}/runs/{index:index}/predictions",
    status_code=202,
    operation_id="predict_with_run",
    response_class=Json,
    responses=_ACCEPTED,
    openapi_extra={"parameters": [KEY_PARAMETER], **request_body("PredictionRequest")},
)
async def predict_with_run(
    request: Request,
    study_id: StudyIdPath,
    index: RunIndexPath,
    query: Annotated[PredictQuery, Query()],
    prefer: Prefer = None,
) -> Response:
    """Predict rows with the weights of a study's run, as with those of a job."""
    services = services_of(request)
    body = await json_body(request)
    asked = await in_thread_if_large(len(body), parse_prediction_request, body)
    study, run = await known_run(services, study_id, index)
    data = await _named_data(services, asked)
    spec = await asyncio.to_thread(run_spec, study.spec, run.params, run.repeat, study.format)
    facts = ModelFacts.of(spec)
    place = run_place(study_id, run, str(asked.checkpoint))
    model = _Model(study_id, index, spec, place, facts)
    return await _accept(request, services, model, asked, data, wait_of(query.wait, prefer))


async def _accept(
    request: Request,
    services: Services,
    model: _Model,
    asked: PredictionRequest,
    data_set: DatasetRecord | None,
    waiting: tuple[float | None, dict[str, str]],
) -> Response:
    """Check the rows, queue the prediction, and reply, once it is done where that is waited for."""
    place = model.place
    metadata = await asyncio.to_thread(place.shared_metadata, services.artifacts)
    coder = coder_of(metadata, model.facts)
    _check_windows(model, asked)
    use = _new_use(request, services, model, asked)
    what = asked.model_dump(mode="json")
    idempotency = idempotency_of(request, services, "predict", model.of, model.run, what)
    if asked.features is None:
        assert data_set is not None
        use = _of_dataset(services, model, coder, data_set, use, asked.windows or "last")
        found, known = await services.store.uses.add(use, idempotency)
    else:
        windows = asked.windows or "last"
        _check_size(services, model, len(asked.features), "features", windows)
        posted = await asyncio.to_thread(
            code_posted, coder, model.facts, asked.features, asked.targets, windows
        )
        data = await asyncio.to_thread(_packed, posted)
        use = replace(
            use,
            rows={"kind": "posted", "windows": windows},
            num_rows=posted.num_rows,
            size_bytes=len(data),
            unseen={name: list(values) for name, values in posted.unseen.items()},
        )
        await services.store.uses.reserve(use.id)
        artifacts = services.artifacts.job(use.id)
        try:
            await asyncio.to_thread(artifacts.write, INPUT_NAME, [data])
            found, known = await services.store.uses.add(use, idempotency)
        except BaseException:
            with contextlib.suppress(ArtifactError):
                await asyncio.to_thread(artifacts.delete_all)
            raise
        if known:
            await asyncio.to_thread(artifacts.delete_all)
    return await _reply(services, found, waiting, known=known)


async def _reply(
    services: Services,
    use: UseRecord,
    waiting: tuple[float | None, dict[str, str]],
    *,
    known: bool,
) -> Response:
    wait, headers = waiting
    if not known:
        services.dispatcher.announce()
    if wait:
        read = services.store.uses.get
        use = await services.feed.wait_until_terminal(use.id, wait, read)
    headers["Location"] = f"{services.root}/v1/predictions/{use.id}"
    if known:
        headers["Idempotent-Replayed"] = "true"
    if use.terminal and wait:
        return Json(await _body(services, use), 200, headers)
    headers["Retry-After"] = "1"
    return Json(await _body(services, use), 202, headers)


def _new_use(
    request: Request, services: Services, model: _Model, asked: PredictionRequest
) -> UseRecord:
    scope, caller = request.scope, caller_of(request.scope)
    return UseRecord(
        id=new_id(PREDICTION_PREFIX),
        kind="predict",
        status="queued",
        of=model.of,
        run=model.run,
        created_at=rfc3339(utc_now()),
        device=model.spec.device,
        checkpoint=str(asked.checkpoint),
        weights=model.place.to_json(),
        model=model.facts.to_json(),
        age_ms=round(1000 * services.settings.prediction_age_s),
        owner=None if caller is None else caller.owner,
        key_id=None if caller is None else caller.key.id,
        request_id=scope.get(REQUEST_ID),
        traceparent=scope.get(TRACEPARENT),
    )


def _check_windows(model: _Model, asked: PredictionRequest) -> None:
    """Refuse a choice of windows where there are none. Raises `InvalidInputError`."""
    if asked.windows is not None and model.facts.window is None:
        message = (
            f"windows: {asked.windows!r} was given, and problem.kind is"
            f" {model.spec.problem.kind!r}: only a forecast has windows; leave it out"
        )
        raise InvalidInputError([FieldError("windows", "conflict", message)])


def _check_size(
    services: Services, model: _Model, num_rows: int, param: str, windows: Windows = "all"
) -> None:
    """Refuse more rows than one prediction may have. Raises `InvalidInputError`."""
    inputs, window = model.facts.num_inputs, model.facts.window
    if window is not None and windows == "last":  # each row stands in one window
        inputs //= window
    numbers = inputs + model.facts.num_outputs
    most = max(1, min(services.settings.max_prediction_rows, MOST_NUMBERS // numbers))
    if num_rows > most:
        message = (
            f"{param}: has {num_rows:,} rows; one prediction with this model takes at most"
            f" {most:,}: send them in parts"
        )
        raise InvalidInputError([FieldError(param, "too_many_rows", message)])


async def _named_data(services: Services, asked: PredictionRequest) -> DatasetRecord | None:
    """Read the data set that a body names; None where it has rows. Raises `InvalidInputError`."""
    if asked.dataset is None:
        return None
    try:
        return await services.store.datasets.get(asked.dataset)
    except NotFoundError:
        message = f"dataset: there is no data set {asked.dataset} (any more)"
        raise InvalidInputError([FieldError("dataset", "unknown_dataset", message)]) from None


def _of_dataset(
    services: Services,
    model: _Model,
    coder: Coder,
    record: DatasetRecord,
    use: UseRecord,
    windows: Windows,
) -> UseRecord:
    """Return the use with a data set's rows, once its columns are found to fit. Raises
    `InvalidInputError`."""
    id_, facts = record.id, record.facts
    if facts.status != "ready":
        message = f"dataset: data set {id_} is {facts.status}; wait until it is ready"
        raise InvalidInputError([FieldError("dataset", "not_ready", message)])
    rows = {"kind": "dataset", "id": id_, "file": facts.file, "windows": windows}
    is_of_texts = model.facts.context is not None
    kinds = {"text"} if is_of_texts else {"table", "arrays", "images"}
    if facts.kind not in kinds or not (is_of_texts or facts.num_rows):
        what = "no text to go on with" if is_of_texts else "no rows to predict"
        message = f"dataset: data set {id_} is of the kind {facts.kind}, and has {what}"
        raise InvalidInputError([FieldError("dataset", "wrong_kind", message)])
    if is_of_texts:
        return replace(use, rows=rows, num_rows=1)
    num_rows = facts.num_rows
    if model.facts.window is not None:
        num_rows = count_windows(num_rows, model.facts.window, windows, "dataset")
    _check_size(services, model, num_rows, "dataset")
    problem = model.spec.problem
    assert isinstance(problem, DataProblem)
    data = problem.data
    # Where the features were named, other columns were no features in training either.
    others = isinstance(data, Upload) and data.features is not None
    named = data.no_features if isinstance(data, Upload) else frozenset[str]()
    is_last = model.facts.window is not None and windows == "last"
    check_columns(coder, facts, others=others, ignored=named, is_last=is_last)
    return replace(use, rows=rows, num_rows=num_rows)


def _packed(posted: Posted) -> bytes:
    """Write coded rows as a worker reads them."""
    arrays: dict[str, Any] = dict(posted.arrays)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


@router.get(
    "/v1/predictions/{prediction_id:id}",
    operation_id="get_prediction",
    response_class=Json,
    responses={
        200: {
            "model": Prediction,
            "content": {
                media_type: {"schema": {"type": "string", "format": "binary"}}
                for media_type in MEDIA_TYPES[1:]
            },
        },
        **problems(404, 409, 503),
    },
)
async def read_prediction(
    request: Request,
    prediction_id: PredictionIdPath,
    query: Annotated[PredictionQuery, Query()],
    prefer: Prefer = None,
) -> Response:
    """Return the predictions, at once or once they are there; they go with their job, or when they
    are old."""
    services = services_of(request)
    known_id(prediction_id, PREDICTION_PREFIX)
    wait, headers = wait_of(query.wait, prefer)
    uses = services.store.uses
    if wait:
        use = await services.feed.wait_until_terminal(prediction_id, wait, uses.get)
    else:
        use = await uses.get(prediction_id)
    if query.format == "json":
        return Json(await _body(services, use), headers=headers)
    if use.status != "succeeded":
        why = f": {use.error['message']}" if use.error else "; wait for it with ?wait="
        raise ConflictError("not_ready", f"The prediction is {use.status}{why}")
    media_type, write = WRITERS[query.format]
    arrays = await asyncio.to_thread(read_arrays, services.artifacts, use)
    content = await asyncio.to_thread(write, use, arrays)
    file = f'attachment; filename="{use.id}.{query.format}"'
    headers |= {"Cache-Control": "no-cache", "Content-Disposition": file}
    return Response(content, headers=headers, media_type=media_type)


async def _body(services: Services, use: UseRecord) -> bytes:
    """Write the contract's JSON of a prediction."""
    return await asyncio.to_thread(_written, services, use)


def _written(services: Services, use: UseRecord) -> bytes:
    arrays = read_arrays(services.artifacts, use) if use.status == "succeeded" else None
    body: JsonObject = prediction_json(services, use, arrays)
    return to_json(body)
