"""The workers of one machine under one supervisor: started again one after another when they die,
and their deaths are told to the store, so that what they held need not wait for its lease."""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Final

import redis

from core.environment import redis_address
from core.settings import Settings
from thalweg_service.child_process import Part

APART_S: Final = 3.0
"""Seconds between the starts of two workers that died together: the first one has the cores for
what it imports, and takes up the work, instead of all of them late."""
_SAY_AGAIN_S: Final = 20.0
"""A worker that died not longer ago is reported again to the next one that is started."""
_REPORT_WITHIN_S: Final = 0.5
_MOST_REPORTS: Final = 1_000


class Crew:
    """Tends the workers.

    Args:
        redis_url: tells the address of the store.
        apart_s: seconds between the starts of two that died together.
    """

    def __init__(self, redis_url: Callable[[], str], *, apart_s: float = APART_S) -> None:
        self.workers: list[Part] = []
        self._redis_url = redis_url
        self._apart_s = apart_s
        self._next_at = 0.0
        self._lost: dict[str, float] = {}

    def tend(self, part: Part) -> str | None:
        """Look after one of them as `Part.tend` does; returns what to tell."""
        deaths, life, now = part.deaths, part.life, time.monotonic()
        told = part.tend(may_start=now >= self._next_at)
        if part.deaths > deaths:
            self._lost[part.life] = now
            self._report([part.life])
        if part.life != life:
            self._next_at = now + self._apart_s
            # Who was waiting for the word may have died with it: it is said again for the new one.
            self._lost = {name: at for name, at in self._lost.items() if now - at < _SAY_AGAIN_S}
            self._report([*self._lost])
        return told

    def _report(self, workers: Sequence[str]) -> None:
        """Say that workers are dead. A word that is lost costs time only."""
        key = Settings().lost_workers_key
        with (
            contextlib.suppress(redis.RedisError, OSError),
            redis_address.client(
                self._redis_url(),
                socket_connect_timeout=_REPORT_WITHIN_S,
                socket_timeout=_REPORT_WITHIN_S,
            ) as client,
        ):
            for worker in workers:
                client.rpush(key, worker)
            client.ltrim(key, -_MOST_REPORTS, -1)
