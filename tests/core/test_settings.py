"""Settings: what may be said of them aloud."""

import pytest

from core.settings import Settings


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://user:p@ss/word@10.0.0.1:6379/0", "redis://10.0.0.1:6379/0"),
        ("rediss://:secret@cache:6380/1", "rediss://cache:6380/1"),
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_the_address_of_redis_is_said_without_its_password(url: str, address: str) -> None:
    assert Settings(redis_url=url).redis_address == address
