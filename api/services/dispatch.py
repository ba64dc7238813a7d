"""Messages to the workers that work is queued: hints over the broker, never in a request's path."""

import logging
import threading
from collections.abc import Callable
from typing import Final, Protocol

from api.http.log import note
from core.broker import QUEUE, TASK, celery_config
from core.settings import Settings

BURST: Final = 8
"""Most hints sent at a time. One hint wakes one worker, which then works until nothing is
queued."""
_LONGEST_PAUSE_S: Final = 0.25
_LONGEST_BACKOFF_S: Final = 5.0

Send = Callable[[], None]


class Dispatcher(Protocol):
    """Announcer of queued work. A lost hint costs time only: workers look by themselves as well."""

    def start(self) -> None: ...

    def announce(self) -> None:
        """Announce that one more job is queued. Returns at once and never fails."""
        ...

    def stop(self) -> None: ...


class CeleryDispatcher:
    """Sends hints from a thread of its own.

    Alone, a hint leaves at once. When jobs come faster than hints go, hints are merged and the
    thread pauses (up to a quarter of a second): after a first burst one at a time is enough, and
    the requests keep the processor. A broker that is away is tried again, ever more slowly (up to
    5 s).
    """

    def __init__(self, settings: Settings, connect: Callable[[Settings], Send] | None = None):
        """Set up the thread, which calls `connect` to make the function that sends one hint."""
        self._settings = settings
        self._connect = connect or celery_sender
        self._queued = threading.Condition()
        self._pending = 0
        # An event of its own: by the condition each queued job would wake a thread that pauses.
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._thread.start()

    def announce(self) -> None:
        with self._queued:
            self._pending += 1
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
        """Wait for the first hint and return the number of hints due; None once the thread shall
        end."""
        with self._queued:
            self._queued.wait_for(lambda: self._pending or self._stopping.is_set())
            if self._stopping.is_set():
                return None
            hints, self._pending = self._pending, 0
            return hints


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
