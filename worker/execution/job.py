"""One attempt at a job: from the claim to the close.

The trainer trains; this side hears it (`worker.execution.supervision`) and writes the ending.
"""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from core.errors import ArtifactError, NotFoundError, StaleAttemptError, StoreUnavailableError
from core.jobs import AttemptEnd, Outcome, Status
from core.store.history.layout import Columns, HistoryKind
from core.store.protocols.types import Claim, Json
from worker.execution.context import ExecutionContext
from worker.execution.diagnosis import LIMIT_S, Run, diagnosis, question, stored_run, tries_a_remedy
from worker.execution.job_progress import JobProgress
from worker.execution.live_diagnosis import LiveDiagnosis
from worker.execution.retry import retry_until_shutdown
from worker.execution.supervision import Last, Supervision
from worker.reporting.job import Append, JobRows
from worker.trainer.client import TrainerDied
from worker.trainer.protocol import Frame

log = logging.getLogger("thalweg.worker")

T = TypeVar("T")


class JobExecution:
    """Runs one claim in the trainer and closes it. Used once."""

    def __init__(self, claim: Claim, means: ExecutionContext) -> None:
        self._claim = claim
        self._job = claim.job
        self._store = means.store
        self._link = means.link
        self._artifacts = means.artifacts
        self._settings = means.settings
        self._device = means.device(claim.job.spec["device"])
        self._shutdown = means.shutdown
        self._resumed = claim.attempt > 1
        self._recorder = JobRows(
            means.store,
            claim,
            lost=lambda: means.mailbox.put("lost"),
            resumed=self._resumed,
        )
        self._account = JobProgress(claim.job)
        self._live = LiveDiagnosis(claim.job, self._recorder)
        self._measured: Json | None = None
        self._hearing = Supervision(
            claim.job.id,
            run=means.run,
            link=means.link,
            mailbox=means.mailbox,
            settings=means.settings,
        )

    def run(self) -> None:
        """Train, and bring the job to its next state. A stale attempt leaves without a word; one
        whose store stays away through a shutdown is left to the reaper."""
        self._recorder.set(device=self._device)
        try:
            self._link.run(
                self._hearing.run,
                {
                    "job_id": self._job.id,
                    "spec": self._job.spec,
                    "artifacts": self._settings.artifacts_location,
                    "device": self._device,
                    "resume": self._resumed,
                    "stored_rows": self._stored_rows() if self._resumed else None,
                },
            )
            self._finish(self._measure(self._listen()))
        except (StaleAttemptError, NotFoundError):
            self._leave()
        except StoreUnavailableError:
            log.warning("%s: the store is away at shutdown; another worker resumes", self._job.id)
            self._link.stop()
        finally:
            self._recorder.close()

    # --- while it trains

    def _listen(self) -> Last:
        """Until the run is over."""
        return self._hearing.listen(self._report, self._recorder.start)

    def _report(self, frame: Frame) -> None:
        match frame:
            case Frame(type="rows", fields={"kind": kind, "first_row": first_row}):
                self._recorder.add(kind, first_row, frame.columns)
                self._live.look()
            case Frame(type="progress", fields=fields):
                self._account.advance(fields["step"], fields["latest"], fields["best"])
                self._recorder.set(
                    progress=self._account.progress(fields["steps_per_s"]),
                    latest=self._account.latest,
                    best=self._account.best,
                )
            case Frame(type="phase", fields={"name": name}):
                self._recorder.set(phase=name)
            case Frame(type="settled", fields={"spec": spec, "resolved": resolved}):
                self._job = replace(self._job, spec=spec, resolved=resolved)
                self._live = LiveDiagnosis(self._job, self._recorder)
                self._recorder.set(spec=spec, resolved=resolved)
            case Frame(type="restarted", fields={"detail": detail}):
                self._recorder.tell("restarted", detail)
            case Frame(type="checkpoint", fields=fields):
                self._account.save(fields)
                self._recorder.set(checkpoints=self._account.checkpoints)
            case Frame(type="intervened", fields=fields):
                for kind, num_rows in (fields["rewound"] or {}).items():
                    self._recorder.rewind(kind, num_rows)
                self._account.drop(fields["dropped"])
                checkpoints = self._account.checkpoints
                self._recorder.set(interventions=fields["interventions"], checkpoints=checkpoints)
            case _:
                log.error("unknown frame %r", frame.type)

    def _measure(self, last: Last) -> Last:
        """After training, what a full diagnosis wants to know of the weights; the frame that says
        how the attempt ends. A failure here, or the limit on its time, costs the job nothing but
        this knowledge; a cancel or a shutdown ends it like any other part of the job."""
        if not isinstance(last, Frame) or not self._is_to_be_measured(last):
            return last
        self._recorder.set(phase="diagnosing")
        self._hearing.allow(LIMIT_S)
        train_s = last.fields["result"]["train_s"]
        asked = question(self._job, self._settings, self._device, "final", train_s)
        self._link.measure(self._hearing.run, asked)
        answer = self._listen()
        match answer, self._hearing.stopping:
            case "lost", _:
                return "lost"
            case _, "cancel":
                return Frame("ended", {**last.fields, "reason": "cancelled"})
            case _, "hand_over":
                return Frame("ended", {**last.fields, "reason": "handed_over"})
            case Frame(type="measured", fields=fields), None:
                self._measured = fields["measured"]
            case _:
                log.error("%s: its weights were not measured", self._job.id)
                if isinstance(answer, Frame) and answer.fields.get("fatal"):
                    self._link.stop()
        return last

    def _is_to_be_measured(self, last: Frame) -> bool:
        finished = last.fields.get("reason") == "finished" and self._hearing.stopping is None
        return finished and self._job.spec["diagnose"] == "full"

    # --- once it is over

    def _finish(self, last: Last) -> None:
        self._recorder.seal()
        match last:
            case "lost":
                self._leave()
            case Frame(type="ended", fields={"reason": "finished"} as fields):
                self._succeed(fields)
            case Frame(type="ended", fields={"reason": "handed_over"}):
                self._give_back(self._store.hand_over, "handed over")
            case Frame(type="ended", fields=fields):
                self._account.best = fields["best"]
                self._stopped(fields["result"] or None)
            case Frame(fields=fields):
                error = {name: fields[name] for name in ("code", "message", "param")}
                self._close("failed", "failed", error=error, result=self._partial_result())
                if fields["fatal"]:
                    self._link.stop()
            case TrainerDied(status=status):
                log.error("%s: its trainer ended with status %d", self._job.id, status)
                self._trainer_died()

    def _trainer_died(self) -> None:
        match self._hearing.stopping:
            case "cancel" | "time_limit":
                self._stopped(self._partial_result())
            case "hand_over":
                self._give_back(self._store.hand_over, "handed over")
            case None:
                self._give_back(self._store.lose, "lost")

    def _succeed(self, fields: Json) -> None:
        result, outcome = fields["result"], fields["outcome"]
        self._account.best = fields["best"]
        found = None
        if self._job.spec["diagnose"] != "off":
            run = Run(self._job, outcome, result, self._history)
            parent = self._parent if tries_a_remedy(self._job) else None
            found = diagnosis(run, self._measured, parent)
            if self._job.spec["diagnose"] == "full":
                found.setdefault("measured", None)
        self._close("succeeded", "finished", outcome=outcome, result=result, diagnosis=found)

    def _stopped(self, result: Json | None) -> None:
        """A run that was stopped on the way: by a cancel, or by the limit on its time."""
        if self._hearing.stopping == "time_limit":
            limit = self._settings.max_job_seconds
            message = f"The job ran for {limit:g} s, the operator's limit, and was stopped."
            error = {"code": "time_limit_exceeded", "message": message, "param": None}
            self._close("failed", "failed", error=error, result=result)
        else:
            self._close("cancelled", "cancelled", result=result)

    def _close(
        self,
        status: Status,
        end: AttemptEnd,
        *,
        outcome: Outcome | None = None,
        result: Json | None = None,
        **fields: object,
    ) -> None:
        if result is not None:
            self._account.step = result["num_steps"]
        last = {
            "phase": None,
            "diagnosis": None,  # a live one says nothing of how the job ended
            "progress": self._account.progress(None),
            "best": self._account.best,
            "result": result,
            "checkpoints": self._account.checkpoints,
        }

        def close(rows: list[Append], waiting: Json) -> Status:
            return self._store.close(
                self._claim,
                status,
                end,
                outcome=outcome,
                fields={**waiting, **last, **fields},
                rows=rows,
            )

        self._insist(lambda: self._recorder.finish(close))

    def _give_back(self, how: Callable[[Claim], Status], word: str) -> None:
        """Write what there is and let another attempt go on from the last checkpoint."""
        self._insist(lambda: self._recorder.finish(self._write_rest))
        status = self._insist(lambda: how(self._claim))
        log.info("%s: %s; now %s", self._job.id, word, status)

    def _write_rest(self, rows: list[Append], fields: Json) -> None:
        if rows or fields:
            self._store.update(self._claim, fields, rows=rows)

    def _leave(self) -> None:
        """The job is somebody else's now: nothing more of this attempt may reach its files."""
        log.warning("%s: no longer ours; this attempt ends at once", self._job.id)
        self._link.stop()
        try:
            self._store.get(self._job.id)
        except NotFoundError:
            # Deleted meanwhile: what this attempt wrote after that is known to nobody else.
            with contextlib.suppress(ArtifactError):
                self._artifacts.job(self._job.id).delete_all()
        except StoreUnavailableError:
            return

    def _insist(self, action: Callable[[], T]) -> T:
        return retry_until_shutdown(action, self._shutdown)

    def _history(self, kind: HistoryKind) -> Columns | None:
        columns = self._recorder.history(kind)
        if columns is None:
            self._insist(lambda: self._recorder.finish(self._write_rest))
            columns = self._insist(lambda: self._store.read_columns(self._job.id, kind))
        return columns if columns and len(columns["step"]) else None

    def _parent(self) -> Run:
        """Raises `NotFoundError` when it has been deleted."""
        assert self._job.parent_id is not None
        parent_id = self._job.parent_id
        return self._insist(lambda: stored_run(self._store, parent_id))

    def _stored_rows(self) -> dict[str, int]:
        """How far the rows of former attempts got: no checkpoint beyond them may be resumed."""

        def num_rows(kind: HistoryKind) -> int:
            return self._insist(lambda: self._store.history_meta(self._job.id, kind).num_rows)

        return {kind: num_rows(kind) for kind in self._claim.layouts}

    def _partial_result(self) -> Json | None:
        return self._account.partial_result(self._hearing.elapsed_s)
