"""Calls for the results of a study: the best configuration, the comparison, pictures."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Final, NoReturn

import numpy as np
from fastapi import APIRouter, Query
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from api.http.encoding import to_json
from api.http.openapi import problems
from api.http.pictures import PICTURE, picture_reply
from api.http.queries import StudyPlotQuery
from api.services.dependencies import Json, Route, Services, StudyIdPath, known_study, services_of
from api.studies.schemas import Importance, StudyComparison
from core.errors import ConflictError, FieldError, InvalidInputError, NotFoundError
from core.specs.job import JobSpec
from core.specs.sizes.uploads import as_posted
from core.specs.studies.runs import run_spec
from core.store.history.layout import HistoryKind
from core.store.protocols.api import ApiStore
from core.studies import StudyRecord, run_id

# Reading one column of many runs' histories, for a picture.
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]

MOST_ROWS: Final = 4_000
"""Most rows read of a run. A picture has 900 columns; of a longer history rows in equal distances
are read."""
_AT_ONCE: Final = 16


async def read_curves(
    store: ApiStore, study_id: str, runs: Sequence[int], kind: HistoryKind, column: str
) -> dict[int, Curve]:
    """Read the steps and values of each run, by the run's number; runs without rows are left
    out."""
    found: dict[int, Curve] = {}
    for start in range(0, len(runs), _AT_ONCE):
        some = runs[start : start + _AT_ONCE]
        curves = await asyncio.gather(
            *(_read(store, run_id(study_id, run), kind, column) for run in some)
        )
        found |= {run: curve for run, curve in zip(some, curves, strict=True) if curve is not None}
    return found


async def _read(store: ApiStore, name: str, kind: HistoryKind, column: str) -> Curve | None:
    series = ("step", column)
    try:
        meta = await store.history_meta(name, kind)
        if not meta.num_rows or column not in meta.layout.widths:
            return None
        if meta.num_rows <= MOST_ROWS:
            columns = await store.history_rows(name, kind, meta, series, 0, meta.num_rows)
        else:  # both ends among them: the last row may be the only one that is not finite
            rows = np.linspace(0, meta.num_rows - 1, MOST_ROWS).astype(np.int64)
            columns = await store.history_pick(name, kind, meta, series, rows)
    except NotFoundError:
        return None
    return columns["step"], columns[column]


Found = dict[str, Any]

router = APIRouter(prefix="/v1/studies", tags=["studies"], route_class=Route)


@router.get(
    "/{study_id:id}/best",
    operation_id="get_best_configuration",
    response_class=Json,
    responses={200: {"model": JobSpec}, **problems(404, 409, 503)},
)
async def best(request: Request, study_id: StudyIdPath) -> Response:
    """Return the best configuration so far, as a job's full spec: `POST` it as it is.

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
    spec = await asyncio.to_thread(run_spec, study.spec, found["params"], 0, study.format)
    return Json(to_json(as_posted(spec.model_dump(mode="json"))))


@router.get(
    "/{study_id:id}/comparison",
    operation_id="compare_configurations",
    response_class=Json,
    responses={200: {"model": StudyComparison}, **problems(404, 503)},
)
async def comparison(request: Request, study_id: StudyIdPath) -> Response:
    """Compare the configurations side by side, their repeats folded: means with intervals, what
    diverged and failed, steps and seconds to the target, the winner or why there is none.

    While the study runs: of what is known so far.
    """
    services = services_of(request)
    study = await services.store.studies.get(known_study(study_id))
    return Json(await services.findings.comparison(services.store, study))


@router.get(
    "/{study_id:id}/importance",
    operation_id="get_parameter_importance",
    response_class=Json,
    responses={200: {"model": Importance}, **problems(404, 409, 503)},
)
async def importance(request: Request, study_id: StudyIdPath) -> Response:
    """Return the share of the metric's variation that each swept path explains, once the study has
    succeeded: its last plan computes it."""
    study = await services_of(request).store.studies.get(known_study(study_id))
    found = (study.result or {}).get("importance")
    if found is None:
        later = "it is computed at its end" if not study.terminal else (
            "only a study that comes through computes it; the runs' metrics are in comparison"
        )  # fmt: skip
        raise ConflictError(
            "not_ready",
            f"The study is {study.status} and has no importance of parameters: {later}.",
        )
    found = {"num_inherited": 0, **found}  # earlier versions had none
    return Json(to_json(Importance.build(found, study_id=study.id, metric=study.spec["metric"])))


@router.get(
    "/{study_id:id}/plot",
    operation_id="get_study_plot",
    response_class=Response,
    responses={**PICTURE, **problems(404, 409, 503)},
)
async def plot(
    request: Request, study_id: StudyIdPath, query: Annotated[StudyPlotQuery, Query()]
) -> Response:
    """Draw the courses of the leading configurations, with bands over their repeats; or the
    performance profile of a study over several problems or repeats."""
    services = services_of(request)
    study = await services.store.studies.get(known_study(study_id))
    compared = await services.findings.compared(services.store, study)
    curves = {}
    if query.kind == "curves":
        curves = await _curves(services, study, compared)
    elif compared["profile"] is None:
        _no_profile(study, compared["profile_reason"])
    from core.plots import study as study_plots  # imported late: it brings matplotlib

    picture = await asyncio.to_thread(
        study_plots.render, query.kind, query.format, compared, curves
    )
    return picture_reply(picture, query.format)


async def _curves(
    services: Services, study: StudyRecord, compared: dict[str, Any]
) -> dict[int, Curve]:
    """Read the curves to draw. Raises `ConflictError("not_ready")` while no run has a row."""
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
