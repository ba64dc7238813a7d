"""Calls that add runs to a study which has not ended."""

import asyncio
from collections.abc import Callable
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.http.encoding import to_json
from api.http.openapi import problems, request_body
from api.services.changes import ATTEMPTS
from api.services.dependencies import (
    Json,
    Route,
    Services,
    StudyIdPath,
    json_body,
    known_study,
    services_of,
)
from api.services.named_data import named_data
from api.services.places import place
from api.studies.origin import source_for
from api.studies.routes import STUDIES
from api.studies.schemas import Study
from core.errors import ChangedError, ConflictError
from core.specs.sizes.uploads import as_posted
from core.specs.studies.extension import Extension, Present, enqueued, extended, read_extension
from core.specs.study import EnqueuedConfigurations, StudyExtension
from core.specs.webhooks.url import whole_spec
from core.store.calls.nouns import STUDIES as RECORDS
from core.strategies.halving import grouped
from core.studies import StudyRecord

router = APIRouter(prefix="/v1/studies", tags=["studies"], route_class=Route)

_REPLIES: Final = {
    200: {"model": Study, "description": "It has all of them already; nothing changed."},
    202: {"model": Study, "description": "They will be trained."},
    **problems(404, 409, 413, 415, 503),
}


@router.post(
    "/{study_id:id}/extend",
    status_code=202,
    operation_id="extend_study",
    response_class=Json,
    responses=_REPLIES,
    openapi_extra=request_body("StudyExtension"),
)
async def extend(request: Request, study_id: StudyIdPath) -> Response:
    """Have the strategy of a study (`random`, `tpe`) choose more configurations, before it ends.

    `num_runs` is their new number in all, so that the same call again changes nothing. A study that
    has ended is a 409: begin a new one from it by `warm_start_from`.
    """
    asked = read_extension(StudyExtension, await json_body(request))
    return await _add(request, study_id, lambda study: extended(study, asked.num_runs))


@router.post(
    "/{study_id:id}/enqueue",
    status_code=202,
    operation_id="enqueue_configurations",
    response_class=Json,
    responses=_REPLIES,
    openapi_extra=request_body("EnqueuedConfigurations"),
)
async def enqueue(request: Request, study_id: StudyIdPath) -> Response:
    """Have a study train these configurations next, besides those that its strategy chooses.

    They begin once what trains now has ended; one that the study has already is not trained again,
    so that the same call again changes nothing. A study that has ended is a 409.
    """
    asked = read_extension(EnqueuedConfigurations, await json_body(request))
    return await _add(request, study_id, lambda study: enqueued(study, asked.configurations))


async def _add(
    request: Request, study_id: str, change: Callable[[Present], Extension | None]
) -> Response:
    """Change the study as it is; again, where somebody else did in between."""
    services = services_of(request)
    studies = services.store.studies
    known_study(study_id)
    for _ in range(ATTEMPTS):
        study = await studies.get(study_id)
        if study.terminal or study.status == "cancelling":
            raise _is_over(study)
        found = await asyncio.to_thread(change, await _present(services, study))
        if found is None:
            return await _shown(services, study, 200)
        try:
            study = await studies.extend(study_id, study.num_extensions, found)
        except ChangedError:
            continue
        return await _shown(services, study, 202)
    raise ChangedError("The study was not changed: others add runs to it all the time. Try again.")


def _is_over(study: StudyRecord) -> ConflictError:
    if study.status == "cancelling":
        return RECORDS.is_over(study.id, study.status, "extended")
    return ConflictError(
        "already_ended",
        f"Study {study.id} has ended ({study.status}) and takes no more runs: post a new one with"
        f' "warm_start_from": "{study.id}" to go on from it.',
    )


async def _present(services: Services, study: StudyRecord) -> Present:
    posted = whole_spec(as_posted(study.current_spec), study.webhook_url)
    runs = await services.store.studies.runs(study.id)
    source = await source_for(study, services.store.studies)
    if source is None:
        posted = {**posted, "warm_start_from": None}
    return Present(
        spec=study.spec,
        posted=posted,
        written=study.format,
        num_runs=study.num_runs,
        max_updates=study.max_updates,
        trained=[group[0].params for group in grouped(runs).values()],
        limits=services.limits,
        uploads=await named_data(to_json(posted), services.store.datasets),
        source=source,
    )


async def _shown(services: Services, study: StudyRecord, status: int) -> Json:
    where = await place(services, study)
    return Json(to_json(await STUDIES.show(services, study, where)), status)
