"""The shortest way from a new job to an idle worker: a message from the store itself."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from core.errors import StoreUnavailableError
from core.store.protocols.worker import WorkerStore

log = logging.getLogger("thalweg.worker")

_ASK_EVERY_S: Final = 1.0
"""Seconds after which an end is seen."""
_BACKOFF_S: Final = 1.0


class Listener:
    """A thread that waits for the store's word that a job is queued, while this worker is idle.

    It comes in 0.5 ms; Celery's message, which a thread of the API publishes, a quarter of a second
    later. A busy worker takes no word that would wake an idle one. A word that is lost costs time
    only: Celery's message and the reconciler find the job as well.

    Args:
        idle: waits so many seconds for this worker to be idle, and says whether it is.
        closing: whether it will take no work any more, which ends the thread.
        wake: have it look for a job.
    """

    def __init__(
        self,
        store: WorkerStore,
        *,
        devices: Callable[[], tuple[str, ...]],
        idle: Callable[[float], bool],
        closing: Callable[[], bool],
        wake: Callable[[], object],
    ) -> None:
        self._store = store
        self._devices = devices
        self._idle = idle
        self._closing = closing
        self._wake = wake
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        """Begin to listen from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more, and end the thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set() and not self._closing():
            try:
                if self._idle(_ASK_EVERY_S) and self._store.await_work(
                    self._devices(), _ASK_EVERY_S
                ):
                    self._wake()
            except StoreUnavailableError:
                self._stopping.wait(_BACKOFF_S)
            except Exception:
                log.exception("the listener stumbled")
                self._stopping.wait(_BACKOFF_S)
