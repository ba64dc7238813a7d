"""The broker's options, as kombu understands them."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery

from core.broker import QUEUE, TASK, celery_config
from core.settings import Settings
from thalweg_service.embedded_redis import EmbeddedServer


@pytest.fixture
def odd_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="thw-a b%25c-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_a_message_goes_to_the_queue_below_the_namespace(odd_folder: Path) -> None:
    with EmbeddedServer(odd_folder, fsync=False) as server:
        settings = Settings(redis_url=f"{server.url}?db=3", namespace="ours")
        app = Celery("test", set_as_current=False)
        app.config_from_object(celery_config(settings))
        with app.connection_for_write() as connection:
            app.send_task(TASK, queue=QUEUE, ignore_result=True, connection=connection)
        app.close()
        with redis.Redis.from_url(settings.redis_url) as client:
            assert client.llen(f"ours:celery:{QUEUE}") == 1
            assert not client.exists(QUEUE)
