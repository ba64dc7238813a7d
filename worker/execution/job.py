"""One attempt at a job: from the claim to the close.

The trainer trains; this side hears it and writes the ending. What all executions have in common is
in `worker.execution.execution`.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from core.jobs import AttemptEnd, Outcome, Status, Usage
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
from core.messages.requests import TrainJob
from core.specs.base import Json
from core.specs.job import JobSpec
from core.store.calls.codec import Prepacked
from core.store.history.layout import Columns, HistoryKind
from core.store.protocols.types import Claim
from worker.execution.context import ExecutionContext
from worker.execution.diagnosis import (
    LIMIT_S,
    LiveDiagnosis,
    Run,
    diagnosis,
    question,
    stored_run,
    tries_a_remedy,
)
from worker.execution.process_use import Sampler, process_use
from worker.execution.progress import JobProgress
from worker.execution.supervision import Last
from worker.execution.training import Training, error_of
from worker.reporting.job import Append, JobRows

log = logging.getLogger("thalweg.worker")


class JobExecution(Training[Claim]):
    """Runs one claim in the trainer and closes it. Used once."""

    def __init__(self, claim: Claim, context: ExecutionContext) -> None:
        super().__init__(claim.job.id, claim.job.id, claim, context)
        self._job = claim.job
        self._store = context.store
        self._device = context.device(claim.job.spec["device"])
        self._rows = JobRows(
            context.store,
            claim,
            lost=lambda: context.line.mailbox.put("lost"),
            resumed=self._resumed,
        )
        self._closing.callback(self._rows.close)
        self._progress = JobProgress(claim.job)
        self._live = LiveDiagnosis(claim.job, self._rows)
        self._measured: Json | None = None
        self._examined: Json | None = None
        self._foreseen: tuple[Concluded, Prepacked] | None = None
        """A result that came before its last files were on the disk, and its diagnosis."""
        self._sampler = Sampler(lambda: process_use(context.line.client.pid))

    def _least_need(self) -> int:
        return self._claim.memory_bytes

    def _begin(self) -> TrainJob:
        self._rows.set(device=self._device)
        return TrainJob(
            job_id=self._job.id,
            spec=self._job.spec,
            artifacts=self._context.settings.artifacts_location,
            device=self._device,
            resume=self._resumed,
            stored_rows=self._stored_rows() if self._resumed else None,
            run=self._context.line.run,
        )

    def _stored_rows(self) -> dict[HistoryKind, int]:
        """Return how far the rows of former attempts got: no checkpoint beyond them may be
        resumed."""

        def num_rows(kind: HistoryKind) -> int:
            return self._insist(lambda: self._store.history_meta(self._job.id, kind).num_rows)

        found = {kind: num_rows(kind) for kind in self._claim.layouts}
        self._rows.found(found)
        return found

    # --- while it trains

    def _start_writing(self) -> None:
        self._rows.start()

    def _stop_writing(self) -> None:
        self._rows.seal()
        self._rows.check()

    def _report(self, report: JobReport | TaskReport) -> None:
        match report:
            case HistoryRows(kind, first_row, columns, times):
                self._rows.add(kind, first_row, columns, times)
                self._sampler.came(times)
            case Progress():
                self._progress.advance(report)
                self._sampler.device = report.device_percent, report.device_memory_bytes
                self._rows.set(
                    progress=self._progress.progress(report.steps_per_s),
                    latest=self._progress.latest,
                    best=self._progress.best,
                )
                self._live.look(report.initial_loss, self._examined)
            case PhaseBegun(name):
                self._sampler.enter(name)
                self._rows.set(phase=name)
            case DataLoaded(data, examined):
                self._rows.set(data=data)
                self._examined = examined
            case Settled(spec, resolved):
                self._job = replace(self._job, spec=spec, resolved=resolved)
                self._live = LiveDiagnosis(self._job, self._rows)
                self._rows.set(spec=spec, resolved=resolved)
            case Restarted(detail):
                self._rows.tell("restarted", detail)
            case Concluded():
                self._foresee(report)
            case SavedCheckpoint():
                self._progress.save(report)
                self._note_checkpoints()
                if report.name == "kept":
                    self._rows.set(checkpoints_kept=self._supervision.kept)
            case Intervened():
                self._note_intervention(report)
            case RowsOfRuns() | PopulationProgress() | RunEnded() | RunFailed():
                super()._report(report)
            case _:
                assert_never(report)

    def _note_intervention(self, report: Intervened) -> None:
        for kind, num_rows in (report.rewound or {}).items():
            self._rows.rewind(kind, num_rows, report.interventions)
        self._progress.drop(report.dropped)
        self._rows.set(interventions=report.interventions)
        self._note_checkpoints()

    def _note_checkpoints(self) -> None:
        """Note the checkpoints that there are, and before them what is stored: whoever dies here
        says it no more."""
        self._note_stored()
        self._rows.set(checkpoints=self._progress.checkpoints)

    def _foresee(self, concluded: Concluded) -> None:
        """Make the diagnosis of the history while the trainer waits for the disk; not where it
        reads or asks for more than is at hand."""
        if self._job.spec["diagnose"] != "history" or tries_a_remedy(self._job):
            return
        if self._rows.history("train") is None:
            return
        asked: list[JobSpec] = []

        def ask_later(specs: Sequence[JobSpec]) -> Sequence[Json | None]:
            asked.extend(specs)
            return [None] * len(specs)

        ended = self._job, concluded.outcome, concluded.result
        found = diagnosis(Run(*ended, self._rows.history, self._examined), take=ask_later)
        if not asked:
            self._foreseen = concluded, Prepacked.of(found)

    def _watch(self) -> None:
        row = self._sampler.sample()
        if row is not None:
            self._rows.sample(row)

    def _after(self, last: Last) -> Last:
        """Have what a full diagnosis wants to know of the weights measured after training. A
        failure here, or the limit on its time, costs the job nothing but this knowledge; a cancel
        or a shutdown ends it like any other part of the job."""
        if not isinstance(last, Ending) or not self._is_to_be_measured(last):
            return last
        self._rows.set(phase="diagnosing")
        self._supervision.allow(LIMIT_S)
        self._supervision.keep_nothing()  # the training's result is in our hands
        answer = self._ask(
            question(
                self._job,
                artifacts=self._context.settings.artifacts_location,
                device=self._device,
                checkpoint="final",
                train_s=last.result["train_s"],
                run=self._context.line.run,
            )
        )
        match answer, self._supervision.stopping:
            case "lost", _:
                return "lost"
            case _, "cancel":
                return replace(last, reason="cancelled")
            case _, "hand_over" | "pause":
                return replace(last, reason="handed_over")
            case Measured(measured), None:
                self._measured = measured
            case _:
                log.error("%s: its weights were not measured", self._job.id)
                if isinstance(answer, Failed) and answer.fatal:
                    self._context.line.client.stop()
        return last

    def _is_to_be_measured(self, last: Ending) -> bool:
        finished = last.reason == "finished" and self._supervision.stopping is None
        return finished and self._job.spec["diagnose"] == "full"

    # --- once it is over

    def _end(self, answer: Ending | TaskEnding | Measured) -> None:
        assert isinstance(answer, Ending)
        self._progress.finish(answer)
        if answer.reason == "finished":
            self._succeed(answer)
        else:
            self._stop(answer.result or None)

    def _succeed(self, ending: Ending) -> None:
        found: Json | Prepacked | None = None
        if self._foreseen is not None and self._foreseen[0] == Concluded(
            ending.outcome, ending.result
        ):
            found = self._foreseen[1]
        elif self._job.spec["diagnose"] != "off":
            ended = self._job, ending.outcome, ending.result
            run = Run(*ended, self._history, self._examined)
            parent = self._parent if tries_a_remedy(self._job) else None
            take = self._first_steps(self._job, self._device)
            made = found = diagnosis(run, self._measured, parent, take)
            if self._job.spec["diagnose"] == "full":
                made.setdefault("measured", None)
        self._settle_as(
            "succeeded",
            "finished",
            outcome=ending.outcome,
            result=ending.result,
            diagnosis=found,
        )

    def _fail(self, failed: Failed) -> None:
        self._settle_as("failed", "failed", error=error_of(failed), result=self._partial_result())

    def _end_stopped(self) -> None:
        self._stop(self._partial_result())

    def _stop(self, result: Json | None) -> None:
        """Write the end of a run that was stopped: by a cancel, or by the limit on its time."""
        error = self._time_limit("The job")
        if error is not None:
            self._settle_as("failed", "failed", error=error, result=result)
        else:
            self._settle_as("cancelled", "cancelled", result=result)

    def _settle_as(
        self,
        status: Status,
        end: AttemptEnd,
        *,
        outcome: Outcome | None = None,
        result: Json | None = None,
        **fields: object,
    ) -> None:
        if result is not None:
            self._progress.step = result["num_steps"]
        self._note_stored()
        last = {
            "phase": None,
            "diagnosis": None,  # a live one says nothing of how the job ended
            "progress": self._progress.progress(None),
            "best": self._progress.best,
            "result": result,
            "checkpoints": self._progress.checkpoints,
        }

        def close(rows: list[Append], waiting: Json) -> Status:
            if samples := waiting.pop("samples", ()):
                self._store.update(self._claim, {}, samples=samples)
            return self._store.close(
                self._claim,
                status,
                end,
                outcome=outcome,
                fields={**waiting, **last, **fields},
                rows=rows,
                times=self._rows.times,
                num_rows=self._rows.num_rows,
            )

        now = self._insist(lambda: self._rows.finish(close))
        self._ended = now if outcome is None else f"{now}, {outcome}"

    def _hand_over(self, result: Json | None = None) -> None:
        if result is not None:
            self._progress.step = result["num_steps"]
            self._rows.set(progress=self._progress.progress(None))
        super()._hand_over(result or self._partial_result())

    def _used(self, usage: Usage) -> None:
        self._rows.used(usage)

    def _note_stored(self) -> None:
        saved = sum(each["size_bytes"] for each in self._progress.checkpoints)
        self._rows.used(Usage(stored_bytes=saved + self._rows.num_bytes))

    def _write_rest(self) -> None:
        self._rows.finish(self._write)

    def _write(self, rows: list[Append], fields: Json) -> None:
        samples = fields.pop("samples", ())
        if rows or fields or samples:
            times = self._rows.times
            self._store.update(self._claim, fields, rows=rows, times=times, samples=samples)

    def _look_up(self) -> None:
        self._store.get(self._job.id)

    # --- what its diagnosis reads

    def _history(self, kind: HistoryKind) -> Columns | None:
        columns = self._rows.history(kind)
        if columns is None:
            self._insist(self._write_rest)
            columns = self._insist(lambda: self._store.read_columns(self._job.id, kind))
        return columns if columns and len(columns["step"]) else None

    def _parent(self) -> Run:
        """Read the parent. Raises `NotFoundError` when it has been deleted."""
        assert self._job.parent_id is not None
        parent_id = self._job.parent_id
        return self._insist(lambda: stored_run(self._store, parent_id))

    def _partial_result(self) -> Json | None:
        return self._progress.partial_result(self._supervision.elapsed_s)
