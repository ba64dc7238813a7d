"""Pure wiring: settings and parts → the application."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI

from api.background import ended
from api.datasets import routes as datasets
from api.events import routes as events
from api.history import routes as history
from api.http import errors
from api.http.compression import Compression
from api.http.log import note
from api.http.middleware import Middleware
from api.jobs import comparison, continuation, diagnosis, results
from api.jobs import routes as jobs
from api.keys.gate import Gate
from api.page import routes as page
from api.predictions import routes as predictions
from api.services.dependencies import Services
from api.services.dispatch import Dispatcher
from api.services.hub import EventHub
from api.services.uploads import StartCheck, Uploads
from api.services.waiting import EndFeed
from api.studies import extension as study_extension
from api.studies import results as study_results
from api.studies import routes as studies
from api.studies import runs as study_runs
from api.system import catalog, docs, functions, usage
from api.system import routes as system
from api.webhooks import routes as webhooks
from core.artifacts.base import ArtifactStore
from core.errors import StoreUnavailableError, UnusableStoreError
from core.settings import Settings
from core.specs.job import JobSpec, PostedJob
from core.specs.study import PostedStudy, StudySpec
from core.specs.validation.limits import Limits
from core.store.protocols.api import ApiStore
from core.tracing import Tracing
from core.uploads.check import start_check

_ABOUT: Final = """Optimization jobs: submit a problem and an optimizer, follow the descent, take
the result. Studies: many descents as one, and what they say about each other. Errors are
`application/problem+json`. Numbers that are not finite are the strings `"NaN"`, `"Infinity"` and
`"-Infinity"`."""

OPEN_EVERY_S: Final = 1.0
_ROOMS: Final = (
    jobs, continuation, history, results, comparison, diagnosis, studies, study_extension,
    study_runs, study_results, predictions, datasets, events, webhooks, catalog, functions, system,
    usage, docs, page,
)  # fmt: skip
"""Modules with the routes, in the order in which paths are looked up."""


def create_app(
    settings: Settings,
    store: ApiStore,
    dispatcher: Dispatcher,
    artifacts: ArtifactStore,
    *,
    poll_s: float = 2.0,
    tracing: Tracing | None = None,
    check: StartCheck = start_check,
) -> FastAPI:
    """Create the application. `poll_s`: see `EndFeed`; `tracing` is closed with it; `check`: see
    `Uploads`."""
    for spec in (JobSpec, PostedJob, StudySpec, PostedStudy):
        spec.model_rebuild()  # its validator: now, and not with the first request
    services = Services(
        settings,
        store,
        artifacts,
        dispatcher,
        EndFeed(store, poll_s),
        EventHub.of(settings, store.events),
        Uploads(store.datasets, artifacts, settings, check),
        Limits.of(settings),
    )
    app = FastAPI(
        title="Thalweg",
        version=version("thalweg-service"),
        description=_ABOUT,
        # The routes are added flat: FastAPI's included routers match every request twice.
        routes=[route for room in _ROOMS for route in room.router.routes],
        openapi_url=None,
        redirect_slashes=False,
        # Nobody receives telemetry, and three looks at the environment for it a request take time.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=lifespan,
    )
    app.state.gate = Gate(store.keys, artifacts, settings)
    app.state.services = services
    app.state.refusal = None
    app.state.tracing = tracing
    app.state.models = events.MODELS  # that no reply has by itself
    app.state.documentation = docs.Documentation(app, settings.root_path)
    _wrap(app, services, tracing)
    errors.install(app)
    return app


def _wrap(app: FastAPI, services: Services, tracing: Tracing | None) -> None:
    """Put around the routes what every request goes through."""
    settings = services.settings
    app.add_middleware(Compression)
    app.add_middleware(
        Middleware,
        max_body_bytes=settings.max_body_bytes,
        max_upload_bytes=settings.max_upload_bytes,
        trusted_hosts=[*settings.trusted_hosts.split(","), *_own_names(settings.host)],
        cors_origins=[each.strip() for each in settings.cors_origins.split(",") if each.strip()],
        root_path=settings.root_path,
        counts=services.counts,
        tracing=tracing,
        gate=app.state.gate,
    )


def _own_names(host: str) -> list[str]:
    """List the names of this service. The address that it listens on names it too, unless that is
    every address."""
    return [] if host in {"0.0.0.0", "::", ""} else [host]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep the background parts alive as long as the application."""
    services: Services = app.state.services
    services.feed.start()
    services.hub.start()
    services.dispatcher.start()
    services.uploads.start()
    opening: asyncio.Task[None] | None = None
    try:
        await services.store.open()
    except StoreUnavailableError as error:
        note(logging.WARNING, "Redis is away; calls get 503 until it is back", error=str(error))
        opening = asyncio.create_task(_open_later(app), name="open-store")
    try:
        yield
    finally:
        await ended(opening)
        services.dispatcher.stop()
        await app.state.gate.stop()
        await services.hub.stop()
        await services.uploads.stop()
        await services.feed.stop()
        await services.store.aclose()
        if app.state.tracing is not None:
            await asyncio.to_thread(app.state.tracing.close)


async def _open_later(app: FastAPI) -> None:
    """Open a store that was away at the start, once it is there; end the process where this version
    must not use it (`app.state.refusal` then says why)."""
    while True:
        await asyncio.sleep(OPEN_EVERY_S)
        try:
            await app.state.services.store.open()
        except StoreUnavailableError:
            continue
        except UnusableStoreError as error:
            app.state.refusal = str(error)
            os.kill(os.getpid(), signal.SIGTERM)
        return
