"""The life of a claim, from its start to exactly one end.

    claim (the runner) → start → supervise → settle

What can happen on the way is said here, whatever the claim is of; its kind supplies what differs.

- The trainer answers: the kind writes the end (`_end`), or why it failed (`_fail`). After a failure
  that is `fatal` the trainer is replaced.
- Artifacts cannot be written, by any job of this worker: as at a shutdown, the work is handed over,
  and the worker takes no more until it can write (`ExecutionContext.writes_artifacts`).
- The trainer dies: if it had been asked to stop, that is the end (`_end_stopped`); if not, the
  attempt is lost, and counts (`_lose`).
- The worker shuts down, or a pause is asked for: the work is handed over, and no attempt is counted
  (`_hand_over`). The store knows which it was: what is to pause is not queued again.
- The store has lost rows that it had confirmed (it came back with an older state): the work is
  handed over, and the next attempt goes on from a checkpoint whose rows are there.
- The claim turns out to be stale, or what it is of to be deleted: nothing more is written
  (`_leave`).
- The store is away: it is waited for, however long that takes (`ExecutionContext.insist`); but once
  a shutdown is overdue, the claim is left as it is, and another worker takes it when its lease has
  expired.
"""

import contextlib
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Literal, TypeVar, assert_never

from core.errors import ArtifactError, NotFoundError, StaleAttemptError, StoreUnavailableError
from core.ids import STUDY_PREFIX
from core.jobs import JobRecord
from core.log import note
from core.messages.reports import Ending, Failed, JobReport, Measured, TaskEnding, TaskReport
from core.messages.requests import Work
from core.specs.base import Json
from core.specs.job import JobSpec
from core.studies import StudyRecord
from core.tracing import Span
from core.uses.record import UseRecord
from worker.execution.context import ExecutionContext
from worker.execution.diagnosis import trial
from worker.execution.supervision import Last, Supervision
from worker.trainer.client import TrainerDied

if TYPE_CHECKING:
    from core.diagnosis.remedies.attempt import TryFirstSteps

log = logging.getLogger("thalweg.worker")

TRIAL_LIMIT_S: Final = 10.0
"""Seconds after which first steps, which take milliseconds, are taken to hang."""

T = TypeVar("T")


class Execution(ABC):
    """Carries out one claim. Used once; `name` is what the claim is of, in the log: a line when the
    work begins, and one when it ends."""

    def __init__(
        self, name: str, context: ExecutionContext, record: JobRecord | StudyRecord | UseRecord
    ) -> None:
        self._name = name
        self._record = record
        self._context = context
        self._ended = "broken off"
        """The end that it came to, for the log."""
        self._kind_of_end: Literal["ended", "lost", "handed_over", "left"] = "ended"
        self._has_begun = False
        self._closing = contextlib.ExitStack()
        """Things to close at the end, however it came."""

    def run(self) -> None:
        """Bring the claim to its end, as this module says."""
        began = time.monotonic()
        ids = self._ids()
        span = self._begun(ids)
        try:
            self._carry_out()
        except (StaleAttemptError, NotFoundError):
            self._ended, self._kind_of_end = "left", "left"
            self._leave()
        except StoreUnavailableError:
            log.warning("%s: the store is away at shutdown; another worker goes on", self._name)
            self._kind_of_end = "left"
            self._context.line.client.stop()
        finally:
            self._say_begins()
            self._closing.close()
            seconds = time.monotonic() - began
            words = f"{self._name}: ends after {seconds:.1f} s: {self._ended}"
            what = self._kind_of_end
            level = logging.WARNING if what == "lost" else logging.INFO
            note(log, level, words, what=what, how=self._ended, seconds=round(seconds, 3), **ids)
            if span is not None:
                span.note(what=what, how=self._ended)
                failed = what == "lost" or self._ended.startswith(("failed", "broken off"))
                span.end(self._ended if failed else None)

    def _ids(self) -> dict[str, str | None]:
        """Return what tells this line of the log from others."""
        record = self._record
        owner = record.of if isinstance(record, UseRecord) else record.id
        of_study = owner.startswith(STUDY_PREFIX)
        return {
            "job_id": None if of_study else owner,
            "study_id": owner if of_study else None,
            "task": self._name.partition("/")[2] or None,
            "worker": self._context.worker or None,
            "request_id": self._record.request_id,
        }

    def _begun(self, ids: dict[str, str | None]) -> Span | None:
        """Begin the attempt's span, where there is tracing, below that of the request which created
        the job or study."""
        if self._context.tracing is None:
            return None
        name = "job" if ids["study_id"] is None else "study task"
        if isinstance(self._record, UseRecord):
            name = "use of weights"
        span = self._context.tracing.start(name, "consumer", self._record.traceparent)
        span.note(**ids)
        return span

    def _say_begins(self) -> None:
        """Log that the work begins, the first time."""
        if not self._has_begun:
            self._has_begun = True
            note(log, logging.INFO, f"{self._name}: begins", what="claimed", **self._ids())

    @abstractmethod
    def _carry_out(self) -> None:
        """Do all the work, and say when it begins. Raises what the store raises."""

    def _leave(self) -> None:
        """Leave the claim, which is somebody else's now."""
        log.warning("%s: no longer ours; this attempt ends at once", self._name)

    def _insist(self, action: Callable[[], T]) -> T:
        return self._context.insist(action)


