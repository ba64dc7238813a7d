"""Values of functions at given points or on a grid, as a contour needs them."""

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.http.encoding import numbers, to_json
from api.http.openapi import problems, request_body
from api.services.dependencies import Json, Route, json_body
from api.system.schemas import FunctionValues
from core.specs.parsing.points import parse_function_points, places_of, values_at

router = APIRouter(prefix="/v1/functions", tags=["catalog"], route_class=Route)


@router.post(
    "/values",
    operation_id="compute_function_values",
    response_class=Json,
    responses={200: {"model": FunctionValues}, **problems(413, 415)},
    openapi_extra=request_body("FunctionPoints"),
)
async def function_values(request: Request) -> Response:
    """Compute a function at up to 40,000 points, given or on a grid, in float64, by the formula
    that pictures and the diagnosis use. Nothing is created; values that are not finite are words.
    """
    body = await json_body(request)
    return Json(await asyncio.to_thread(_values, body))  # few bytes may take long


def _values(body: bytes) -> bytes:
    asked = parse_function_points(body)
    grid = None if asked.grid is None else places_of(asked.grid)
    return to_json(FunctionValues.build(values=numbers(values_at(asked)), grid=grid))
