"""The few fixtures that many rooms share."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from tests.object_server import ObjectServer
from thalweg_service.embedded_redis import EmbeddedServer


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """What `pytest.mark.anyio` runs async tests and fixtures on."""
    return "asyncio"


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedServer]:
    """A real server for the whole session, without fsync. Never stop it: others use it."""
    # Not pytest's own temp folder: a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="thw-"))
    try:
        with EmbeddedServer(folder, fsync=False) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_url(redis_server: EmbeddedServer) -> str:
    """Its address, for redis-py (`unix://…`)."""
    return redis_server.url


@pytest.fixture
def namespace(redis_url: str) -> Iterator[str]:
    """A prefix of keys that no other test has; its keys are removed afterwards."""
    name = f"test-{uuid4().hex[:12]}"
    yield name
    with redis.Redis.from_url(redis_url) as client:
        for keys in _batches(client, f"{name}:*"):
            client.unlink(*keys)


@pytest.fixture(scope="session")
def object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """An object store for the whole session. Never stop it: others use it."""
    with ObjectServer(tmp_path_factory.mktemp("objects") / "buckets") as server:
        yield server


def _batches(client: redis.Redis, pattern: str) -> Iterator[list[bytes]]:
    keys: list[bytes] = []
    for key in client.scan_iter(pattern, count=1000):
        keys.append(key)
        if len(keys) == 500:
            yield keys
            keys = []
    if keys:
        yield keys
