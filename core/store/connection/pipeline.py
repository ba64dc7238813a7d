"""A connection to Redis that many share who ask at once."""

import asyncio
import math
from collections import deque
from typing import Any, Final

import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from core.environment.redis_address import async_pool

_LATE: Final = 0.1
"""The share of a time-out by which it may come late: so not each answer sets its timer anew."""


class Line:
    """A connection on which commands go out as they are asked, and answers come back in their
    order.

    So nobody waits for another's answer before the own command is sent, and a server that syncs
    each write to its disk takes all that has come meanwhile together, as one write. A client of
    redis-py takes a connection of the pool for each command, or makes several wait for one another
    in a pipeline. Commands that are asked in one turn of the event loop leave together.
    """

    def __init__(self, url: str, timeout_s: float, options: dict[str, Any]) -> None:
        # One timer for all commands under way takes the place of redis-py's timeouts.
        plain = options | {"socket_timeout": None, "retry": Retry(NoBackoff(), 0)}
        self._pool: Any = async_pool(url, **plain)
        self._timeout_s = timeout_s
        self._opening = asyncio.Lock()
        self._talk: _Talk | None = None

    async def ask(self, command: bytes) -> Any:
        """Send a packed command and return its answer; a refusal of the server is returned, not
        raised.

        Connects when need be. Raises `redis.ConnectionError`, `TimeoutError` or `OSError`; the
        next call connects again.
        """
        talk = self._talk
        if talk is None or not talk.going:
            talk = await self._open()
        return await talk.ask(command)

    async def _open(self) -> "_Talk":
        async with self._opening:
            talk = self._talk
            if talk is None or not (talk.going or await talk.can_go_on()):
                await self.close()
                connection = self._pool.make_connection()
                try:
                    async with asyncio.timeout(self._timeout_s):
                        await connection.connect()
                except BaseException:  # it may be half open: a server that does not answer
                    await connection.disconnect(nowait=True)
                    raise
                talk = self._talk = _Talk(connection, self._timeout_s)
            return talk

    async def close(self) -> None:
        """Close the connection; a later call connects again."""
        talk, self._talk = self._talk, None
        if talk is not None:
            await talk.end()


class _Talk:
    """The exchange over one connection, from its opening to its end or first failure."""

    def __init__(self, connection: Any, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._asked: deque[asyncio.Future[Any]] = deque()
        self._unsent: list[bytes] = []
        self._sending: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._over = False

    @property
    def going(self) -> bool:
        """True when answers are being waited for: then the connection need not be looked at."""
        return self._listening is not None and not self._over

    async def can_go_on(self) -> bool:
        """Tell whether an exchange that is not going has not failed, and the server left it
        open."""
        connection = self._connection
        return not self._over and connection.is_connected and not await connection.can_read()

    async def ask(self, command: bytes) -> Any:
        self._check()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        self._unsent.append(command)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        return await answer

    def _check(self) -> None:
        if self._over or not self._connection.is_connected:
            raise redis.ConnectionError("The connection is lost.")

    async def _send(self) -> None:
        """Send what has been asked; or fail all who wait."""
        try:
            while self._unsent:
                self._check()  # to send by a lost connection would connect again
                commands, self._unsent = self._unsent, []
                await self._connection.send_packed_command(commands)
        except Exception as error:
            self._fail(error)
        finally:
            self._sending = None

    async def _listen(self) -> None:
        """Give each asker its answer, or all of them the failure."""
        failure: Exception = redis.ConnectionError("The connection is closed.")
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(self._timeout_s) as patience:
                while self._asked:
                    found = await self._answer()
                    answer = self._asked.popleft()
                    if not answer.done():
                        answer.set_result(found)
                    if (until := clock() + self._timeout_s) > (patience.when() or 0.0):
                        patience.reschedule(until + _LATE * self._timeout_s)
        except Exception as error:
            failure = error
        finally:
            self._listening = None
            if self._asked:
                self._fail(failure)
                await self._connection.disconnect(nowait=True)

    async def _answer(self) -> Any:
        try:
            return await self._connection.read_response(timeout=math.inf)
        except redis.ResponseError as error:
            return error

    def _fail(self, failure: Exception) -> None:
        self._over = True
        for answer in self._asked:
            if not answer.done():
                answer.set_exception(failure)
        self._asked.clear()
        self._unsent.clear()

    async def end(self) -> None:
        under_way = [task for task in (self._sending, self._listening) if task is not None]
        for task in under_way:
            task.cancel()
        if under_way:
            await asyncio.wait(under_way)
        self._fail(redis.ConnectionError("The connection is closed."))  # of a task not begun
        await self._connection.disconnect()
