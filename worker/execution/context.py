"""The context of an execution: the parts that a worker does its work with."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from core.artifacts.base import ArtifactStore
from core.errors import ArtifactError, StoreUnavailableError
from core.settings import Settings
from core.store.protocols.worker import WorkerStore
from core.tracing import Tracing
from worker.execution.supervision import TrainerLine

T = TypeVar("T")

_RETRY_EVERY_S: Final = 0.5


@dataclass
class Shutdown:
    """The state of this worker's shutdown, and when it must be done (`time.monotonic`)."""

    deadline: float | None = None

    @property
    def overdue(self) -> bool:
        """True when the shutdown should be done by now."""
        return self.deadline is not None and time.monotonic() > self.deadline


@dataclass(frozen=True)
class ExecutionContext:
    """The parts with which one claim is carried out.

    Attributes:
        device: settles the device that a spec's `device` means.
        cannot_write: told why this worker can write no artifacts, which others may be able to.
        worker: this worker's name.
        tracing: where the spans of attempts go; None: nowhere.
        memory_bytes: all the memory of each device, where it is known.
    """

    store: WorkerStore
    line: TrainerLine
    artifacts: ArtifactStore
    settings: Settings
    device: Callable[[str], str]
    shutdown: Shutdown
    cannot_write: Callable[[ArtifactError], None]
    worker: str = ""
    tracing: Tracing | None = None
    memory_bytes: Mapping[str, int] = field(default_factory=dict)

    def writes_artifacts(self) -> bool:
        """Tell whether artifacts can be written; if not, the worker takes no more work."""
        try:
            self.artifacts.try_write()
        except ArtifactError as error:
            self.cannot_write(error)
            return False
        return True

    def insist(self, action: Callable[[], T]) -> T:
        """Do the action, however long the store stays away; raises `StoreUnavailableError` once the
        shutdown is overdue."""
        while True:
            try:
                return action()
            except StoreUnavailableError:
                if self.shutdown.overdue:
                    raise
                time.sleep(_RETRY_EVERY_S)
