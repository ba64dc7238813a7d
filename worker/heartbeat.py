"""The worker's heartbeat: it keeps the lease of the job or task in hand, hears that it is to be
cancelled, to pause, or no longer this worker's, and reports the worker as alive."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Literal

from core.errors import NotFoundError, StaleAttemptError, StoreUnavailableError, ThalwegError
from core.ids import rfc3339, utc_now
from core.store.calls.job_codec import queues_served
from core.store.protocols.types import Claim, TaskClaim, WorkerInfo
from core.store.protocols.worker import WorkerStore
from worker.health import HealthFiles

log = logging.getLogger("thalweg.worker")

Told = Literal["cancel", "pause", "lost"] | int
"""Word to the work in hand: to stop, to be handed over, that it is another's now; or to leave a
checkpoint, by its number."""
_LOOK_EVERY_S = 0.5
"""Seconds after which a cancel or a pause is heard at the latest; cheaper than a subscription, and
it survives outages."""


class Heartbeat:
    """A thread that beats every third of a lease, and twice a second while a job is in hand.

    A Redis that is away is waited for: the job goes on, and whether the lease was lost meanwhile
    is heard once it is back.

    Args:
        files: where it says that the process lives, and that its reports arrive (for the health
            checks of containers).
        trouble: why this worker is not healthy, although it reports; None: it is.
        takes_work: whether it would claim some; while not, no work is left to it.
        memory_bytes: of the devices, where it is known.
    """

    def __init__(
        self,
        store: WorkerStore,
        name: str,
        *,
        lease_s: float,
        devices: Callable[[], tuple[str, ...]],
        files: HealthFiles | None = None,
        trouble: Callable[[], str | None] = lambda: None,
        takes_work: Callable[[], bool] = lambda: True,
        memory_bytes: Callable[[], dict[str, int]] = dict,
    ) -> None:
        self._store = store
        self._name = name
        self._lease_s = lease_s
        self._devices = devices
        self._files = files
        self._trouble = trouble
        self._takes_work = takes_work
        self._memory_bytes = memory_bytes
        self._started_at = rfc3339(utc_now())
        self._held: tuple[Claim | TaskClaim, Callable[[Told], None]] | None = None
        self._reported: tuple[float, object] = (0.0, None)
        self._stopping = threading.Event()
        self._away = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat from now on."""
        if self._files is not None:
            self._files.remove_left()
        self._thread.start()

    def stop(self) -> None:
        """Stop beating and take the worker off the list."""
        self._stopping.set()
        self._thread.join()
        with contextlib.suppress(ThalwegError):
            self._store.forget_worker(self._name)
        if self._files is not None:
            self._files.remove()

    def hold(self, claim: Claim | TaskClaim, tell: Callable[[Told], None]) -> None:
        """Renew this claim from now on. `tell` is called from the heartbeat's thread when the work
        is to stop, and may be called more than once for the same."""
        self._held = (claim, tell)

    def release(self) -> None:
        """Stop renewing: the work in hand is done."""
        self._held = None

    def _run(self) -> None:
        every = min(_LOOK_EVERY_S, self._lease_s / 3)
        while True:
            if self._files is not None:
                self._files.live()
            try:
                self._beat()
            except StoreUnavailableError as error:
                if not self._away:
                    log.warning("the store is away: %s", error)
                self._away = True
            except Exception:
                log.exception("the heartbeat stumbled")
            else:
                if self._away:
                    log.info("the store is back")
                self._away = False
            if self._stopping.wait(every):
                return

    def _beat(self) -> None:
        held = self._held
        if held is not None:
            claim, tell = held
            try:
                wanted = self._store.renew(claim, self._lease_s)
            except (StaleAttemptError, NotFoundError):
                # A claim that was closed this very moment is answered so, too.
                if self._held is held:
                    tell("lost")
            else:
                match wanted:
                    case "running":
                        pass
                    case "cancelling":
                        tell("cancel")
                    case "pausing":
                        tell("pause")
                    case _:
                        tell(wanted)
        job_id = at_work_on(held[0]) if held else None
        now = time.monotonic()
        last, known = self._reported
        devices, takes_work = self._devices(), self._takes_work()
        found = (job_id, self._trouble(), devices, takes_work)
        if devices and (found != known or now - last >= self._lease_s / 3):
            self._report(job_id, devices, takes_work=takes_work)
            self._reported = (now, found)

    def _report(self, job_id: str | None, devices: tuple[str, ...], *, takes_work: bool) -> None:
        info = WorkerInfo(
            name=self._name,
            devices=devices,
            queues=tuple(queues_served(devices)),
            current_job=job_id,
            last_heartbeat=rfc3339(utc_now()),
            started_at=self._started_at,
            pid=os.getpid(),
            memory_bytes=self._memory_bytes(),
        )
        self._store.report_worker(info, 2 * self._lease_s, takes_work=takes_work)
        if self._files is not None:
            self._files.ready(self._trouble())


def at_work_on(claim: Claim | TaskClaim) -> str:
    """Return the id of the job, or of the study, that a worker with this claim works for."""
    return claim.study.id if isinstance(claim, TaskClaim) else claim.job.id
