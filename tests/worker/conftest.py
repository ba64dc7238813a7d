"""The bench that most of these tests work at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.settings import Settings
from core.store.redis import RedisStore
from tests.worker.bench import Bench
from worker import heartbeat


@pytest.fixture
def bench(
    redis_url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    """Its workers and trainers have more time than it takes until they get a processor: a test that
    waits for the end of a lease or of a grace gives its worker a short one."""
    monkeypatch.setattr(heartbeat, "_LOOK_EVERY_S", 0.2)
    settings = Settings(
        redis_url=redis_url,
        namespace=namespace,
        artifacts=str(tmp_path),
        lease_s=20.0,
        reconcile_every_s=0.05,
        cancel_grace_s=10.0,
        shutdown_grace_s=10.0,
    )
    store = RedisStore(redis_url, namespace)
    bench = Bench(redis_url, settings, store, [])
    yield bench
    for worker in bench.workers:
        worker.stop()
    store.disconnect()
