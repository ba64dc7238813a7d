"""One connection to Redis for what many ask at once."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


class Line:
    """Commands that are packed already go out together, and their answers come in one by one.

    A pipeline of redis-py takes a connection from a pool and gives it back, writes in a task of
    its own and sets a timer for each answer: several times the work.
    """

    def __init__(self, url: str, timeout_s: float, options: dict[str, Any]) -> None:
        # One timer for the whole exchange takes the place of redis-py's.
        plain = options | {"socket_timeout": None, "retry": Retry(NoBackoff(), 0)}
        pool: Any = redis.asyncio.ConnectionPool.from_url(url, **plain)
        self._connection = pool.make_connection()
        self._timeout_s = timeout_s

    async def ask(self, commands: Sequence[bytes]) -> list[Any]:
        """The answers in order, the server's refusals among them as errors.

        Connects when need be. Raises `redis.ConnectionError`, `TimeoutError` or `OSError`; the
        next call connects again.
        """
        connection = self._connection
        async with asyncio.timeout(self._timeout_s):
            if connection.is_connected and await connection.can_read():
                await connection.disconnect()  # the server has closed it meanwhile
            await connection.send_packed_command(commands)
            return [await self._answer() for _ in commands]

    async def _answer(self) -> Any:
        try:
            return await self._connection.read_response(timeout=math.inf)
        except redis.ResponseError as error:
            return error

    async def close(self) -> None:
        """A later call connects again."""
        await self._connection.disconnect()
