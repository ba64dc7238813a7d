"""Many calls over one connection: their answers, and what becomes of it when the server fails."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hiredis
import pytest
import redis

from core.store.line import Line
from thalweg.embedded import EmbeddedServer

pytestmark = pytest.mark.anyio


def packed(*words: str) -> bytes:
    command: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]
    return command


INCREMENT = packed("INCR", "count")
PING = packed("PING")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """One of the test's own, to be stopped and cut off."""
    with EmbeddedServer(tmp_path, fsync=False) as started:
        yield started


async def test_answers_come_in_order_with_refusals_among_them(server: EmbeddedServer) -> None:
    line = Line(server.url, 5.0, {})
    wrong = packed("LPUSH", "count", "1")

    first, refused, second = await line.ask([INCREMENT, wrong, INCREMENT])

    assert (first, second) == (1, 2)
    assert isinstance(refused, redis.ResponseError)
    assert await line.ask([INCREMENT]) == [3]
    await line.close()


async def test_a_connection_that_the_server_has_closed_is_made_again(
    server: EmbeddedServer,
) -> None:
    line = Line(server.url, 5.0, {})
    assert await line.ask([INCREMENT]) == [1]
    with redis.Redis.from_url(server.url) as admin:
        assert admin.client_kill_filter(_type="normal", skipme=True) == 1
    assert await line._connection._reader.read() == b""  # heard of it

    assert await line.ask([INCREMENT]) == [2]
    await line.close()


async def test_a_stuck_server_is_given_up_and_its_late_answer_is_nobodys(
    server: EmbeddedServer,
) -> None:
    line = Line(server.url, 0.1, {})
    assert await line.ask([INCREMENT]) == [1]
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError):
            await line.ask([INCREMENT])
    finally:
        os.kill(server.pid, signal.SIGCONT)

    line._timeout_s = 5.0
    assert await line.ask([PING]) == [b"PONG"]
    await line.close()


async def test_whoever_stops_waiting_leaves_a_line_that_answers_the_next(
    server: EmbeddedServer,
) -> None:
    line = Line(server.url, 5.0, {})
    await line.ask([PING])
    asking = asyncio.ensure_future(line.ask([packed("BLPOP", "never", "0")]))
    while not blocked(server):
        await asyncio.wait([asking], timeout=0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    assert await line.ask([INCREMENT]) == [1]
    await line.close()


def blocked(server: EmbeddedServer) -> int:
    with redis.Redis.from_url(server.url) as admin:
        return int(admin.info("clients")["blocked_clients"])
