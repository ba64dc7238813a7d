"""The calls about uses of weights: the API's (async) and a worker's (sync)."""

from collections.abc import Sequence
from typing import Protocol

from core.specs.base import Json
from core.store.protocols.types import Idempotency, UseClaim
from core.uses.record import UseRecord


class ApiUses(Protocol):
    """The calls of the API, `ApiStore.uses`. All may raise `StoreUnavailableError`."""

    async def reserve(self, id_: str, /) -> None:
        """Note that rows of a use of this id are about to be stored: workers remove them, unless
        there is such a use within the hour."""
        ...

    async def add(
        self, record: UseRecord, idempotency: Idempotency | None, /
    ) -> tuple[UseRecord, bool]:
        """Write the record and queue it. True with it: it was there before, by the same id or the
        same key.

        Raises `NotFoundError` where the job or study is gone, `ConflictError` as `Records.create`,
        `QueueFullError`, `StorageFullError` and `LimitReachedError`.
        """
        ...

    async def get(self, id_: str, /) -> UseRecord:
        """Read a use. Raises `NotFoundError`."""
        ...

    async def find(self, id_: str, /) -> UseRecord | None:
        """Read a use; None where there is none."""
        ...

    async def drop(self, id_: str, /) -> None:
        """Take a use away, and put its artifacts into the trash; fine where there is none."""
        ...


class WorkerUses(Protocol):
    """The calls of a worker, `WorkerStore.uses`. Writes raise `StaleAttemptError` when the lease
    was lost or the use has gone with its job. A lease that expires goes back to the queue by
    `WorkerStore.reap`, three times at most."""

    def claim(self, worker: str, devices: Sequence[str], lease_s: float) -> UseClaim | None:
        """Take the oldest that a worker with these devices is to do: one of a job that asks for a
        GPU is left, for a few seconds, to workers that have one, and one of a job for the CPU to
        those that have none."""
        ...

    def renew(self, claim: UseClaim, lease_s: float) -> None: ...
    def finish(self, claim: UseClaim, result: Json, size_bytes: int) -> None:
        """End a use: what was made lies among its artifacts, and `result` says what it is."""
        ...

    def fail(self, claim: UseClaim, error: Json) -> None:
        """End a use that came to nothing."""
        ...

    def hand_over(self, claim: UseClaim) -> None:
        """Leave the use to another worker."""
        ...

    def lose(self, claim: UseClaim) -> None:
        """Do at once what `WorkerStore.reap` does when the lease has expired."""
        ...

    def is_there(self, id_: str) -> bool:
        """Tell whether the use has not gone meanwhile."""
        ...

    def expire(self, limit: int) -> Sequence[str]:
        """Take away uses past their age; returns their ids. Their artifacts go to the trash."""
        ...
