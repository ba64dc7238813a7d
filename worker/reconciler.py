"""The search that makes lost messages and dead workers harmless: every worker looks by itself, now
and then, for jobs whose lease has expired and for queued jobs that no message announced."""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence

from core.errors import StoreUnavailableError
from core.log import note
from core.store.protocols.worker import WorkerStore
from core.studies import study_of

log = logging.getLogger("thalweg.worker")


class Reconciler:
    """A thread that looks at once, and then every `every_s`.

    After an outage of the store, or when the store's clock was set forward, it lets one lease go by
    before it reaps: all the workers could not renew meanwhile, and the first one to ask must not
    take the others' jobs. Leases that a clock set back has made too long are shortened.

    Args:
        idle: whether this worker could take a job now.
        wake: have it look for one, as if a message had come.
    """

    def __init__(
        self,
        store: WorkerStore,
        *,
        every_s: float,
        lease_s: float,
        idle: Callable[[], bool],
        wake: Callable[[], object],
    ) -> None:
        self._store = store
        self._every_s = every_s
        self._lease_s = lease_s
        self._idle = idle
        self._wake = wake
        self._reap_from = -float("inf")
        self._ahead_s = float("inf")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    def start(self) -> None:
        """Begin to look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more, and end the thread."""
        self._stopping.set()
        self._thread.join()

    def look(self) -> None:
        """Look once for such jobs."""
        reaped: Sequence[str] = ()
        try:
            queued = self._store.num_queued()
            if self._clock_was_set_forward():
                log.warning("the store's clock was set forward: leases get their time once more")
                self._reap_from = time.monotonic() + self._lease_s
            if time.monotonic() >= self._reap_from:
                reaped = self._store.reap(self._lease_s)
                for job_id in reaped:
                    study = study_of(job_id)
                    note(
                        log,
                        logging.WARNING,
                        f"the lease of {job_id} has expired: its worker is gone",
                        what="lost",
                        job_id=None if study else job_id,
                        study_id=study,
                        task=job_id.partition("/")[2] or None,
                    )
        except StoreUnavailableError:
            self._reap_from = time.monotonic() + self._lease_s
            return
        # What was reaped just now may have missed a look at the queue that is under way.
        if reaped or (queued and self._idle()):
            self._wake()

    def _clock_was_set_forward(self) -> bool:
        """Tell whether the store's clock has gained on ours since the last look: then leases have
        run out (also in a machine that slept) that workers had no time to renew."""
        ahead_s = self._store.clock_s() - time.monotonic()
        gained_s, self._ahead_s = ahead_s - self._ahead_s, ahead_s
        return math.isfinite(gained_s) and gained_s > self._lease_s / 3

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception:
                log.exception("the reconciler stumbled")
            if self._stopping.wait(self._every_s):
                return
