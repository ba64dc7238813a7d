"""The API in a process of its own, whose workers are the tests."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import httpx2
import numpy as np
import pytest
from starlette.testclient import TestClient

from core.settings import Settings
from core.store.redis import RedisStore
from tests.api.actors import Api, CountingDispatcher, Worker
from tests.api.events.reader import Event, Stream
from tests.api.test_server import Process, process

Start = Callable[..., "Live"]


@dataclass
class Live(Api):
    """A running API, reached over HTTP."""

    process: Process

    def stream(self, path: str, last_id: str = "") -> Stream:
        return Stream(self.process.port, path, last_id)

    def events(self, path: str, last_id: str = "") -> list[Event]:
        """All events of a stream that comes to its end."""
        with self.stream(path, last_id) as stream:
            assert stream.status == 200
            found = list(stream.events())
            assert stream.is_whole
        return found

    def rows(self, claim: Any, first: int, count: int, shift: float = 0.0) -> None:
        """Write rows of a Rosenbrock job: the loss is the step, and `shift`."""
        steps = np.arange(first, first + count, dtype=float)
        layout = claim.layouts["train"]
        columns = {
            name: np.zeros((count, 2)) if name == "x" else steps + shift for name in layout.widths
        }
        self.worker.store.append_rows(claim, "train", first, {"step": steps, **columns})


@contextlib.contextmanager
def running(redis_url: str, namespace: str, folder: Path, **changes: str) -> Iterator[Live]:
    settings = Settings(redis_url=redis_url, namespace=namespace, artifacts=str(folder))
    store = RedisStore(redis_url, namespace)
    with contextlib.ExitStack() as stack:
        api = stack.enter_context(process(redis_url, namespace, folder, **changes))
        http = stack.enter_context(httpx2.Client(base_url=api.address, timeout=30))
        worker = Worker(store, folder)
        yield Live(cast(TestClient, http), worker, CountingDispatcher(), settings, api)
    store.disconnect()


@pytest.fixture(scope="module")
def live(redis_url: str) -> Iterator[Live]:
    """One for all tests of a file."""
    folder = Path(tempfile.mkdtemp(prefix="thw-live-"))
    with running(redis_url, f"test-{uuid4().hex[:12]}", folder) as api:
        yield api
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def start(redis_url: str, namespace: str, tmp_path: Path) -> Iterator[Start]:
    """Starts an API, with settings, on the same store each time."""
    with contextlib.ExitStack() as stack:
        yield lambda **changes: stack.enter_context(
            running(redis_url, namespace, tmp_path, **changes)
        )
