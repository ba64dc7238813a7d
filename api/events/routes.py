"""Streams of events (server-sent): of a job, of a study, and of all that the caller has."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from api.events.everything import EverythingFollower
from api.events.followers import JobFollower, Rows, RowsWanted, StudyFollower
from api.events.ids import PARAM, LogPlace, Place, check_of, log_place_in, place_in
from api.events.stream import EventStream
from api.history.routes import series_in
from api.http.openapi import problems
from api.http.queries import EverythingQuery, RowsQuery, StudyEventsQuery
from api.http.schemas import View
from api.jobs.schemas import JobDiagnosis
from api.services.dependencies import (
    JobIdPath,
    Route,
    StudyIdPath,
    known_form,
    known_study,
    services_of,
)
from core.errors import FieldError, InvalidInputError, NotFoundError
from core.store.history.layout import HistoryMeta
from core.store.protocols.api import LOG
from core.store.protocols.types import Snapshot
from core.studies import StudyRecord, run_id

router = APIRouter(prefix="/v1", tags=["events"], route_class=Route)


class Reset(View):
    """Event for a reader who asks for entries that the log no longer has."""

    reason: str
    """Explanation of what was lost, and of what follows."""


MODELS: Final = (JobDiagnosis, Reset)
"""Models that are met in streams only."""

LastEventId = Annotated[
    str | None,
    Header(
        alias=PARAM,
        max_length=4000,
        description="The `id` of the last event that came: the stream goes on after it.",
    ),
]


def _announced(events: dict[str, list[str]]) -> dict[int | str, dict[str, Any]]:
    """Describe the `responses=` of a stream: by event, the schemas of its `data`. `itemSchema` is
    OpenAPI 3.2's word for one event of a stream; programs that do not know it find the same in
    `x-events`."""
    schemas = {
        event: {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in names]}
        for event, names in events.items()
    }
    each = {"anyOf": [_event(name, schema) for name, schema in schemas.items()]}
    return {
        200: {
            "description": "A stream of events. `data` is JSON in one line; `x-events` has its"
            " schema by the event's type.",
            "content": {"text/event-stream": {"itemSchema": each, "x-events": schemas}},
        },
        204: {"description": "The stream had come to its end with that `Last-Event-ID`."},
        **problems(404, 503),
    }


def _event(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Describe one event by its fields."""
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}
    return {
        "type": "object",
        "required": ["event", "data", "id"],
        "properties": {
            "event": {"type": "string", "enum": [name]},
            "data": data,
            "id": {"type": "string"},
            "retry": {"type": "integer", "minimum": 0},
        },
    }


@router.get(
    "/jobs/{job_id:id}/events",
    operation_id="stream_job_events",
    response_class=Response,
    responses=_announced(
        {"status": ["Job"], "points": ["History"], "diagnosis": ["JobDiagnosis"], "end": ["Job"]}
    ),
)
async def job_events(
    request: Request,
    job_id: JobIdPath,
    query: Annotated[RowsQuery, Query()],
    last_event_id: LastEventId = None,
) -> Response:
    """Follow a job: its `status`, its rows from the first on (`points`), its `diagnosis`, and its
    `end`, which is the last event."""
    services = services_of(request)
    known_form(job_id)
    wanted = _wanted(query)
    check = check_of(job_id, wanted.kind)
    place = place_in(last_event_id, check) if last_event_id else None
    found = await services.look([job_id])
    meta = _history(found[job_id][1], f"There is no job {job_id!r}.", wanted)
    if place is None:
        place = Place(rows=wanted.start(meta))
    if place.is_end:
        return _over()
    rows = Rows(services, job_id, {"job_id": job_id}, wanted)
    await rows.check(meta)
    follower = JobFollower(services, job_id, rows, place, check)
    return EventStream(services.hub, found, follower)


