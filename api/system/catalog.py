"""The catalogue of what a spec may choose from: every kind, its fields with their defaults, and its
source."""

from functools import cache

from fastapi import APIRouter
from starlette.responses import Response

from api.http.encoding import to_json
from api.http.openapi import problems
from api.services.dependencies import Json, Route
from api.system.schemas import Counts, Entries
from core.errors import NotFoundError

router = APIRouter(prefix="/v1/catalog", tags=["catalog"], route_class=Route)


@router.get("", response_class=Json, responses={200: {"model": Counts}, **problems()})
async def counts() -> Response:
    """Return how many kinds each family has."""
    return Json(_counts())


@router.get("/{family}", response_class=Json, responses={200: {"model": Entries}, **problems(404)})
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