class TrainerExecution(Execution):
    """A claim whose work the trainer does."""

    def __init__(
        self,
        name: str,
        context: ExecutionContext,
        record: JobRecord | StudyRecord | UseRecord,
        supervision: Supervision,
    ) -> None:
        super().__init__(name, context, record)
        self._supervision = supervision

    @abstractmethod
    def _begin(self) -> Work | None:
        """Return what to ask of the trainer; None: nothing, the claim has come to its end."""

    @abstractmethod
    def _end(self, answer: Ending | TaskEnding | Measured) -> None:
        """Write the end that the trainer has answered."""

    @abstractmethod
    def _fail(self, failed: Failed) -> None:
        """Write why the work came to no end."""

    @abstractmethod
    def _end_stopped(self) -> None:
        """Write the end of what was stopped by a cancel, or by the limit on its time, and could
        not say itself how far it had come."""

    @abstractmethod
    def _lose(self, how: str) -> None:
        """Say that the attempt is lost: its trainer died, as `how` says."""

    @abstractmethod
    def _hand_over(self, result: Json | None = None) -> None:
        """Leave the claim to another worker. `result`: what the trainer said of a job so far."""

    def _report(self, report: JobReport | TaskReport) -> None:
        log.error("%s: an unexpected report: %r", self._name, report)

    def _start_writing(self) -> None:
        """Begin to write what is reported on the way: the work is no short one."""

    def _stop_writing(self) -> None:
        """Stop writing: no report comes any more, and what was not written is left to the end."""

    def _after(self, last: Last) -> Last:
        """Ask for more, once the work is done; returns the word that counts."""
        return last

    def _carry_out(self) -> None:
        work = self._begin()
        if work is not None:
            self._settle(self._refusal(work.device) or self._after(self._ask(work)))

    def _refusal(self, device: str) -> Failed | None:
        """Return why the work is not even begun on the device; None: it is."""
        return None

    def _ask(self, work: Work) -> Last:
        """Have the trainer do the work; returns its last word."""
        self._context.line.client.send(work)
        self._say_begins()  # a line takes 0.16 ms, in which the trainer begins
        return self._supervision.listen(self._report, self._start_writing)

    def _first_steps(self, job: JobRecord, device: str) -> "TryFirstSteps":
        """Return the function that has the trainer take first steps. Without an answer in time
        nothing is known of them, and nothing else is lost."""

        def take(specs: Sequence[JobSpec]) -> Sequence[Json | None]:
            unknown: list[Json | None] = [None] * len(specs)
            line = self._context.line
            if self._supervision.stopping is not None or not line.client.alive:
                return unknown
            self._supervision.allow(TRIAL_LIMIT_S)
            self._supervision.keep_nothing()
            artifacts = self._context.settings.artifacts_location
            line.client.send(trial(job, specs, artifacts=artifacts, device=device, run=line.run))
            answer = self._supervision.listen(self._report, lambda: None)
            if isinstance(answer, Measured):
                found: Sequence[Json | None] = answer.measured["first_steps"]
                return found
            log.error("%s: no first steps of its remedies were taken", self._name)
            if isinstance(answer, Failed) and answer.fatal:
                line.client.stop()
            return unknown

        return take

    def _note_use(self, last: Last) -> None:
        """Note what the trainer says that it has used for the work."""

    def _settle(self, last: Last) -> None:
        self._stop_writing()
        self._note_use(last)
        match last:
            case "lost":
                self._ended, self._kind_of_end = "left", "left"
                self._leave()
            case Ending(reason="handed_over"):
                self._hand_over(last.result or None)
            case TaskEnding(reason="handed_over"):
                self._hand_over()
            case Ending() | TaskEnding() | Measured():
                self._end(last)
            case Failed():
                if last.fatal:
                    self._context.line.client.stop()
                if last.code == ArtifactError.code and not self._context.writes_artifacts():
                    self._hand_over()
                else:
                    self._fail(self._explained(last))
            case TrainerDied():
                how = last.words
                log.error("%s: %s", self._name, how)
                self._settle_death(how)
            case _:
                assert_never(last)

    def _explained(self, failed: Failed) -> Failed:
        """Return the failure with what this side knows of it."""
        return failed

    def _settle_death(self, how: str) -> None:
        match self._supervision.stopping:
            case "cancel" | "time_limit":
                self._end_stopped()
            case "hand_over" | "pause":
                self._hand_over()
            case None:
                self._lose(how)
            case _:
                assert_never(self._supervision.stopping)
