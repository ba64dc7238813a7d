"""Composition root of the API: `uvicorn api.asgi:app`, or `python -m api`."""

import os
from typing import Final

from fastapi import FastAPI

from api.app import create_app
from api.services.disk import Reserve
from api.services.dispatch import CeleryDispatcher
from core.artifacts.build import open_artifacts
from core.settings import Settings
from core.store.redis import AsyncRedisStore
from core.tracing import tracing_of

ARTIFACTS_PATIENCE_S: Final = 4.0
"""Seconds for which an object store that is away is tried again: a caller waits, and gets a 503
soon."""


def build(settings: Settings) -> FastAPI:
    """Build the application on its real parts. Nothing connects before it is served.

    Raises `ArtifactError` for an object store that must not be used.
    """
    store = AsyncRedisStore(
        settings.redis_url,
        settings.namespace,
        max_queued=settings.max_queued_jobs,
        is_low=Reserve(settings.store_folder, settings.reserve_bytes).is_low,
    )
    artifacts = open_artifacts(settings.artifacts_location, patience_s=ARTIFACTS_PATIENCE_S)
    return create_app(
        settings,
        store,
        CeleryDispatcher(settings),
        artifacts,
        tracing=tracing_of("api", os.environ),
    )


app = build(Settings())
