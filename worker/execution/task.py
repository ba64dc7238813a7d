"""One attempt at a task of a study that trains: from the claim to the close.

The trainer trains its runs together; this side hears it, writes rows and the runs' records, and
closes the task. What the runs have become by then stays, however the task ends. What all executions
have in common is in `worker.execution.execution`.
"""

import logging
from typing import Final, assert_never

from core.artifacts.task_files import weights_file
from core.errors import InvalidInputError, StoreUnavailableError
from core.ids import rfc3339, utc_now
from core.jobs import TERMINAL, AttemptEnd, Status, TimelineEntry, Usage
from core.messages.reports import (
    Concluded,
    DataLoaded,
    Ending,
    Failed,
    HistoryRows,
    Intervened,
    JobReport,
    Measured,
    PhaseBegun,
    PopulationProgress,
    Progress,
    Restarted,
    RowsOfRuns,
    RunEnded,
    RunFailed,
    SavedCheckpoint,
    Settled,
    TaskEnding,
    TaskReport,
)
from core.messages.requests import TrainTask
from core.specs.base import Json
from core.specs.sizes.cost import estimate
from core.specs.studies.configurations import Jobs
from core.specs.validation.limits import NO_LIMITS
from core.store.history.bundles import num_bytes
from core.store.history.layout import Columns, HistoryKind
from core.store.protocols.types import TaskClaim
from core.studies import run_id
from worker.execution.cleanup import drop_checkpoints, drop_spent
from worker.execution.context import ExecutionContext
from worker.execution.progress import TaskProgress
from worker.execution.training import Training, error_of
from worker.reporting.task import TaskRows

log = logging.getLogger("thalweg.worker")

OVERLOOKED: Final[Json] = {
    "code": "internal_error",
    "message": "A fault in the service; the worker's log has the details.",
    "param": None,
}
_NO_CHECKPOINT_S: Final = 5.0
"""Seconds of a first attempt below which nothing has been saved on the way.

`core.train.fused.checkpoint.writer.Pace` says when a task is saved.
"""


