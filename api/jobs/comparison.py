"""Calls that compare jobs: side by side, and as a picture."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Header, Query
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from api.history.selection import Question, answer
from api.http.conditional import matches
from api.http.encoding import strict, to_json
from api.http.openapi import header, problems
from api.http.pictures import PICTURE, picture_reply
from api.http.queries import ComparisonPlotQuery, ComparisonQuery
from api.jobs.schemas import JobComparison
from api.services.dependencies import Json, Route, Services, services_of
from core.compare.jobs import (
    Axis,
    Compared,
    Curve,
    Series,
    common_axis,
    compare,
    goal_of_metric,
    rows_at,
    test_series,
)
from core.errors import ConflictError, FieldError, InvalidInputError, NotFoundError
from core.ids import JOB_PREFIX, is_id
from core.jobs import JobRecord
from core.specs.job import JobSpec
from core.specs.sizes.extent import epochs_at
from core.store.history.chunks import steps_of
from core.store.history.layout import HistoryKind, HistoryMeta
from core.store.protocols.api import ApiStore
from core.store.protocols.types import JobFilter

router = APIRouter(prefix="/v1/comparison", tags=["results"], route_class=Route)

LEAST: Final = 2
MOST: Final = 100
_EXTREMES: Final = 64
"""Rows of the view in which extremes and the last row are looked up."""
_MARKED: Final = 100
"""Rows of a history that are not finite, and are sure to be seen."""
_AT_ONCE: Final = 8
_TAGGED: Final = {"ETag": header("Changes whenever one of the jobs does.")}
_UNCHANGED: Final[dict[str, Any]] = {"description": "Unchanged since the ETag in If-None-Match."}


@router.get(
    "",
    operation_id="compare_jobs",
    response_class=Json,
    responses={
        200: {"model": JobComparison, "headers": _TAGGED},
        304: _UNCHANGED,
        **problems(404, 503),
    },
)
async def comparison(
    request: Request,
    query: Annotated[ComparisonQuery, Query()],
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Compare 2 to 100 jobs: what differs in their specs, their metrics at the end and at their
    best, with the change from a baseline, and their curves on a common axis. Those that run count
    as far as they are."""
    services = services_of(request)
    jobs = await _jobs(services.store, query)
    headers = {"ETag": _tag(jobs, query), "Cache-Control": "no-cache"}
    if if_none_match and matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    body = await _compared(services, jobs, query)
    return Json(await asyncio.to_thread(lambda: to_json(strict(body))), headers=headers)


@router.get(
    "/plot",
    operation_id="get_comparison_plot",
    response_class=Response,
    responses={**PICTURE, **problems(404, 409, 503)},
)
async def plot(request: Request, query: Annotated[ComparisonPlotQuery, Query()]) -> Response:
    """Draw a metric of the jobs over a common axis; those that differ by their seed alone as a
    band."""
    services = services_of(request)
    jobs = await _jobs(services.store, query)
    body = await _compared(services, jobs, query)
    if query.metric not in body["curves"]:
        there = ", ".join(name for name in body["curves"] if name != "x")
        if there:
            message = f"metric: no job has {query.metric[:80]!r}; there are: {there}."
            raise InvalidInputError([FieldError("metric", "unknown_metric", message)])
        raise ConflictError("not_ready", "None of the jobs has a row yet.")
    from core.plots import jobs as job_plots  # imported late: it brings matplotlib

    picture = await asyncio.to_thread(job_plots.render, query.format, body, query.metric)
    return picture_reply(picture, query.format)


async def _jobs(store: ApiStore, query: ComparisonQuery) -> list[JobRecord]:
    """Read the jobs that are asked for, the baseline among them. Raises `NotFoundError` with the id
    of one that there is not."""
    if bool(query.job) == bool(query.label):
        message = "name the jobs by job=, repeated, or choose them by label=key:value"
        raise InvalidInputError([FieldError("job", "conflict", f"job: {message}, one of the two.")])
    baseline = [] if query.baseline is None else [query.baseline]
    if query.job:
        ids = list(dict.fromkeys([*query.job, *baseline]))
        _check_count("job", len(ids))
        return list(await asyncio.gather(*(_job(store, id_) for id_ in ids)))
    texts = [text.partition(":") for text in query.label]
    labels = tuple((name, value) for name, _, value in texts)
    page = await store.list(JobFilter(labels=labels), MOST + 1, None)
    found = {job.id: job for job in reversed(page.records)}
    for id_ in baseline:
        if id_ not in found:
            found = {id_: await _job(store, id_), **found}
    _check_count("label", len(found))
    return list(found.values())


def _check_count(param: str, count: int) -> None:
    if LEAST <= count <= MOST:
        return
    given = f"more than {MOST}" if count > MOST else f"{count}"
    message = f"{param}: compares {LEAST} to {MOST} different jobs; these are {given}."
    raise InvalidInputError([FieldError(param, "wrong_count", message)])


async def _job(store: ApiStore, job_id: str) -> JobRecord:
    if not is_id(job_id, JOB_PREFIX):
        raise NotFoundError(f"There is no job {job_id[:80]!r}.")
    return await store.get(job_id)


