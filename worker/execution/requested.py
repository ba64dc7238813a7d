"""Work that was asked for beside jobs and tasks: claimed by itself, and kept by a lease of its
own."""

import logging
from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from core.errors import StaleAttemptError, StoreUnavailableError
from core.jobs import JobRecord
from core.messages.reports import Failed
from core.specs.base import Json
from core.uses.record import UseRecord
from worker.execution.context import ExecutionContext
from worker.execution.execution import TrainerExecution
from worker.execution.supervision import Last, Supervision

log = logging.getLogger("thalweg.worker")

FAULT: Final = "A fault in the service; the worker's log has the details."


class RequestedExecution(TrainerExecution):
    """Answers one request. Used once. Nothing is lost with the trainer, which may be killed at any
    time.

    Args:
        limit_s: seconds after which it is taken to hang; None: no limit.
        renew: keeps the lease; raises `StaleAttemptError` once it is another's.
        died: says that the process which did the work died.
    """

    def __init__(
        self,
        name: str,
        context: ExecutionContext,
        record: JobRecord | UseRecord,
        *,
        limit_s: float | None,
        renew: Callable[[], None],
        died: str,
    ) -> None:
        supervision = Supervision(
            name,
            context.line,
            context.settings,
            limit_s=limit_s,
            keeps_nothing=True,
            renew=self._keep_lease,
        )
        super().__init__(name, context, record, supervision)
        self._renew = renew
        self._died = died
        self._is_stale = False

    @abstractmethod
    def _fail_by(self, code: str, reason: str, param: str | None = None) -> None:
        """Write why there is no answer."""

    def _keep_lease(self) -> None:
        """Keep the lease. Once it is another's, the trainer is to stop, and its answer is waited
        for: it stays warm for what comes next."""
        if self._is_stale:
            return
        try:
            self._renew()
        except StoreUnavailableError:
            log.warning("%s: the store is away; the work goes on", self._name)
        except StaleAttemptError:
            self._is_stale = True
            self._context.line.mailbox.put("cancel")

    def _settle(self, last: Last) -> None:
        if self._is_stale:
            self._leave()
        else:
            super()._settle(last)

    def _fail(self, failed: Failed) -> None:
        words = failed.message if failed.code != "internal_error" else FAULT
        self._fail_by(failed.code, words, failed.param)

    def _end_stopped(self) -> None:
        self._fail_by("worker_lost", self._died)

    def _lose(self, how: str) -> None:
        self._fail_by("worker_lost", f"{self._died} {how}")

    def _hand_over(self, result: Json | None = None) -> None:
        self._insist(self._leave_to_another)
        self._ended, self._kind_of_end = "handed over", "handed_over"

    @abstractmethod
    def _leave_to_another(self) -> None:
        """Give the claim back to the queue."""
