"""A diagnosis that was asked for after its job's end: from the claim to the answer.

The trainer measures the weights; this side keeps the lease, combines what was measured with the
stored history, and writes the diagnosis in place of the one that there was.
"""

from typing import Final

from core.messages.reports import Ending, Measured, TaskEnding
from core.messages.requests import Measure
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
from worker.execution.requested import RequestedExecution

_DIED: Final = "The process that measured the weights died."


class DiagnosisExecution(RequestedExecution):
    """Answers one claim. `device`: where to measure."""

    def __init__(self, claim: DiagnosisClaim, context: ExecutionContext, device: str) -> None:
        self._diagnoses = context.store.diagnoses
        super().__init__(
            f"{claim.job.id} (diagnosis)",
            context,
            claim.job,
            limit_s=LIMIT_S,
            renew=lambda: self._diagnoses.renew(claim, context.settings.lease_s),
            died=_DIED,
        )
        self._claim = claim
        self._device = device

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

    def _end(self, answer: Ending | TaskEnding | Measured) -> None:
        assert isinstance(answer, Measured)
        if self._supervision.stopping == "time_limit":
            self._fail_by("time_limit_exceeded", _DIED)
            return
        found = self._insist(lambda: self._diagnosis(answer.measured))
        self._insist(lambda: self._diagnoses.finish(self._claim, found))
        self._ended = str(found["verdict"])

    def _fail_by(self, code: str, reason: str, param: str | None = None) -> None:
        self._insist(lambda: self._diagnoses.fail(self._claim, reason))
        self._ended = f"failed: {reason}"

    def _leave_to_another(self) -> None:
        self._diagnoses.hand_over(self._claim)

    def _diagnosis(self, measured: Json) -> Json:
        store = self._context.store
        run = stored_run(store, self._claim.job.id)
        take = self._first_steps(run.job, self._device)
        parent_id = run.job.parent_id
        if not tries_a_remedy(run.job) or parent_id is None:
            return diagnosis(run, measured, take=take)
        return diagnosis(run, measured, lambda: stored_run(store, parent_id), take)
