"""One attempt at a task of a study that trains: from the claim to the close.

The trainer trains its runs together; this side hears it, writes rows and the runs' records, and
closes the task. What the runs have become by then stays, however the task ends.
"""

import contextlib
import logging
from collections.abc import Callable
from typing import Final, TypeVar

from core.errors import ArtifactError, NotFoundError, StaleAttemptError, StoreUnavailableError
from core.ids import rfc3339, utc_now
from core.jobs import TERMINAL, AttemptEnd, Status, TimelineEntry
from core.store.history.layout import Columns, HistoryKind
from core.store.protocols.types import Json, TaskClaim
from core.studies import run_id
from worker.execution.cleanup import drop_checkpoints, drop_spent
from worker.execution.context import ExecutionContext
from worker.execution.retry import retry_until_shutdown
from worker.execution.supervision import Last, Supervision
from worker.execution.task_progress import OVERLOOKED, TaskProgress
from worker.reporting.task import TaskRows
from worker.trainer.client import TrainerDied
from worker.trainer.protocol import Frame

log = logging.getLogger("thalweg.worker")

T = TypeVar("T")

_NO_CHECKPOINT_S: Final = 5.0
"""A shorter first attempt has not been saved on the way.

`core.train.fused.checkpoint.writer.Pace` says when a task is saved.
"""


