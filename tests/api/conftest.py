"""The application in this process, on a real server; its workers are the tests themselves."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api.http import openapi
from api.http.encoding import to_json
from core.settings import Settings
from core.store.redis import RedisStore
from tests.api.actors import Api, CountingDispatcher, Json, Worker, make_app


@pytest.fixture
def settings(redis_url: str, namespace: str, tmp_path: Path) -> Settings:
    artifacts = str(tmp_path / "artifacts")
    return Settings(redis_url=redis_url, namespace=namespace, artifacts=artifacts)


@pytest.fixture(scope="session")
def document(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """The OpenAPI document, which takes a second to make and is the same for every application."""
    settings = Settings(artifacts=str(tmp_path_factory.mktemp("artifacts")))
    made: Json = json.loads(to_json(openapi.document(make_app(settings))))
    return made


@pytest.fixture
def api(settings: Settings) -> Iterator[Api]:
    worker_store = RedisStore(settings.redis_url, settings.namespace)
    worker = Worker(worker_store, Path(settings.artifacts_location))
    dispatcher = CountingDispatcher()
    app = make_app(settings, dispatcher)
    with TestClient(app, "http://localhost", raise_server_exceptions=False) as http:
        yield Api(http, worker, dispatcher, settings)
    worker_store.disconnect()
