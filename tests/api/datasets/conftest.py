"""The application with pretended checks."""

from collections.abc import Iterator

import pytest
import redis

from core.settings import Settings
from tests.api.datasets.actors import DataApi, running


@pytest.fixture
def data(settings: Settings) -> Iterator[DataApi]:
    with running(settings) as api:
        yield api


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    """A plain client, to look behind the stores."""
    with redis.Redis.from_url(redis_url) as client:
        yield client
