"""The bench that most of these tests work at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.settings import Settings
from core.store.redis import RedisStore
from tests.worker.bench import Bench


@pytest.fixture
def bench(redis_url: str, namespace: str, tmp_path: Path) -> Iterator[Bench]:
    settings = Settings(
        redis_url=redis_url,
        namespace=namespace,
        artifacts=str(tmp_path),
        lease_s=0.6,
        reconcile_every_s=0.05,
        cancel_grace_s=0.3,
        shutdown_grace_s=1.3,
    )
    store = RedisStore(redis_url, namespace)
    bench = Bench(redis_url, settings, store, [])
    yield bench
    for worker in bench.workers:
        worker.stop()
    store.disconnect()
