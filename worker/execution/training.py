"""An attempt that trains: what those at a job and at a study's task have in common."""

import contextlib
import logging
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Generic, TypeVar

from core.errors import ArtifactError, LostRowsError, NotFoundError, StoreUnavailableError
from core.jobs import Status, Usage
from core.messages.reports import Ending, Failed, TaskEnding
from core.specs.base import Json
from core.specs.validation.errors import size_text
from core.store.protocols.types import Claim, TaskClaim
from worker.execution.context import ExecutionContext
from worker.execution.execution import TrainerExecution
from worker.execution.supervision import Last, Supervision

log = logging.getLogger("thalweg.worker")

SURELY: Final = 2
"""An estimate is from above, within about so many times: what is estimated at more than this many
times the device's memory does not fit; the rest is tried."""

Held = TypeVar("Held", bound=Claim | TaskClaim)


class Training(TrainerExecution, Generic[Held]):
    """A claim of a job, or of a task of a study: its attempt writes rows, and files of its own.

    Args:
        owner: the job or study that the files belong to.
    """

    def __init__(self, name: str, owner: str, claim: Held, context: ExecutionContext) -> None:
        settings = context.settings
        supervision = Supervision(
            name,
            context.line,
            settings,
            limit_s=settings.max_job_seconds,
            watch=(settings.system_every_s, self._watch),
        )
        record = claim.study if isinstance(claim, TaskClaim) else claim.job
        super().__init__(name, context, record, supervision)
        self._claim = claim
        self._owner = owner
        self._on = ""
        """The device that the work is given to."""
        self._resumed = claim.attempt > 1

    def _carry_out(self) -> None:
        try:
            super()._carry_out()
        except LostRowsError as error:
            log.warning("%s; another attempt goes on from a checkpoint before them", error)
            self._context.line.client.stop()
            status = self._insist(lambda: self._context.store.hand_over(self._claim))
            self._ended = f"handed over since the store has lost rows, now {status}"
            self._kind_of_end = "handed_over"

    def _watch(self) -> None:
        """Look at the trainer, every `Settings.system_every_s`."""

    def _refusal(self, device: str) -> Failed | None:
        """Refuse what surely does not fit: of the workers that serve it this one has the most
        memory, or it would have been left to another."""
        self._on = device
        has = self._context.memory_bytes.get(device, 0)
        if not has or self._claim.memory_bytes <= SURELY * has:
            return None
        need = self._least_need()
        if need <= SURELY * has:
            return None
        message = (
            f"By its estimate it takes about {size_text(need)}, and {device} of this worker, the"
            f" one with the most memory, has {size_text(has)}: make the model, batch_size or data"
            " smaller, or start a worker with more memory."
        )
        return Failed("out_of_memory", message, None, fatal=False)

    @abstractmethod
    def _least_need(self) -> int:
        """Return the bytes that the claim takes by its estimate; of a task, its smallest run."""

    def _explained(self, failed: Failed) -> Failed:
        """Add the numbers to a failure for want of memory."""
        has = self._context.memory_bytes.get(self._on, 0)
        if failed.code != "out_of_memory" or not has or "estimate" in failed.message:
            return failed
        need, peak = self._claim.memory_bytes, failed.peak_memory_bytes
        facts = [f"{self._on} of this worker has {size_text(has)}"]
        if peak:
            facts.append(f"{size_text(peak)} of it had been taken")
        if need:
            facts.append(f"the estimate was {size_text(need)}")
        return replace(failed, message=f"{failed.message} ({'; '.join(facts)}.)")

    @abstractmethod
    def _used(self, usage: Usage) -> None:
        """Note what the attempt has used; it is written with its end."""

    @abstractmethod
    def _note_stored(self) -> None:
        """Note what the attempt leaves in the store for the next one."""

    @abstractmethod
    def _write_rest(self) -> None:
        """Write what was reported and is not written. Repeatable."""

    @abstractmethod
    def _look_up(self) -> None:
        """Ask the store for the owner. Raises `NotFoundError`."""

    def _note_use(self, last: Last) -> None:
        if isinstance(last, Ending | TaskEnding | Failed):
            self._used(Usage(last.peak_memory_bytes, last.cpu_s))

    def _hand_over(self, result: Json | None = None) -> None:
        self._give_back(lambda claim: self._context.store.hand_over(claim, result), "handed over")

    def _lose(self, how: str) -> None:
        self._give_back(lambda claim: self._context.store.lose(claim, how), "lost")

    def _give_back(self, how: Callable[[Held], Status], word: str) -> None:
        """Write what there is and let another attempt go on from the last checkpoint. What was used
        counts from now on: there may be no other attempt."""
        self._note_stored()
        self._insist(self._write_rest)
        status = self._insist(lambda: how(self._claim))
        self._ended = f"{word}, now {status}"
        self._kind_of_end = "lost" if word == "lost" else "handed_over"

    def _leave(self) -> None:
        """Leave the claim: nothing more of this attempt may reach the owner's files."""
        super()._leave()
        self._context.line.client.stop()
        try:
            self._look_up()
        except NotFoundError:
            # Deleted meanwhile: what this attempt wrote after that is known to nobody else.
            with contextlib.suppress(ArtifactError):
                self._context.artifacts.job(self._owner).delete_all()
        except StoreUnavailableError:
            return

    def _time_limit(self, what: str) -> Json | None:
        """Return the error of work that was stopped for the limit on its time; None: it was not."""
        if self._supervision.stopping != "time_limit":
            return None
        limit = self._context.settings.max_job_seconds
        message = f"{what} ran for {limit:g} s, the operator's limit, and was stopped."
        return {"code": "time_limit_exceeded", "message": message, "param": None}


def error_of(failed: Failed) -> Json:
    """Return the record's `error`."""
    return {"code": failed.code, "message": failed.message, "param": failed.param}
