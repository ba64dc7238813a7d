"""The catalogue of what a spec may choose from: every kind, its fields with their defaults, and its
source."""

import asyncio
from functools import cache
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.http.encoding import to_json
from api.http.errors import unknown_parameter
from api.http.openapi import problems
from api.http.queries import PreviewQuery
from api.services.dependencies import Json, Route
from api.system.schemas import Counts, Entries, Preview
from core.errors import FieldError, InvalidInputError, NotFoundError
from core.specs.base import Json as JsonObject
from core.specs.parsing.job import parse_job
from core.specs.unions import members
from core.specs.validation.limits import Limits

router = APIRouter(prefix="/v1/catalog", tags=["catalog"], route_class=Route)

_SCHEDULE: Final = "schedule"


@router.get(
    "",
    operation_id="count_catalog",
    response_class=Json,
    responses={200: {"model": Counts}, **problems()},
)
async def counts() -> Response:
    """Return how many kinds each family has."""
    return Json(_counts())


@router.get(
    "/{family}",
    operation_id="list_catalog",
    response_class=Json,
    responses={200: {"model": Entries}, **problems(404)},
)
async def entries(family: str) -> Response:
    """List the kinds of a family: `optimizers`, `schedules`, `models`, …"""
    from core.specs import catalog

    if family not in catalog.FAMILIES:
        known = ", ".join(catalog.FAMILIES)
        raise NotFoundError(f"The catalogue has no such family; it has: {known}.")
    return Json(_entries(family))


@cache
def _counts() -> bytes:
    """Write the catalogue's counts, once per process, since the catalogue is part of the
    program."""
    from core.specs import catalog

    return to_json({family: len(catalog.entries(family)) for family in catalog.FAMILIES})


@cache
def _entries(family: str) -> bytes:
    from core.specs import catalog

    return to_json({"data": catalog.entries(family)})


@router.get(
    "/schedules/{kind}/preview",
    operation_id="preview_schedule",
    response_class=Json,
    responses={200: {"model": Preview}, **problems(404)},
)
async def preview(request: Request, kind: str, query: Annotated[PreviewQuery, Query()]) -> Response:
    """Compute the curve of a schedule: the learning rate of each update.

    Beside `lr`, `max_steps` and `lr_scale` the query takes the schedule's own fields, such as
    `step_size=10&gamma=0.5`; lists with commas between, schedules within schedules as JSON. A field
    that is left out has its default; one without a default has the value of the catalogue's
    example. `reduce_on_plateau` is shown for a loss that always falls.
    """
    if kind not in members(_SCHEDULE):
        raise NotFoundError(f"There is no such schedule; there are: {_listed_kinds()}.")
    fields = _fields(request, kind)
    return Json(await asyncio.to_thread(_preview, kind, fields, query))


def _listed_kinds() -> str:
    return ", ".join(members(_SCHEDULE))


def _fields(request: Request, kind: str) -> dict[str, str]:
    """Return the schedule's own fields as the query has them. Raises `InvalidInputError`."""
    known = [name for name in members(_SCHEDULE)[kind].model_fields if name != "kind"]
    given: dict[str, str] = {}
    mistakes = []
    for name, text in request.query_params.multi_items():
        if name in PreviewQuery.model_fields:
            continue
        if name not in known:
            mistakes.append(unknown_parameter(name, [*PreviewQuery.model_fields, *known]))
        elif name in given:
            message = f"{name}: is given more than once; give it once, lists with commas between."
            mistakes.append(FieldError(name, "repeated", message))
        given[name] = text
    if mistakes:
        raise InvalidInputError(mistakes[:100])
    return given


def _preview(kind: str, fields: dict[str, str], query: PreviewQuery) -> bytes:
    """Compute the reply, by the rules and in the words of a job with this schedule."""
    from core.specs.examples import choice, minimal_example
    from core.specs.formulas.schedules import rates

    lr, max_steps = query.lr, query.max_steps
    properties = members(_SCHEDULE)[kind].model_json_schema(ref_template="{model}")
    lists = _lists_in(properties, kind)
    values = {name: _value(text, name in lists) for name, text in fields.items()}
    body = {
        **minimal_example("functions", "sphere"),
        "optimizer": {"kind": "sgd", "lr": lr},
        _SCHEDULE: {**choice("schedules", kind), **values},
        "budget": {"max_steps": max_steps},
    }
    try:
        schedule = parse_job(orjson.dumps(body), Limits()).schedule
    except InvalidInputError as error:
        raise InvalidInputError([_of_query(each) for each in error.errors]) from None
    curve = [rate * query.lr_scale for rate in rates(schedule, lr, max_steps)]
    series = {"step": list(range(max_steps)), "lr": curve}
    shown = schedule.model_dump(mode="json")
    return to_json(Preview.build(kind=kind, schedule=shown, lr=lr, series=series))


def _lists_in(schema: JsonObject, kind: str) -> set[str]:
    """Return the names of the fields that are lists."""
    own = schema if "properties" in schema else schema["$defs"][members(_SCHEDULE)[kind].__name__]
    return {name for name, field in own["properties"].items() if field.get("type") == "array"}


def _value(text: str, is_list: bool) -> Any:
    """Read a field in the query: JSON where it is some, else a word."""
    for written in (text, f"[{text}]") if is_list else (text,):
        try:
            found = orjson.loads(written)
        except orjson.JSONDecodeError:
            continue
        return [found] if is_list and not isinstance(found, list) else found
    return text


def _of_query(error: FieldError) -> FieldError:
    """Name a parameter of the query, where the error names a field of a job."""
    own = f"{_SCHEDULE}."
    return FieldError(error.param.removeprefix(own), error.code, error.message.replace(own, ""))
