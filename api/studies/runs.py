"""The runs of a study: their list, one with its spec, its history and its weights."""

import asyncio
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from api.history.routes import announced, question_of, written
from api.history.selection import Answer, Question, answer, no_rows
from api.http.encoding import to_json
from api.http.openapi import problems
from api.http.paging import fingerprint, make_cursor, page_body, read_cursor
from api.http.queries import HistoryQuery, RunModelQuery, RunsQuery
from api.http.weights import RANGE_PARAMETERS, weights_reply
from api.models.export import MODEL, Source, other_form
from api.models.places import check_index, known_run, run_place
from api.services.dependencies import (
    Json,
    Route,
    RunIndexPath,
    Services,
    StudyIdPath,
    known_study,
    services_of,
)
from api.studies.schemas import RunHistory, RunPage, RunWithSpec
from api.studies.views import run_json
from core.artifacts.base import OpenArtifact
from core.errors import FieldError, InvalidInputError, NotFoundError
from core.specs.direction import sign_of
from core.specs.sizes.uploads import spec_text
from core.specs.studies.runs import run_spec
from core.studies import RunRecord, run_id

router = APIRouter(prefix="/v1/studies", tags=["runs"], route_class=Route)

_POSITION: Final = re.compile(r"[0-9]{1,9}|([01]) (\S{1,30}) ([0-9]{1,9})")
Rank = tuple[int, float, int]


@router.get(
    "/{study_id:id}/runs",
    operation_id="list_runs",
    response_class=Json,
    responses={200: {"model": RunPage}, **problems(404, 503)},
)
async def list_runs(
    request: Request, study_id: StudyIdPath, query: Annotated[RunsQuery, Query()]
) -> Response:
    """List the runs that have been planned, in order of index, or the best first."""
    services = services_of(request)
    store = services.store
    of = fingerprint("runs", known_study(study_id), query.sort, sorted(set(query.status)))
    after = None
    if query.after is not None:
        after = read_cursor(of, query.after, lambda text: _reads(text, query.sort))
    if query.sort == "metric":
        study = await store.studies.get(study_id)
        runs = await store.studies.runs(study_id)
        sign = sign_of(study.spec["metric"].get("goal"))
        page, position = await asyncio.to_thread(_best_first, runs, query, after, sign)
    else:
        await store.studies.version(study_id)  # raises where there is no such study
        first = 0 if after is None else int(after) + 1
        if query.status:
            runs = [run for run in await store.studies.runs(study_id) if run.index >= first]
            runs = [run for run in runs if run.status in query.status]
        else:
            runs = await store.studies.runs(study_id, range(first, first + query.limit + 1))
        page = runs[: query.limit]
        position = str(page[-1].index) if len(runs) > query.limit else None
    next_cursor = None if position is None else make_cursor(of, position)
    content = page_body([run_json(services, study_id, run) for run in page], next_cursor)
    return Json(to_json(content))


def _best_first(
    runs: Sequence[RunRecord], query: RunsQuery, after: str | None, sign: float
) -> tuple[list[RunRecord], str | None]:
    """Return one page, and where the next begins. A run that changes its place while the study runs
    may come twice or not at all; the other runs come once."""
    bound = None if after is None else _rank_in(after)
    wanted = [run for run in runs if not query.status or run.status in query.status]
    ranked = sorted(
        (rank, run)
        for rank, run in ((_rank(run, sign), run) for run in wanted)
        if bound is None or rank > bound
    )
    page = ranked[: query.limit]
    if len(ranked) <= query.limit:
        return [run for _, run in page], None
    missing, level, index = page[-1][0]
    return [run for _, run in page], f"{missing} {level!r} {index}"


def _rank(run: RunRecord, sign: float) -> Rank:
    """Rank a run: smaller is better; each has its own rank. As in the comparison, only what came to
    its end without diverging has a place by its metric: what diverged, failed or was stopped is
    last."""
    lost = run.status != "succeeded" or run.outcome == "diverged"
    if lost or run.metric is None or not math.isfinite(run.metric):
        return (1, 0.0, run.index)
    return (0, sign * run.metric, run.index)