class TaskExecution:
    """Runs one claim in the trainer and closes it. Used once."""

    def __init__(self, claim: TaskClaim, means: ExecutionContext) -> None:
        self._claim = claim
        self._store = means.store
        self._link = means.link
        self._artifacts = means.artifacts
        self._mailbox = means.mailbox
        self._settings = means.settings
        self._device = means.device
        self._shutdown = means.shutdown
        self._name = claim.task.id
        self._resumed = claim.attempt > 1
        self._hearing = Supervision(
            self._name,
            run=means.run,
            link=means.link,
            mailbox=means.mailbox,
            settings=means.settings,
        )

    def run(self) -> None:
        """Train, and bring the task to its next state. A stale attempt leaves without a word; one
        whose store stays away through a shutdown is left to the reaper."""
        try:
            self._run()
        except (StaleAttemptError, NotFoundError):
            self._leave()
        except StoreUnavailableError:
            log.warning("%s: the store is away at shutdown; another worker resumes", self._name)
            self._link.stop()

    def _run(self) -> None:
        study_id, wanted = self._claim.study.id, self._claim.task.runs
        stored = self._insist(lambda: self._store.studies.runs(study_id, wanted))
        layouts = self._insist(lambda: self._store.studies.layouts(study_id, wanted))
        self._runs = TaskProgress(self._claim, stored)
        try:
            question = self._question()
        except StoreUnavailableError:
            raise
        except Exception:
            log.exception("%s: its runs cannot be made from the study", self._name)
            runs = self._runs.stop(0.0, OVERLOOKED)
            self._insist(
                lambda: self._store.studies.close(self._claim, "failed", "failed", runs=runs)
            )
            return
        going_on = wanted if self._resumed else [int(index) for index in question["sources"]]
        self._recorder = TaskRows(
            self._store.studies,
            self._claim,
            layouts,
            lost=lambda: self._mailbox.put("lost"),
            going_on=going_on,
        )
        try:
            self._recorder.device(question["device"])
            self._link.run_population(self._hearing.run, question)
            self._finish(self._hearing.listen(self._report, self._recorder.start))
        finally:
            self._recorder.close()

    def _question(self) -> Json:
        """The fields of the `population` frame."""
        stored_rows = None
        if self._resumed:
            study_id, wanted = self._claim.study.id, self._claim.task.runs
            stored_rows = self._insist(lambda: self._store.studies.num_rows(study_id, wanted))
            self._runs.go_on(self._stored_rows)
        return {
            "study_id": self._claim.study.id,
            "stem": self._claim.task.stem,
            "artifacts": self._settings.artifacts_location,
            "device": self._device(self._claim.study.spec["base"]["device"]),
            "stop_step": self._claim.task.stop_step,
            "resume": self._resumed,
            "stored_rows": stored_rows,
            **self._runs.question(),
        }

    def _stored_rows(self, index: int, kind: HistoryKind) -> Columns:
        name = run_id(self._claim.study.id, index)
        return self._insist(lambda: self._store.read_columns(name, kind))

    def _report(self, frame: Frame) -> None:
        match frame:
            case Frame(
                type="run_rows",
                fields={"kind": kind, "runs": runs, "first_rows": first_rows, "lengths": lengths},
            ):
                cut = frame.fields.get("truncate", False)
                self._recorder.add(kind, runs, first_rows, lengths, frame.columns, truncate=cut)
                self._runs.look(kind, runs, lengths, frame.columns, truncate=cut)
            case Frame(type="population_progress", fields={"num_updates": num_updates}):
                self._recorder.progress(num_updates)
            case Frame(type="run_ended", fields=fields):
                self._recorder.record(self._runs.end(fields, self._time_limit))
            case Frame(type="restarted", fields={"detail": detail}):
                entry = TimelineEntry(rfc3339(utc_now()), "restarted", detail)
                self._insist(lambda: self._store.studies.tell(self._claim, entry))
            case _:
                log.error("unknown frame %r", frame.type)

    @property
    def _time_limit(self) -> Json | None:
        """Why runs fail that were stopped, where it was for the limit on the time."""
        if self._hearing.stopping != "time_limit":
            return None
        limit = self._settings.max_job_seconds
        message = f"Its task ran for {limit:g} s, the operator's limit, and was stopped."
        return {"code": "time_limit_exceeded", "message": message, "param": None}

    # --- once it is over

    def _finish(self, last: Last) -> None:
        self._recorder.seal()
        match last:
            case "lost":
                self._leave()
            case Frame(type="ended", fields={"reason": "handed_over"}):
                self._give_back(self._store.hand_over, "handed over")
            case Frame(type="ended", fields=fields):
                weighed = self._runs.weigh(fields["weights"])
                self._recorder.record([*weighed, *self._runs.pause(fields["paused"])])
                self._recount()
                if fields["reason"] == "finished":
                    self._succeed()
                else:
                    self._stop()
            case Frame(fields=fields):
                error = {name: fields[name] for name in ("code", "message", "param")}
                self._fail(error)
                if fields["fatal"]:
                    self._link.stop()
            case TrainerDied(status=status):
                log.error("%s: its trainer ended with status %d", self._name, status)
                self._trainer_died()

    def _recount(self) -> None:
        """Metrics that follow from rows of which some were taken back: from what is stored."""
        if self._runs.rewound:
            self._insist(self._recorder.write_rest)
            self._recorder.record(self._runs.recount(self._stored_rows))

    def _trainer_died(self) -> None:
        match self._hearing.stopping:
            case "cancel" | "time_limit":
                self._stop()
            case "hand_over":
                self._give_back(self._store.hand_over, "handed over")
            case None:
                self._give_back(self._store.lose, "lost")

    def _succeed(self) -> None:
        if self._runs.unfinished:
            log.error("%s: the trainer has ended without a word on some runs", self._name)
            self._fail(OVERLOOKED)
        else:
            self._close("succeeded", "finished")

    def _stop(self) -> None:
        """It was stopped on the way: by a cancel, or by the limit on its time."""
        error = self._time_limit
        if error is not None:
            self._fail(error)
            return
        self._recorder.record(self._runs.stop(self._hearing.elapsed_s, None))
        self._close("cancelled", "cancelled")

    def _fail(self, error: Json) -> None:
        """The runs that have not ended fail; the others stay what they are."""
        self._recorder.record(self._runs.stop(self._hearing.elapsed_s, error))
        self._close("failed", "failed")

    def _close(self, status: Status, end: AttemptEnd) -> None:
        now = self._insist(lambda: self._recorder.close_task(status, end))
        study_id = self._claim.study.id
        if now in TERMINAL:
            runs = self._insist(lambda: self._store.studies.runs(study_id))
            drop_spent(self._artifacts, study_id, runs)
        elif self._resumed or self._hearing.elapsed_s > _NO_CHECKPOINT_S:
            drop_checkpoints(self._artifacts, study_id, self._claim.task.stem)

    def _give_back(self, how: Callable[[TaskClaim], Status], word: str) -> None:
        """Write what there is and let another attempt go on from the last checkpoint."""
        self._insist(self._recorder.write_rest)
        status = self._insist(lambda: how(self._claim))
        log.info("%s: %s; now %s", self._name, word, status)

    def _leave(self) -> None:
        """The task is somebody else's now: nothing more of this attempt may reach its files."""
        log.warning("%s: no longer ours; this attempt ends at once", self._name)
        self._link.stop()
        try:
            self._store.studies.get(self._claim.study.id)
        except NotFoundError:
            # Deleted meanwhile: what this attempt wrote after that is known to nobody else.
            with contextlib.suppress(ArtifactError):
                self._artifacts.job(self._claim.study.id).delete_all()
        except StoreUnavailableError:
            return

    def _insist(self, action: Callable[[], T]) -> T:
        return retry_until_shutdown(action, self._shutdown)
