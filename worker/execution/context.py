"""What work in the trainer is done with."""

from collections.abc import Callable
from dataclasses import dataclass

from core.artifacts.base import ArtifactStore
from core.settings import Settings
from core.store.protocols.worker import WorkerStore
from worker.execution.retry import Shutdown
from worker.execution.supervision import Mailbox
from worker.trainer.client import TrainerClient


@dataclass(frozen=True)
class ExecutionContext:
    """Of one claim.

    Attributes:
        run: a number that no other work of this trainer has.
        mailbox: where the trainer's frames and everybody's orders arrive.
        device: settles the device that a spec's `device` means.
    """

    run: int
    store: WorkerStore
    link: TrainerClient
    artifacts: ArtifactStore
    mailbox: Mailbox
    settings: Settings
    device: Callable[[str], str]
    shutdown: Shutdown
