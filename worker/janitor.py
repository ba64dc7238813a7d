"""Removal of what nobody wants any more: what is left of deleted jobs, jobs past their retention,
and data sets and predictions past their age.

Every worker does it, and needs no agreement with the others: each step may be done twice.
"""

import logging
import threading
from typing import Final

from core.artifacts.base import ArtifactStore
from core.errors import ArtifactError, StoreUnavailableError
from core.settings import Settings
from core.store.protocols.worker import WorkerStore

log = logging.getLogger("thalweg.worker")

BATCH: Final = 50
"""Jobs that one look removes at most."""


class Janitor:
    """A thread that looks every `reconcile_every_s`; at once again where there was much to do.

    It is a thread of its own because an object store may be slow, and the reaper must not be.
    """

    def __init__(self, store: WorkerStore, artifacts: ArtifactStore, settings: Settings) -> None:
        self._store = store
        self._artifacts = artifacts
        self._settings = settings
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="janitor", daemon=True)

    def start(self) -> None:
        """Begin to look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more. A request to the object store that is under way is not waited for."""
        self._stopping.set()
        self._thread.join(timeout=1.0)

    def look(self) -> int:
        """Look once; returns how many jobs are gone for good now."""
        age_s, count = self._settings.retention_age_s, self._settings.retention_count
        if age_s is not None or count is not None:
            expired = self._store.expire(age_s, count, BATCH)
            if expired:
                log.info("%d jobs are past their retention", len(expired))
        gone = self._store.expire_datasets(BATCH)
        if gone:
            log.info("%d data sets have expired", len(gone))
        self._store.uses.expire(BATCH)
        num_freed = 0
        for job_id in self._store.trashed(BATCH):
            try:
                self._artifacts.job(job_id).delete_all()
            except ArtifactError as error:
                log.warning("%s is deleted, but not all of it yet: %s", job_id, error)
                break  # the next one would wait as long for the same
            self._store.free(job_id)
            num_freed += 1
            if self._stopping.is_set():
                break
        return num_freed

    def _run(self) -> None:
        wait_s = self._settings.reconcile_every_s
        while not self._stopping.wait(wait_s):
            wait_s = self._settings.reconcile_every_s
            try:
                if self.look() == BATCH:
                    wait_s = 0.0
            except StoreUnavailableError:
                continue
            except Exception:
                log.exception("the janitor stumbled")
