"""Holding a reply until a job is terminal: one subscription a process, whoever waits."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Final

from api.log import note
from core.jobs import JobRecord
from core.store.base import ApiStore

RETRY_S: Final = 1.0


class ChangeFeed:
    """Wakes those who wait for a job when the store says that it has changed.

    `poll_s`: a waiter reads its job this often although nothing woke it: announcements are not
    repeated, and those made while the subscription was broken are lost.
    """

    def __init__(self, store: ApiStore, poll_s: float = 2.0) -> None:
        self._store = store
        self._poll_s = poll_s
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        """Subscribe, in the running loop."""
        self._task = asyncio.create_task(self._listen(), name="change-feed")

    async def stop(self) -> None:
        """Unsubscribe."""
        self.release()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def release(self) -> None:
        """Answer everyone who waits now, and nobody waits any more: the process is ending."""
        self._closing = True
        self._wake("")

    async def wait_until_terminal(self, job_id: str, seconds: float) -> JobRecord:
        """The job once it is terminal, or as it is when the time is up.

        Raises `NotFoundError` (also when it is deleted meanwhile) and `StoreUnavailableError`.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        # Watching begins before reading: a change between the two sets the event.
        with self._watch(job_id) as changed:
            while True:
                changed.clear()
                job = await self._store.get(job_id)
                left = until - loop.time()
                if job.terminal or left <= 0 or self._closing:
                    return job
                note(logging.DEBUG, "waiting", job=job_id, left_s=round(left, 3))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), min(left, self._poll_s))

    @contextlib.contextmanager
    def _watch(self, job_id: str) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        events = self._waiting.setdefault(job_id, set())
        events.add(event)
        try:
            yield event
        finally:
            events.discard(event)
            if not events and self._waiting.get(job_id) is events:
                del self._waiting[job_id]

    async def _listen(self) -> None:
        while True:
            try:
                async for job_id in self._store.changes():
                    self._wake(job_id)
            except Exception:  # the feed must not end while the process lives
                note(logging.ERROR, "the feed of changes failed")
            await asyncio.sleep(RETRY_S)

    def _wake(self, job_id: str) -> None:
        """An empty id says that the subscription has begun (again): anything may have changed."""
        found = [self._waiting.get(job_id, set())] if job_id else list(self._waiting.values())
        for events in found:
            for event in events:
                event.set()