def _rank_in(position: str) -> Rank:
    missing, level, index = position.split(" ")
    return int(missing), float(level), int(index)


def _reads(position: str, sort: str) -> bool:
    """Tell whether the text of a cursor is a place in this order."""
    found = _POSITION.fullmatch(position)
    if found is None or (found[1] is None) != (sort == "index"):
        return False
    try:
        return sort == "index" or math.isfinite(float(found[2]))
    except ValueError:
        return False


@router.get(
    "/{study_id:id}/runs/{index:index}",
    operation_id="get_run",
    response_class=Json,
    responses={200: {"model": RunWithSpec}, **problems(404, 409, 503)},
)
async def read_run(request: Request, study_id: StudyIdPath, index: RunIndexPath) -> Response:
    """Return one run, with its full spec: `POST` that as a job to repeat the run alone.

    A run that is not planned yet is a 409: what it will be is not settled.
    """
    services = services_of(request)
    study, run = await known_run(services, study_id, index)
    spec = await asyncio.to_thread(run_spec, study.spec, run.params, run.repeat, study.format)
    shown = run_json(services, study_id, run, spec.model_dump(mode="json"))
    return Json(to_json(shown))


@router.get(
    "/{study_id:id}/runs/{index:index}/history",
    operation_id="get_run_history",
    response_class=Json,
    responses=announced(RunHistory),
)
async def run_history(
    request: Request,
    study_id: StudyIdPath,
    index: RunIndexPath,
    query: Annotated[HistoryQuery, Query()],
) -> Response:
    """Read a run's losses as they were computed, in the form of a job's. A run that has not begun
    has no rows."""
    services = services_of(request)
    known_study(study_id)
    question = question_of(query)
    if query.kind == "system":
        message = "kind: system is of jobs; the runs of a study share a process. Ask for train or"
        raise InvalidInputError([FieldError("kind", "unsupported", f"{message} eval.")])
    found = await _history(services, study_id, index, question)
    return await written(request, query, found)


async def _history(services: Services, study_id: str, index: int, question: Question) -> Answer:
    whose: dict[str, str | int] = {"study_id": study_id, "run": index}
    await services.store.studies.version(study_id)  # raises where there is no such study
    try:
        return await answer(services.store, run_id(study_id, index), question, whose)
    except NotFoundError:
        study = await services.store.studies.get(study_id)
        check_index(study, index)
        return no_rows(question, whose, terminal=study.terminal)


@router.get(
    "/{study_id:id}/runs/{index:index}/model",
    operation_id="get_run_model",
    response_class=Response,
    responses={**MODEL, **problems(404, 409, 416, 503)},
    openapi_extra={"parameters": RANGE_PARAMETERS},
)
async def run_model(
    request: Request,
    study_id: StudyIdPath,
    index: RunIndexPath,
    query: Annotated[RunModelQuery, Query()],
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Return the run's weights, or its model, in the forms of a job's. `final` are those where it
    stopped; of a run between two rungs, or one that goes on, those where it paused last."""
    services = services_of(request)
    study, run = await known_run(services, study_id, index)
    place = run_place(study_id, run, query.checkpoint)
    # A task's file is written once: its place and the run's tell what the bytes are.
    mark = to_json([study_id, index, query.checkpoint, run.weights])
    tag = f'"{blake2b(mark, digest_size=16).hexdigest()}"'
    name = f"{study_id}-{index}-{query.checkpoint}"
    match query.format:
        case "onnx" | "card":
            source = Source.of_run(study, run, place, tag)
            return await other_form(request, source, query.format, name, if_none_match)
        case "safetensors":
            pass

    def open_() -> OpenArtifact:
        spec = run_spec(study.spec, run.params, run.repeat, study.format)
        metadata = {"spec": spec_text(spec), **place.metadata}
        return replace(place, metadata=metadata).open(services.artifacts)

    return await weights_reply(request, open_, name=name, tag=tag, if_none_match=if_none_match)
