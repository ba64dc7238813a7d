"""A diagnosis that was asked for after its job's end: from the claim to the answer.

The trainer measures the weights; this side keeps the lease, combines what was measured with the
stored history, and writes the diagnosis in place of the one that there was.
"""

import logging

from core.errors import StaleAttemptError, StoreUnavailableError
from core.messages import Ending, Failed, Measure, Measured, TaskEnding
from core.specs.base import Json
from core.store.protocols.types import DiagnosisClaim
from worker.execution.context import ExecutionContext
from worker.execution.diagnosis import (
    LIMIT_S,
    LONG_RUN_S,
    diagnosis,
    question,
    stored_run,
    tries_a_remedy,
)
from worker.execution.execution import TrainerExecution
from worker.execution.supervision import Last, Supervision

log = logging.getLogger("thalweg.worker")

_FAULT = "A fault in the service; the worker's log has the details."
_DIED = "The process that measured the weights died."


class DiagnosisExecution(TrainerExecution):
    """Answers one claim. Used once. Nothing of it is in a file: a trainer that works for it may be
    killed at any time."""

    def __init__(self, claim: DiagnosisClaim, context: ExecutionContext, device: str) -> None:
        """Set up the answer to a claim. `device`: where to measure."""
        supervision = Supervision(
            claim.job.id,
            context.line,
            context.settings,
            limit_s=LIMIT_S,
            keeps_nothing=True,
            renew=self._renew,
        )
        super().__init__(f"{claim.job.id} (diagnosis)", context, claim.job, supervision)
        self._claim = claim
        self._diagnoses = context.store.diagnoses
        self._device = device
        self._is_stale = False

    def _begin(self) -> Measure:
        job = self._claim.job
        return question(
            job,
            artifacts=self._context.settings.artifacts_location,
            device=self._device,
            checkpoint=self._claim.checkpoint,
            train_s=max(LONG_RUN_S, (job.result or {}).get("train_s") or 0.0),
            run=self._context.line.run,
        )

    def _renew(self) -> None:
        """Keep the lease. Once it is another's, the trainer is to stop, and its answer is waited
        for: it stays warm for what comes next."""
        if self._is_stale:
            return
        try:
            self._diagnoses.renew(self._claim, self._context.settings.lease_s)
        except StoreUnavailableError:
            log.warning("%s: the store is away; its diagnosis goes on", self._name)
        except StaleAttemptError:
            self._is_stale = True
            self._context.line.mailbox.put("cancel")

    def _settle(self, last: Last) -> None:
        if self._is_stale:
            self._leave()
        else:
            super()._settle(last)

    def _end(self, answer: Ending | TaskEnding | Measured) -> None:
        assert isinstance(answer, Measured)
        if self._supervision.stopping == "time_limit":
            self._fail_by(_DIED)
            return
        found = self._insist(lambda: self._diagnosis(answer.measured))
        self._insist(lambda: self._diagnoses.finish(self._claim, found))
        self._ended = str(found["verdict"])

    def _fail(self, failed: Failed) -> None:
        self._fail_by(failed.message if failed.code != "internal_error" else _FAULT)

    def _end_stopped(self) -> None:
        self._fail_by(_DIED)

    def _lose(self, how: str) -> None:
        self._fail_by(f"{_DIED} {how}")

    def _fail_by(self, reason: str) -> None:
        self._insist(lambda: self._diagnoses.fail(self._claim, reason))
        self._ended = f"failed: {reason}"

    def _hand_over(self, result: Json | None = None) -> None:
        self._insist(lambda: self._diagnoses.hand_over(self._claim))
        self._ended, self._kind_of_end = "handed over", "handed_over"

    def _diagnosis(self, measured: Json) -> Json:
        store = self._context.store
        run = stored_run(store, self._claim.job.id)
        take = self._first_steps(run.job, self._device)
        parent_id = run.job.parent_id
        if not tries_a_remedy(run.job) or parent_id is None:
            return diagnosis(run, measured, take=take)
        return diagnosis(run, measured, lambda: stored_run(store, parent_id), take)
