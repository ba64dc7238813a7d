"""A diagnosis that was asked for after its job's end: from the claim to the answer.

The trainer measures the weights; this side keeps the lease, combines what was measured with the
stored history, and writes the diagnosis in place of the one that there was.
"""

import logging
import time
from collections.abc import Callable
from queue import Empty
from typing import Final, Literal, TypeVar

from core.errors import NotFoundError, StaleAttemptError, StoreUnavailableError
from core.store.protocols.types import DiagnosisClaim, Json
from worker.execution.context import ExecutionContext
from worker.execution.diagnosis import (
    LIMIT_S,
    LONG_RUN_S,
    diagnosis,
    question,
    stored_run,
    tries_a_remedy,
)
from worker.execution.retry import retry_until_shutdown
from worker.trainer.client import TrainerDied
from worker.trainer.protocol import Frame

log = logging.getLogger("thalweg.worker")

T = TypeVar("T")
Answer = Frame | TrainerDied | Literal["hand_over"]

_FAULT: Final = "A fault in the service; the worker's log has the details."


class DiagnosisExecution:
    """Answers one claim. Used once."""

    def __init__(self, claim: DiagnosisClaim, means: ExecutionContext, device: str) -> None:
        """`device`: where to measure."""
        self._claim = claim
        self._run_number = means.run
        self._store = means.store
        self._link = means.link
        self._mailbox = means.mailbox
        self._settings = means.settings
        self._device = device
        self._shutdown = means.shutdown
        self._lost = False

    def run(self) -> None:
        """Measure, diagnose and write it down. A stale claim leaves without a word; one whose store
        stays away through a shutdown is left to the reaper."""
        job = self._claim.job
        train_s = max(LONG_RUN_S, (job.result or {}).get("train_s") or 0.0)
        asked = question(job, self._settings, self._device, self._claim.checkpoint, train_s)
        try:
            self._link.measure(self._run_number, asked)
            answer = self._listen()
            if not self._lost:
                self._write(answer)
        except (StaleAttemptError, NotFoundError):
            log.warning("%s: its diagnosis is no longer ours", job.id)
        except StoreUnavailableError:
            log.warning("%s: the store is away at shutdown", job.id)
            self._link.stop()

    def _listen(self) -> Answer:
        """The trainer's answer; meanwhile the lease is renewed."""
        give_up = time.monotonic() + LIMIT_S
        while True:
            try:
                message = self._mailbox.get(timeout=self._settings.lease_s / 3)
            except Empty:
                if not self._lost:
                    self._renew()
                if time.monotonic() > give_up:
                    self._link.kill()
                continue
            match message:
                case "hand_over":
                    self._link.stop()  # it holds nothing that is not in the store
                    return "hand_over"
                case Frame(type="measured" | "failed") | TrainerDied():
                    return message
                case _:
                    log.error("unexpected: %r", message)

    def _renew(self) -> None:
        try:
            self._store.diagnoses.renew(self._claim, self._settings.lease_s)
        except StoreUnavailableError:
            log.warning("%s: the store is away; its diagnosis goes on", self._claim.job.id)
        except StaleAttemptError:
            log.warning("%s: its diagnosis is no longer ours", self._claim.job.id)
            self._lost = True
            self._link.order("cancel", self._run_number)  # and its answer is waited for

    def _write(self, answer: Answer) -> None:
        diagnoses, claim = self._store.diagnoses, self._claim
        match answer:
            case "hand_over":
                self._insist(lambda: diagnoses.hand_over(claim))
            case Frame(type="measured", fields={"measured": measured}):
                found = self._insist(lambda: self._diagnosis(measured))
                self._insist(lambda: diagnoses.finish(claim, found))
            case Frame(fields={"code": code, "message": message, "fatal": fatal}):
                reason = message if code != "internal_error" else _FAULT
                if fatal:
                    self._link.stop()
                self._insist(lambda: diagnoses.fail(claim, reason))
            case _:
                log.error("%s: the trainer died over its diagnosis", claim.job.id)
                reason = "The process that measured the weights died."
                self._insist(lambda: diagnoses.fail(claim, reason))

    def _diagnosis(self, measured: Json) -> Json:
        run = stored_run(self._store, self._claim.job.id)
        parent_id = run.job.parent_id
        if not tries_a_remedy(run.job) or parent_id is None:
            return diagnosis(run, measured)
        return diagnosis(run, measured, lambda: stored_run(self._store, parent_id))

    def _insist(self, action: Callable[[], T]) -> T:
        return retry_until_shutdown(action, self._shutdown)
