"""A job's history: exact pages and honest views, in four formats."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from api.history.formats import WRITERS
from api.history.schemas import History
from api.history.selection import Answer, Question, answer, answer_system
from api.http.middleware import shown_path
from api.http.openapi import header, problems
from api.http.queries import HistoryQuery
from api.services.dependencies import JobIdPath, Json, Route, known_form, services_of
from core.errors import FieldError, InvalidInputError
from core.store.history.layout import HistoryKind

router = APIRouter(prefix="/v1/jobs", tags=["history"], route_class=Route)

DEFAULT_LIMIT = 1_000
_IN_PLACE = 40_000
"""Numbers in JSON from which on they are written in a thread (about 5 ms)."""
_OTHERS: dict[str, Any] = {
    media_type.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}
    for name, (media_type, _) in WRITERS.items()
    if name != "json"
}


def announced(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Describe the `responses=` of a call that gives a history; `model` is its JSON."""
    return {
        200: {
            "model": model,
            "content": _OTHERS,
            "headers": {"Link": header('`rel="next"`: the following page, if there are rows.')},
        },
        **problems(404, 503),
    }


@router.get(
    "/{job_id:id}/history",
    operation_id="get_job_history",
    response_class=Json,
    responses=announced(History),
)
async def history(
    request: Request, job_id: JobIdPath, query: Annotated[HistoryQuery, Query()]
) -> Response:
    """Read losses as they were computed; with `kind=system` what the job's process used, now and
    then. Follow a running job with `after=` the last `next_after`."""
    known_form(job_id)
    store, question = services_of(request).store, question_of(query)
    if query.kind == "system":
        found = await answer_system(store, job_id, question)
    else:
        found = await answer(store, job_id, question)
    return await written(request, query, found)


async def written(request: Request, query: HistoryQuery, found: Answer) -> Response:
    """Return the reply, in the format that was asked for."""
    media_type, write = WRITERS[query.format]
    size = sum(column.size for column in found.columns.values())
    if size > (_IN_PLACE if query.format == "json" else _IN_PLACE // 10):
        content = await asyncio.to_thread(write, found)
    else:
        content = write(found)
    headers = {"Cache-Control": "no-cache"}
    if (url := _next_page(request, query, found)) is not None:
        headers["Link"] = f'<{url}>; rel="next"'
    return Response(content, headers=headers, media_type=media_type)


def question_of(query: HistoryQuery) -> Question:
    """Read the question from the query. Raises `InvalidInputError` for parameters that contradict
    each other."""
    mistakes: list[FieldError] = []
    if query.points is not None and query.limit is not None:
        message = "limit: does not go with points, which is the most rows itself; leave one out."
        mistakes.append(FieldError("limit", "conflict", message))
    series = None
    try:
        series = series_in(query.series)
    except InvalidInputError as error:
        mistakes += error.errors
    bounds = {"after": query.after, "until": query.until}
    for name, value in bounds.items():
        if query.kind != "system" and value is not None and not value.is_integer():
            message = f"{name}: must be a whole number, a step; given {value:g}."
            mistakes.append(FieldError(name, "int_parsing", message))
    if query.after is not None and query.until is not None and query.until < query.after:
        message = f"until: must not be below after, {query.after:g}; given {query.until:g}."
        mistakes.append(FieldError("until", "conflict", message))
    if mistakes:
        raise InvalidInputError(mistakes)
    kind: HistoryKind = "eval" if query.kind == "eval" else "train"
    limit = query.limit or DEFAULT_LIMIT
    return Question(kind, series, query.after, limit, query.points, query.until)


def series_in(text: str | None) -> tuple[str, ...] | None:
    """Read the names of series; None: all. Raises `InvalidInputError`."""
    if text is None:
        return None
    series = tuple(text.split(","))
    if len(set(series)) < len(series) or "" in series:
        message = f"series: needs different names with commas between; given {text[:80]!r}."
        raise InvalidInputError([FieldError("series", "malformed", message)])
    return series


def _next_page(request: Request, query: HistoryQuery, found: Answer) -> str | None:
    """Return the link to the rows that follow, were asked for, and are there already (CSV and NPZ
    have no room for `next_after`)."""
    if query.points is not None or not found.has_next or found.next_after is None:
        return None
    url = request.url.include_query_params(after=found.next_after)
    return f"{shown_path(request.scope)}?{url.query}"