class TaskExecution(Training[TaskClaim]):
    """Runs one claim in the trainer and closes it. Used once."""

    def __init__(self, claim: TaskClaim, context: ExecutionContext) -> None:
        super().__init__(claim.task.id, claim.study.id, claim, context)
        self._store = context.store
        self._study_id = claim.study.id

    def _begin(self) -> TrainTask | None:
        wanted = self._claim.task.runs
        stored = self._insist(lambda: self._store.studies.runs(self._study_id, wanted))
        layouts = self._insist(lambda: self._store.studies.layouts(self._study_id, wanted))
        self._layouts = layouts
        self._came_at = {run.index: run.paused["step"] for run in stored if run.paused}
        """Updates that each run had before this task."""
        self._progress = TaskProgress(self._claim, stored)
        try:
            request = self._request()
        except StoreUnavailableError:
            raise
        except Exception:
            log.exception("%s: its runs cannot be made from the study", self._name)
            runs = self._progress.stop(0.0, OVERLOOKED)
            self._insist(
                lambda: self._store.studies.close(self._claim, "failed", "failed", runs=runs)
            )
            self._ended = "failed"
            return None
        self._rows = TaskRows(
            self._store.studies,
            self._claim,
            layouts,
            lost=lambda: self._context.line.mailbox.put("lost"),
            going_on=wanted if self._resumed else list(request.sources),
        )
        self._closing.callback(self._rows.close)
        self._rows.device(request.device)
        return request

    def _least_need(self) -> int:
        # The study's estimate is of its largest run, which may be in another task.
        study = self._claim.study
        params = {run.configuration: run.params for run in self._progress.runs}
        paths = list(dict.fromkeys(path for each in params.values() for path in each))
        jobs = Jobs(study.spec["base"], paths, NO_LIMITS, study.format)
        try:
            return min(estimate(jobs.resolved(each)).memory_bytes for each in params.values())
        except InvalidInputError:  # the trainer says it of each run
            return 0

    def _request(self) -> TrainTask:
        study, task, runs = self._claim.study, self._claim.task, self._progress.runs
        stored_rows = None
        if self._resumed:
            stored_rows = self._insist(lambda: self._store.studies.num_rows(study.id, task.runs))
            self._progress.go_on(self._stored_rows)
        params = {run.configuration: run.params for run in runs}
        places = {configuration: place for place, configuration in enumerate(params)}
        metric = study.spec["metric"]
        return TrainTask(
            study_id=study.id,
            stem=task.stem,
            artifacts=self._context.settings.artifacts_location,
            device=self._context.device(study.spec["base"]["device"]),
            stop_step=task.stop_step,
            resume=self._resumed,
            stored_rows=stored_rows,
            base=study.spec["base"],
            format=study.format,
            configurations=list(params.values()),
            runs=[[run.index, places[run.configuration], run.seed] for run in runs],
            sources={run.index: run.paused["file"] for run in runs if run.paused is not None},
            target=metric if metric["target"] is not None else None,
            run=self._context.line.run,
        )

    def _stored_rows(self, index: int, kind: HistoryKind) -> Columns:
        name = run_id(self._study_id, index)
        return self._insist(lambda: self._store.read_columns(name, kind))

    # --- while it trains

    def _start_writing(self) -> None:
        self._rows.start()

    def _stop_writing(self) -> None:
        self._rows.seal()
        self._rows.check()

    def _report(self, report: JobReport | TaskReport) -> None:
        match report:
            case RowsOfRuns():
                self._rows.add(report)
                self._progress.look(report)
            case PopulationProgress(num_updates):
                self._rows.progress(num_updates)
            case RunEnded():
                self._rows.record(self._progress.end(report, self._time_limit("Its task")))
            case RunFailed(run, error, fused):
                log.warning("%s: run %d failed by itself: %s", self._name, run, error["message"])
                self._rows.record(self._progress.fail(run, error, fused=fused))
            case Restarted(detail):
                entry = TimelineEntry(rfc3339(utc_now()), "restarted", detail)
                self._insist(lambda: self._context.store.studies.tell(self._claim, entry))
            case (
                HistoryRows() | Progress() | PhaseBegun() | DataLoaded() | Settled()
                | SavedCheckpoint() | Intervened() | Concluded()
            ):  # fmt: skip
                super()._report(report)
            case _:
                assert_never(report)

    # --- once it is over

    def _end(self, answer: Ending | TaskEnding | Measured) -> None:
        assert isinstance(answer, TaskEnding)
        weighed = self._progress.weigh(answer.weights)
        self._rows.record([*weighed, *self._progress.pause(answer.paused)])
        if self._progress.rewound:
            # Some rows were taken back: their metrics are counted anew from the stored rows.
            self._insist(self._write_rest)
            self._rows.record(self._progress.recount(self._stored_rows))
        if answer.reason != "finished":
            self._end_stopped()
        elif self._progress.unfinished:
            log.error("%s: the trainer has ended without a word on some runs", self._name)
            self._fail_with(OVERLOOKED)
        else:
            self._settle_as("succeeded", "finished")

    def _fail(self, failed: Failed) -> None:
        self._fail_with(error_of(failed))

    def _end_stopped(self) -> None:
        error = self._time_limit("Its task")
        if error is not None:
            self._fail_with(error)
            return
        self._rows.record(self._progress.stop(self._supervision.elapsed_s, None))
        self._settle_as("cancelled", "cancelled")

    def _fail_with(self, error: Json) -> None:
        """Fail the runs that have not ended; the others stay what they are."""
        self._rows.record(self._progress.stop(self._supervision.elapsed_s, error))
        self._settle_as("failed", "failed")

    def _settle_as(self, status: Status, end: AttemptEnd) -> None:
        self._insist(self._write_rest)
        self._used(Usage(stored_bytes=self._insist(self._stored_bytes)))
        now = self._insist(lambda: self._rows.close_task(status, end))
        self._ended = f"{status}; its study is {now}"
        artifacts = self._context.artifacts
        if now in TERMINAL:
            runs = self._insist(lambda: self._store.studies.runs(self._study_id))
            drop_spent(artifacts, self._study_id, runs)
        elif self._resumed or self._supervision.elapsed_s > _NO_CHECKPOINT_S:
            drop_checkpoints(artifacts, self._study_id, self._claim.task.stem)

    def _used(self, usage: Usage) -> None:
        self._rows.used(usage)

    def _note_stored(self) -> None:
        self._insist(self._write_rest)
        self._used(Usage(stored_bytes=self._insist(self._row_bytes)))
        self._rows.note_usage()

    def _stored_bytes(self) -> int:
        """Count what this task stores: its weights, and rows."""
        files = self._context.artifacts.job(self._study_id).list()
        return files.get(weights_file(self._claim.task.stem), 0) + self._row_bytes()

    def _row_bytes(self) -> int:
        """Count the bytes of the rows that the runs did not have when they came."""
        rows = self._store.studies.num_rows(self._study_id, self._claim.task.runs)
        total = 0
        for run, layouts in self._layouts.items():
            for kind, layout in layouts.items():
                before = -(-self._came_at.get(run, 0) // layout.every)
                total += num_bytes(layout, max(0, rows[run][kind] - before))
        return total

    def _write_rest(self) -> None:
        self._rows.write_rest()

    def _look_up(self) -> None:
        self._store.studies.get(self._study_id)
