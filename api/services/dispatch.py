"""Messages to the workers that work is queued: hints over the broker, never in a request's path."""

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from api.http.log import note
from core.broker import QUEUE, TASK, celery_config
from core.settings import Settings

BURST: Final = 8
"""Most hints sent at a time. One hint wakes one worker, which then works until nothing is
queued."""
LINGER_S: Final = 0.25
"""Seconds after which a hint follows of all the work that idle workers have heard of from the store
itself: its way takes two writes to the disk and some milliseconds of the processors, which a job
that has just begun wants for itself."""
_LONGEST_PAUSE_S: Final = 0.25
_LONGEST_BACKOFF_S: Final = 5.0

Send = Callable[[], None]


class Dispatcher(Protocol):
    """Announcer of queued work. A lost hint costs time only: workers look by themselves as well."""

    def start(self) -> None: ...

    def announce(self, *, heard: bool = False) -> None:
        """Announce that more work waits: what is queued, which idle workers have `heard` of from
        the store, or a request. Returns at once and never fails."""
        ...

    def stop(self) -> None: ...


class CeleryDispatcher:
    """Sends hints from a thread of its own.

    Alone, a hint leaves at once. When they come faster than they go, hints are merged and the
    thread pauses (up to a quarter of a second): after a first burst one at a time is enough, and
    the requests keep the processor. Of work that idle workers have heard of, one hint follows
    `LINGER_S` after the first of it. A broker that is away is tried again, ever more slowly (up to
    5 s).
    """

    def __init__(self, settings: Settings, connect: Callable[[Settings], Send] | None = None):
        """Set up the thread, which calls `connect` to make the function that sends one hint."""
        self._settings = settings
        self._connect = connect or celery_sender
        self._queued = threading.Condition()
        self._pending = 0
        self._follow_at = math.inf
        """Time at which a hint of work that was heard of leaves (`time.monotonic`)."""
        # An event of its own: by the condition each queued job would wake a thread that pauses.
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._thread.start()

    def announce(self, *, heard: bool = False) -> None:
        with self._queued:
            if not heard:
                self._pending += 1
            elif self._follow_at < math.inf:
                return
            else:
                self._follow_at = time.monotonic() + LINGER_S
            self._queued.notify()

    def stop(self) -> None:
        self._stopping.set()
        with self._queued:
            self._queued.notify()
        if self._thread is not None:
            self._thread.join(timeout=2.0)

    def _run(self) -> None:
        send: Send | None = None
        pause = backoff = 0.0
        while not self._stopping.is_set():
            try:
                send = send or self._connect(self._settings)
                hints = self._take()
                if hints is None:
                    return
                merged = hints > BURST
                for _ in range((1 if pause else BURST) if merged else hints):
                    send()
            except Exception as error:  # the broker's library has many; none may end the thread
                if not backoff:  # once for each outage
                    note(logging.WARNING, "work is not announced; retrying", error=str(error)[:300])
                backoff = min(max(0.1, 2 * backoff), _LONGEST_BACKOFF_S)
                self.announce()
                self._stopping.wait(backoff)
            else:
                backoff = 0.0
                pause = min(max(0.01, 2 * pause), _LONGEST_PAUSE_S) if merged else 0.0
                if pause:
                    self._stopping.wait(pause)

    def _take(self) -> int | None:
        """Wait until hints are due and return their number; None once the thread shall end."""
        with self._queued:
            while not self._stopping.is_set():
                left_s = self._follow_at - time.monotonic()
                if self._pending or left_s <= 0.0:
                    hints = max(1, self._pending)
                    self._pending, self._follow_at = 0, math.inf
                    return hints
                self._queued.wait(None if left_s == math.inf else left_s)
            return None


def celery_sender(settings: Settings) -> Send:
    """Connect a Celery application that sends the one task by its name."""
    # Imported here: it takes a third of a second, and no request needs it.
    from celery import Celery

    app = Celery("thalweg-api", set_as_current=False)
    app.config_from_object(celery_config(settings) | {"task_publish_retry": False})
    app.connection_for_write().ensure_connection(max_retries=1, timeout=5).release()

    def send() -> None:
        app.send_task(TASK, queue=QUEUE, ignore_result=True)

    return send
