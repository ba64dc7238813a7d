"""The few fixtures that many rooms share, and how the tests are dealt to several processes."""

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling
from xdist.workermanage import WorkerController

from tests.object_server import ObjectServer
from thalweg_service.embedded_redis import EmbeddedServer

# Before NumPy and torch read it: a pool of threads per process would only wait for the other's.
# Training's own threads follow from the spec.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples each time; how long one takes depends on what else has the cores.
settings.register_profile("suite", deadline=None, derandomize=True, database=None)
settings.load_profile("suite")

# What is made while tests are collected stays: looking through it for garbage, again and again,
# took a third of the collection.
gc.disable()

WHOLE_SERVICES = ("tests/client/", "tests/e2e/", "tests/faults/", "tests/thalweg_service/")
"""Their tests start services of several processes: one after another, so that they do not take the
cores from each other, and beside tests that fill the time in which they wait."""


class OneFileOneProcess(LoadScopeScheduling):  # type: ignore[misc]
    """Deal whole files to the processes of `pytest -n`: those of whole services to the first, the
    rest to the others. Who has nothing left of its own takes what is left of the others'."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        wants_services = node is self.nodes[0]
        for file in self.workqueue:
            if file.startswith(WHOLE_SERVICES) == wants_services:
                self.workqueue.move_to_end(file, last=False)
                break
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneFileOneProcess:
    return OneFileOneProcess(config, log)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


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
