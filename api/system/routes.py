"""Calls about the service itself: is it alive, ready, which version, who works for it."""

import asyncio
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from api.http.encoding import to_json
from api.http.errors import NotReadyError
from api.http.openapi import problems
from api.http.paging import fingerprint, page_body, page_of
from api.http.queries import PageQuery
from api.services.dependencies import Json, Route, services_of
from api.system.schemas import Alive, Ready, Version, WorkerPage
from api.system.views import worker_json
from core.artifacts.base import ArtifactStore
from core.errors import THE_STORE, ArtifactError, StoreUnavailableError
from core.store.protocols.api import ApiStore
from core.store.protocols.types import ServiceState, WorkerInfo

router = APIRouter(tags=["service"], route_class=Route)

CHECK_TIMEOUT_S = 2.0


@router.get(
    "/livez",
    operation_id="check_alive",
    response_class=Json,
    responses={200: {"model": Alive}, **problems()},
)
async def livez() -> Response:
    """Answer that this process lives. It looks at nothing else."""
    return Json(b'{"status":"ok"}')


@router.get(
    "/readyz",
    operation_id="check_ready",
    response_class=Json,
    responses={200: {"model": Ready}, **problems(503)},
)
async def readyz(request: Request) -> Response:
    """Check that Redis answers and that the artifact store can be used; 503 names the part that
    fails. Without workers the service is ready all the same: jobs are accepted, and wait."""
    services = services_of(request)
    redis, artifacts = await asyncio.gather(_redis(services.store), _artifacts(services.artifacts))
    checks = {"redis": redis if isinstance(redis, str) else "ok", "artifacts": artifacts}
    if isinstance(redis, str) or artifacts != "ok":
        raise NotReadyError(checks)
    return Json(to_json(Ready.build(status="ok", checks=checks, workers=redis)))


async def _redis(store: ApiStore) -> str | int:
    """Count the workers that are alive; in words what is wrong, where Redis cannot tell."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await store.check_writes()
            return len(await store.workers())
    except TimeoutError:
        return f"did not answer within {CHECK_TIMEOUT_S:g} s"
    except StoreUnavailableError as error:
        return str(error).removeprefix(f"{THE_STORE} ").removesuffix(".")


async def _artifacts(artifacts: ArtifactStore) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await asyncio.to_thread(artifacts.check)
    except TimeoutError:
        return f"did not answer within {CHECK_TIMEOUT_S:g} s"
    except ArtifactError as error:
        return str(error)
    return "ok"


@router.get(
    "/metrics",
    operation_id="read_metrics",
    response_class=PlainTextResponse,
    responses={
        200: {
            "description": "Metrics in the text format of Prometheus.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **problems(),
    },
)
async def metrics(request: Request) -> Response:
    """Return metrics for Prometheus: of the whole service, from its records, and of this process.

    While the store is away `thalweg_store_up` is 0, and what only the store knows is missing."""
    from api.system.metrics import CONTENT_TYPE, exposition  # its library is for this call alone

    services = services_of(request)
    text = exposition(services.counts, await _state(services.store))
    return Response(text, media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})


async def _state(store: ApiStore) -> ServiceState | None:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            totals, workers, memory = await asyncio.gather(
                store.totals(), store.workers(), store.memory()
            )
    except (TimeoutError, StoreUnavailableError):
        return None
    return ServiceState(totals, workers, memory)


@router.get(
    "/version",
    operation_id="get_version",
    response_class=Json,
    responses={200: {"model": Version}, **problems()},
)
async def read_version() -> Response:
    """Return the versions of what runs here."""
    return Json(
        to_json(Version.build(name="thalweg", version=version("thalweg-service"), api="v1"))
    )


@router.get(
    "/v1/workers",
    operation_id="list_workers",
    response_class=Json,
    responses={200: {"model": WorkerPage}, **problems(503)},
)
async def workers(request: Request, query: Annotated[PageQuery, Query()]) -> Response:
    """List the workers that have reported lately, the newest first."""
    known = await services_of(request).store.workers()
    items = sorted(known, key=_worker_key, reverse=True)
    page, next_cursor = page_of(
        items, _worker_key, fingerprint("workers"), query.limit, query.after
    )
    return Json(to_json(page_body([worker_json(worker) for worker in page], next_cursor)))


def _worker_key(worker: WorkerInfo) -> str:
    return f"{worker.started_at} {worker.name}"
