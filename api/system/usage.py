"""Sums of what jobs and studies have used."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.http.encoding import to_json
from api.http.openapi import problems
from api.http.paging import fingerprint, page_body, page_of
from api.http.queries import UsageQuery
from api.services.dependencies import Json, Route, services_of
from api.system.schemas import UsagePage, UsageSums
from core.store.protocols.types import Used

router = APIRouter(tags=["service"], route_class=Route)

_LABEL: Final = "label:"


@router.get(
    "/v1/usage",
    operation_id="sum_usage",
    response_class=Json,
    responses={200: {"model": UsagePage}, **problems(503)},
)
async def usage(request: Request, query: Annotated[UsageQuery, Query()]) -> Response:
    """Add up what the jobs and studies that there are have used, by key (the default: work made
    without a key is the group `null`) or by the value of a label. What was deleted is not in it."""
    store = services_of(request).store
    label = query.by.removeprefix(_LABEL) if query.by.startswith(_LABEL) else None
    jobs = await store.usage(query.since, label)
    studies = await store.studies.usage(query.since, label)
    total = _sums(sum(jobs.values(), Used()), sum(studies.values(), Used()))
    items = [
        {"group": group, **_sums(jobs.get(group, Used()), studies.get(group, Used()))}
        for group in jobs.keys() | studies.keys()
    ]
    items.sort(key=_key, reverse=True)
    of = fingerprint("usage", query.by, query.since)
    page, next_cursor = page_of(items, _key, of, query.limit, query.after)
    body = {"by": query.by, "since": query.since, "total": total}
    return Json(to_json({**body, **page_body(page, next_cursor)}))


def _sums(jobs: Used, studies: Used) -> dict[str, Any]:
    both = jobs + studies
    return UsageSums.build(
        num_jobs=jobs.count,
        num_studies=studies.count,
        device_s=both.device_s,
        cpu_s=both.cpu_s,
        peak_memory_bytes=both.peak_memory_bytes or None,
        stored_bytes=both.stored_bytes,
    )


def _key(item: dict[str, Any]) -> str:
    """Order the groups: that without a value first, then by their names from z to a."""
    return "1" if item["group"] is None else f"0{item['group']}"
