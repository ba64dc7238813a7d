"""A use of weights: predictions, or an exported model, from the claim to what was made.

The trainer reads the weights, does the work and writes the artifact; this side keeps the lease, and
writes that it is there. What it writes after the use has gone with its job is deleted.
"""

import contextlib
from typing import Final

from core.errors import ArtifactError, StoreUnavailableError
from core.messages.reports import Ending, Measured, TaskEnding
from core.messages.requests import UseWeights
from core.store.protocols.types import UseClaim
from worker.execution.context import ExecutionContext
from worker.execution.requested import RequestedExecution

LIMIT_S: Final = 600.0
"""Seconds after which a use is taken to hang."""
_DIED: Final = "The process that used the weights died."


class UseExecution(RequestedExecution):
    """Makes one use. `device`: where."""

    def __init__(self, claim: UseClaim, context: ExecutionContext, device: str) -> None:
        self._uses = context.store.uses
        super().__init__(
            claim.use.id,
            context,
            claim.use,
            limit_s=LIMIT_S,
            renew=lambda: self._uses.renew(claim, context.settings.lease_s),
            died=_DIED,
        )
        self._claim = claim
        self._device = device

    def _begin(self) -> UseWeights:
        use = self._claim.use
        return UseWeights(
            job_id=use.id,
            kind=use.kind,
            weights=use.weights,
            model=use.model,
            rows=use.rows,
            artifacts=self._context.settings.artifacts_location,
            device=self._device,
            run=self._context.line.run,
        )

    def _end(self, answer: Ending | TaskEnding | Measured) -> None:
        assert isinstance(answer, Measured)
        if self._supervision.stopping == "time_limit":
            message = f"It took more than {LIMIT_S:g} s and was stopped."
            self._fail_by("time_limit_exceeded", message)
            return
        found = dict(answer.measured)
        size_bytes = int(found.pop("size_bytes"))
        self._insist(lambda: self._uses.finish(self._claim, found, size_bytes))
        self._ended = f"made ({size_bytes:,} bytes)"

    def _fail_by(self, code: str, reason: str, param: str | None = None) -> None:
        error = {"code": code, "message": reason, "param": param}
        self._insist(lambda: self._uses.fail(self._claim, error))
        self._ended = f"failed: {reason}"

    def _lose(self, how: str) -> None:
        """Leave it to another attempt: the reaper counts them."""
        self._ended, self._kind_of_end = "lost", "lost"
        self._insist(lambda: self._uses.lose(self._claim))

    def _leave_to_another(self) -> None:
        self._uses.hand_over(self._claim)

    def _leave(self) -> None:
        super()._leave()
        try:
            if not self._uses.is_there(self._claim.use.id):
                # Gone with its job meanwhile: nobody else knows of what was written after that.
                with contextlib.suppress(ArtifactError):
                    self._context.artifacts.job(self._claim.use.id).delete_all()
        except StoreUnavailableError:
            return
