"""What a study found: the best configuration, the comparison, pictures."""

import asyncio
from typing import Annotated, Any, NoReturn

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.curves import Curve, read_curves
from api.dependencies import Json, Route, Services, StudyIdPath, known_study, services_of
from api.encoding import to_json
from api.openapi import problems
from api.pictures import PICTURE, picture_reply
from api.queries import StudyPlotQuery
from api.study_schemas import StudyComparison
from core.errors import ConflictError, FieldError, InvalidInputError
from core.specs.job import JobSpec
from core.specs.studies.parse import run_spec
from core.studies import StudyRecord

Found = dict[str, Any]

router = APIRouter(prefix="/v1/studies", tags=["studies"], route_class=Route)


@router.get(
    "/{study_id:id}/best",
    response_class=Json,
    responses={200: {"model": JobSpec}, **problems(404, 409, 503)},
)
async def best(request: Request, study_id: StudyIdPath) -> Response:
    """The best configuration so far, as a job's full spec: `POST` it as it is.

    Its seed is that of the first repeat. The study's `best` and `comparison` have the evidence.
    """
    services = services_of(request)
    study = await services.store.studies.get(known_study(study_id))
    found = await services.findings.best(services.store, study)
    if found is None:
        raise ConflictError(
            "not_ready",
            f"The study is {study.status} and has no best configuration: no run has ended with a"
            " value of the metric, or its configurations train different problems, whose metrics"
            " cannot be compared (see comparison).",
        )
    spec = await asyncio.to_thread(run_spec, study.spec, found["params"], 0)
    return Json(to_json(spec.model_dump(mode="json")))


@router.get(
    "/{study_id:id}/comparison",
    response_class=Json,
    responses={200: {"model": StudyComparison}, **problems(404, 503)},
)
async def comparison(request: Request, study_id: StudyIdPath) -> Response:
    """The configurations side by side, their repeats folded: means with intervals, what diverged
    and failed, steps and seconds to the target, the winner or why there is none.

    While the study runs: of what is known so far.
    """
    services = services_of(request)
    study = await services.store.studies.get(known_study(study_id))
    return Json(await services.findings.comparison(services.store, study))


@router.get(
    "/{study_id:id}/plot",
    response_class=Response,
    responses={**PICTURE, **problems(404, 409, 503)},
)
async def plot(
    request: Request, study_id: StudyIdPath, query: Annotated[StudyPlotQuery, Query()]
) -> Response:
    """The courses of the leading configurations, with bands over their repeats; or the performance
    profile of a study over several problems or repeats."""
    services = services_of(request)
    study = await services.store.studies.get(known_study(study_id))
    compared = await services.findings.compared(services.store, study)
    curves = {}
    if query.kind == "curves":
        curves = await _curves(services, study, compared)
    elif compared["profile"] is None:
        _no_profile(study, compared["profile_reason"])
    from core.plots import study as study_plots  # for those who ask only: it brings matplotlib

    picture = await asyncio.to_thread(
        study_plots.render, query.kind, query.format, compared, curves
    )
    return picture_reply(picture, query.format)


async def _curves(
    services: Services, study: StudyRecord, compared: dict[str, Any]
) -> dict[int, Curve]:
    """Raises `ConflictError("not_ready")` while no run has a row."""
    from core.compare.curve_bands import curve_plan

    found: dict[int, Curve] = {}
    if compared["configurations"]:
        plan = curve_plan(compared)
        found = await read_curves(services.store, study.id, plan.runs, plan.kind, plan.column)
    if not found:
        raise ConflictError("not_ready", f"The study is {study.status} and has no rows yet.")
    return found


def _no_profile(study: StudyRecord, reason: str) -> NoReturn:
    if not study.terminal:
        raise ConflictError("not_ready", f"The study is {study.status}; no profile: {reason}")
    message = f"kind: there is no profile of this study: {reason} Ask for curves."
    raise InvalidInputError([FieldError("kind", "no_profile", message)])