@router.get(
    "/studies/{study_id:id}/events",
    operation_id="stream_study_events",
    response_class=Response,
    responses=_announced(
        {"status": ["Study"], "points": ["RunHistory"], "run": ["Run"], "end": ["Study"]}
    ),
)
async def study_events(
    request: Request,
    study_id: StudyIdPath,
    query: Annotated[StudyEventsQuery, Query()],
    last_event_id: LastEventId = None,
) -> Response:
    """Follow a study: its `status`, each `run` once it has ended, and its `end`. With `run=` the
    rows of that run come too (`points`)."""
    services = services_of(request)
    known_study(study_id)
    _refuse_alone(query, query.run is None, "run")
    wanted = _wanted(query)
    check = check_of(study_id, str(query.run), wanted.kind)
    place = place_in(last_event_id, check) if last_event_id else None
    names = [study_id]
    if query.run is not None:
        names.append(run_id(study_id, query.run))
    found = await services.look(names)
    study = found[study_id][1]
    if not isinstance(study, Snapshot):
        raise NotFoundError(f"There is no study {study_id!r}.")
    run, start = None, Place()
    if query.run is not None:
        assert isinstance(study.record, StudyRecord)
        if query.run >= study.record.num_runs:
            there = f"The study has {study.record.num_runs:,} runs, none {query.run}."
            raise NotFoundError(there)
        of_run = found[names[1]][1]
        meta = of_run.histories[wanted.kind] if isinstance(of_run, Snapshot) else None
        wanted.check(meta)
        start = Place(rows=wanted.start(meta))
        whose: dict[str, str | int] = {"study_id": study_id, "run": query.run}
        run = names[1], Rows(services, names[1], whose, wanted)
        if meta is not None:
            await run[1].check(meta)
    place = place or start
    if place.is_end:
        return _over()
    follower = StudyFollower(services, study_id, run, place, check)
    return EventStream(services.hub, found, follower)


@router.get(
    "/events",
    operation_id="stream_events",
    response_class=Response,
    responses=_announced(
        {
            "status": ["Job", "Study"],
            "points": ["History"],
            "diagnosis": ["JobDiagnosis"],
            "run": ["Run"],
            "end": ["Job", "Study"],
            "reset": ["Reset"],
        }
    ),
)
async def all_events(
    request: Request,
    query: Annotated[EverythingQuery, Query()],
    last_event_id: LastEventId = None,
) -> Response:
    """Follow all jobs and studies: first the `status` of what has not ended and of what ended last;
    then each change of a status, each diagnosis, run and end. The jobs that `job=` names send
    their rows too.

    After an id that is too old comes one `reset`, and then the present state again.
    """
    services = services_of(request)
    jobs = list(dict.fromkeys(query.job))
    _refuse_alone(query, not jobs, "job")
    wanted = _wanted(query)
    check = check_of(*jobs, wanted.kind)
    place = log_place_in(last_event_id, check, len(jobs)) if last_event_id else None
    found = await services.look([LOG, *map(known_form, jobs)])
    starts = [
        wanted.start(_history(found[job_id][1], f"job: there is no job {job_id!r}.", wanted))
        for job_id in jobs
    ]
    if place is None:
        last = found[LOG][1]
        place = LogPlace(int(last) if isinstance(last, str) else 0, "", tuple(starts))
    histories = {job_id: Rows(services, job_id, {"job_id": job_id}, wanted) for job_id in jobs}
    for job_id, rows in histories.items():
        await rows.check(_history(found[job_id][1], "", wanted))
    follower = EverythingFollower(services, histories, place, check)
    return EventStream(services.hub, found, follower)


def _history(known: object, missing: str, wanted: RowsWanted) -> HistoryMeta:
    """Return the history that is wanted. Raises `NotFoundError` with the words of `missing`, and
    `InvalidInputError` for a series that it has not."""
    if not isinstance(known, Snapshot):
        raise NotFoundError(missing)
    meta = known.histories[wanted.kind]
    wanted.check(meta)
    return meta


def _wanted(query: RowsQuery) -> RowsWanted:
    is_latest = query.after == "latest"
    after = None if query.after is None or is_latest else int(query.after)
    return RowsWanted(query.kind, series_in(query.series), after, is_latest)


def _refuse_alone(query: RowsQuery, is_alone: bool, name: str) -> None:
    """Refuse a choice of rows where no rows come without the parameter `name`."""
    chosen = [each for each in RowsQuery.model_fields if each in query.model_fields_set]
    if is_alone and chosen:
        raise InvalidInputError(
            [
                FieldError(each, "conflict", f"{each}: chooses rows, which come with {name}= only.")
                for each in chosen
            ]
        )


def _over() -> Response:
    """Tell a client that comes again after the end that there is no more: an `EventSource` then
    stays away."""
    return Response(status_code=204, headers={"Cache-Control": "no-cache"})