def _tag(jobs: Sequence[JobRecord], query: ComparisonQuery) -> str:
    """Make the tag of the reply: weak while a job's rows may grow though its record does not."""
    text = repr([(job.id, job.version) for job in jobs]) + query.model_dump_json()
    digest = blake2b(text.encode(), digest_size=12).hexdigest()
    return f'"{digest}"' if all(job.terminal for job in jobs) else f'W/"{digest}"'


@dataclass(frozen=True)
class _History:
    """A history that has rows, and the places of its rows on the axis."""

    kind: HistoryKind
    meta: HistoryMeta
    line: NDArray[np.float64]
    series: dict[str, Series]
    marked: NDArray[np.float64]

    def metric(self, name: str) -> str:
        return name if self.kind == "train" else f"eval.{name}"


async def _compared(
    services: Services, jobs: Sequence[JobRecord], query: ComparisonQuery
) -> dict[str, Any]:
    store, gate = services.store, asyncio.Semaphore(_AT_ONCE)

    async def read(job: JobRecord) -> list[_History]:
        async with gate:
            kinds: tuple[HistoryKind, ...] = ("train", "eval")
            return [each for kind in kinds if (each := await _history(store, job, kind, query.x))]

    histories = await asyncio.gather(*map(read, jobs))
    every = [history for of_job in histories for history in of_job]
    axis = common_axis(
        [history.line for history in every], [history.marked for history in every], query.points
    )

    async def show(job: JobRecord, of_job: list[_History]) -> Compared:
        async with gate:
            curves: dict[str, Curve] = {}
            for history in of_job:
                curves |= await _curves(store, job, history, axis)
            series = {
                history.metric(name): each
                for history in of_job
                for name, each in history.series.items()
            }
            series |= test_series(job.result or {})
            return Compared(await _facts(store, job), job.spec, series, curves)

    shown = await asyncio.gather(*map(show, jobs, histories))
    return await asyncio.to_thread(compare, shown, axis, baseline=query.baseline, x=query.x)


async def _facts(store: ApiStore, job: JobRecord) -> dict[str, Any]:
    result = job.result or {}
    train_s = result.get("train_s")
    if train_s is None:
        line = await store.history_times(job.id)
        train_s = float(line.seconds[-1]) if len(line.seconds) else None
    num_steps = result.get("num_steps")
    return {
        "id": job.id,
        "name": job.name,
        "status": job.status,
        "outcome": job.outcome,
        "verdict": (job.diagnosis or {}).get("verdict"),
        "num_steps": int(job.progress.get("step") or 0) if num_steps is None else num_steps,
        "train_s": train_s,
    }


async def _history(store: ApiStore, job: JobRecord, kind: HistoryKind, x: Axis) -> _History | None:
    meta = await store.history_meta(job.id, kind)
    if not meta.num_rows:
        return None
    names = ("loss",) if kind == "train" else tuple(meta.layout.widths)
    view = await answer(store, job.id, Question(kind, names, None, _EXTREMES, _EXTREMES))
    steps = view.columns["step"].astype(np.float64)
    series, odd = {}, np.zeros(len(steps), dtype=bool)
    for name in names:
        metric = name if kind == "train" else f"eval.{name}"
        series[name] = Series.of(steps, view.columns[name], goal_of_metric(metric, job.spec))
        odd |= ~np.isfinite(view.columns[name])
    marked = steps[odd][:_MARKED]
    rows = np.arange(meta.num_rows)
    places = await _places(store, job, np.concatenate([steps_of(meta, rows), marked]), x)
    count = meta.num_rows
    return _History(kind, meta, places[:count], series, places[count:])


async def _places(
    store: ApiStore, job: JobRecord, steps: NDArray[np.float64], x: Axis
) -> NDArray[np.float64]:
    """Return the places of steps on the axis. Raises `InvalidInputError` for a job that has no such
    axis."""
    if x == "step":
        return steps
    if x == "epoch":
        spec = await asyncio.to_thread(JobSpec.model_validate_json, to_json(job.spec))
        found = epochs_at(spec, steps.astype(np.int64))
        if found is None:
            message = f"x: {job.id} is of a function, which has no epochs; ask for step or time_s."
            raise InvalidInputError([FieldError("x", "unsupported", message)])
        return found
    line = await store.history_times(job.id)
    if not line.covers(steps):
        message = f"x: the times of {job.id} were not recorded; ask for step or epoch."
        raise InvalidInputError([FieldError("x", "not_recorded", message)])
    return line.at(steps)


async def _curves(
    store: ApiStore, job: JobRecord, history: _History, axis: NDArray[np.float64]
) -> dict[str, Curve]:
    rows, known = rows_at(history.line, axis)
    needed, places = np.unique(rows[known], return_inverse=True)
    names = list(history.series)
    columns = await store.history_pick(job.id, history.kind, history.meta, names, needed)
    curves = {}
    for name in names:
        values = np.full(len(axis), np.nan)
        values[known] = columns[name][places]
        curves[history.metric(name)] = Curve(values, known)
    return curves
