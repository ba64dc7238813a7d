"""Many calls over one connection: their answers, and what becomes of it when the server fails."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest
import redis

from core.store.connection.pipeline import Line
from thalweg_service.embedded_redis import EmbeddedServer

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


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


async def test_answers_come_in_order_with_refusals_among_them(server: EmbeddedServer) -> None:
    line = Line(server.url, 5.0, {})
    wrong = packed("LPUSH", "count", "1")

    many = [INCREMENT, INCREMENT, wrong, INCREMENT]
    first, second, refused, third = await asyncio.gather(*(line.ask(each) for each in many))

    assert (first, second, third) == (1, 2, 3)
    assert isinstance(refused, redis.ResponseError)
    assert await line.ask(INCREMENT) == 4
    with redis.Redis.from_url(server.url) as admin:
        assert len(admin.client_list(_type="normal")) == 2  # the line's, and this one
    await line.close()


async def test_nobody_waits_for_the_answer_to_another(server: EmbeddedServer) -> None:
    """A thousand commands are sent before the first is answered."""
    line = Line(server.url, 5.0, {})
    await line.ask(PING)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        asking = [asyncio.ensure_future(line.ask(INCREMENT)) for _ in range(1_000)]
        await asyncio.wait(asking, timeout=0.05)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert await asyncio.gather(*asking) == list(range(1, 1_001))
    await line.close()


async def test_a_connection_that_opens_too_late_is_closed(server: EmbeddedServer) -> None:
    opened: list[Any] = []
    line = Line(server.url, 0.2, {})
    make = line._pool.make_connection

    def late() -> Any:
        connection = make()
        connect = connection.connect

        async def connect_late() -> None:
            await connect()
            opened.append(connection)
            await asyncio.Event().wait()

        connection.connect = connect_late
        return connection

    line._pool.make_connection = late
    with pytest.raises(TimeoutError):
        await line.ask(PING)
    assert [connection.is_connected for connection in opened] == [False]
    line._pool.make_connection = make
    assert await line.ask(PING) == b"PONG"
    await line.close()


async def test_what_is_asked_in_one_turn_is_sent_at_once(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line(server.url, 5.0, {})
    await line.ask(PING)
    assert line._talk is not None
    connection, sent = line._talk._connection, []
    send = connection.send_packed_command

    async def counting(commands: list[bytes]) -> None:
        sent.append(len(commands))
        await send(commands)

    monkeypatch.setattr(connection, "send_packed_command", counting)
    assert await asyncio.gather(*(line.ask(INCREMENT) for _ in range(8))) == list(range(1, 9))
    assert await line.ask(INCREMENT) == 9
    assert sent == [8, 1]
    await line.close()


async def test_what_is_not_sent_yet_when_it_closes_fails_and_is_not_sent(
    server: EmbeddedServer,
) -> None:
    line = Line(server.url, 5.0, {})
    assert await line.ask(INCREMENT) == 1
    talk = line._talk
    assert talk is not None
    asking = [asyncio.ensure_future(talk.ask(INCREMENT)) for _ in range(2)]
    ending = asyncio.ensure_future(line.close())  # before what was asked had its turn

    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(each) for each in found] == ["The connection is closed."] * 2
    await ending
    assert await line.ask(INCREMENT) == 2
    await line.close()


async def test_what_waits_to_be_sent_by_a_lost_connection_fails(server: EmbeddedServer) -> None:
    line = Line(server.url, 5.0, {})
    assert await line.ask(INCREMENT) == 1
    talk = line._talk
    assert talk is not None
    asking = [asyncio.ensure_future(talk.ask(INCREMENT)) for _ in range(2)]
    losing = asyncio.ensure_future(talk._connection.disconnect(nowait=True))

    found = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(each, redis.ConnectionError) for each in found)
    await losing
    assert not talk._connection.is_connected  # nor has it connected again
    assert await line.ask(INCREMENT) == 2
    await line.close()


async def test_a_connection_that_the_server_has_closed_is_made_again(
    server: EmbeddedServer,
) -> None:
    line = Line(server.url, 5.0, {})
    assert await line.ask(INCREMENT) == 1
    with redis.Redis.from_url(server.url) as admin:
        assert admin.client_kill_filter(_type="normal", skipme=True) == 1
    assert line._talk is not None
    assert await line._talk._connection._reader.read() == b""  # heard of it

    assert await line.ask(INCREMENT) == 2
    await line.close()


async def test_a_server_that_dies_fails_all_who_wait_and_is_found_again(
    server: EmbeddedServer,
) -> None:
    line = Line(server.url, 5.0, {})
    await line.ask(PING)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    asking = [asyncio.ensure_future(line.ask(INCREMENT)) for _ in range(10)]
    await asyncio.wait(asking, timeout=0.05)
    kill(server.pid)

    found = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(each, redis.ConnectionError) for each in found)
    with pytest.raises((redis.ConnectionError, OSError)):
        await line.ask(PING)
    server.start()

    assert set(await asyncio.gather(line.ask(PING), line.ask(PING))) == {b"PONG"}
    await line.close()


async def test_a_stuck_server_is_given_up_and_its_late_answers_are_nobodys(
    server: EmbeddedServer,
) -> None:
    line = Line(server.url, 5.0, {})
    assert await line.ask(INCREMENT) == 1
    assert line._talk is not None
    line._talk._timeout_s = 0.1
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        found = await asyncio.gather(
            line.ask(INCREMENT), line.ask(INCREMENT), return_exceptions=True
        )
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert [type(each) for each in found] == [TimeoutError, TimeoutError]

    assert await line.ask(PING) == b"PONG"
    await line.close()


async def test_whoever_stops_waiting_takes_no_answer_from_others(server: EmbeddedServer) -> None:
    line = Line(server.url, 5.0, {})
    await line.ask(PING)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        gone, there = (asyncio.ensure_future(line.ask(INCREMENT)) for _ in range(2))
        await asyncio.wait([gone, there], timeout=0.05)
        gone.cancel()
    finally:
        os.kill(server.pid, signal.SIGCONT)

    assert await there == 2
    assert await line.ask(INCREMENT) == 3
    with pytest.raises(asyncio.CancelledError):
        await gone
    await line.close()


async def test_closing_fails_those_who_wait(server: EmbeddedServer) -> None:
    line = Line(server.url, 5.0, {})
    await line.ask(PING)
    asking = asyncio.ensure_future(line.ask(packed("BLPOP", "never", "0")))
    await asyncio.wait([asking], timeout=0.05)
    await line.close()

    with pytest.raises(redis.ConnectionError, match="closed"):
        await asking
