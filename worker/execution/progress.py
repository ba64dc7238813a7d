"""The knowledge that a worker has of a job, or of the runs of a task, from what its trainer has
reported."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from core.jobs import JobRecord, Status
from core.messages.parts import BestAt, LossAt, PausedRun, Reached, TaskWeights
from core.messages.reports import Ending, Progress, RowsOfRuns, RunEnded, SavedCheckpoint
from core.specs.base import Json
from core.specs.direction import sign_of
from core.store.history.layout import Columns, HistoryKind
from core.store.protocols.types import TaskClaim
from core.studies import RunRecord

ReadRows = Callable[[int, HistoryKind], Columns]
"""Function that reads all stored rows of a run's history."""
_EVAL: Final = "eval."


class JobProgress:
    """The record's `progress`, `latest`, `best` and `checkpoints` as of the last report; at first
    as former attempts left them."""

    def __init__(self, job: JobRecord) -> None:
        self.step = int(job.progress.get("step") or 0)
        self.latest = job.latest
        self.best = job.best
        self.initial_loss: float | None = None
        self._max_steps = job.progress.get("max_steps")
        self._checkpoints: dict[str, Json] = {saved["path"]: saved for saved in job.checkpoints}

    def advance(self, report: Progress) -> None:
        """Take a report of how far the job is."""
        self.step, self.latest, self.best = report.step, _json(report.latest), _json(report.best)
        self.initial_loss = report.initial_loss

    def finish(self, ending: Ending) -> None:
        """Take the trainer's answer."""
        self.best = _json(ending.best)

    def save(self, saved: SavedCheckpoint) -> None:
        """Take a saved checkpoint: a path that comes again replaces its entry, and those that were
        dropped for it go."""
        self.drop(saved.dropped)
        self._checkpoints[saved.path] = {
            name: value for name, value in vars(saved).items() if name != "dropped"
        }

    def drop(self, paths: Iterable[str]) -> None:
        """Forget these checkpoints, which are not there any more."""
        for path in paths:
            self._checkpoints.pop(path, None)

    @property
    def checkpoints(self) -> list[Json]:
        """The checkpoints in order of their step."""
        return sorted(self._checkpoints.values(), key=lambda saved: (saved["step"], saved["path"]))

    def progress(self, steps_per_s: float | None) -> Json:
        """Make the record's `progress`."""
        return {"step": self.step, "max_steps": self._max_steps, "steps_per_s": steps_per_s}

    def partial_result(self, train_s: float) -> Json | None:
        """Make the `result` of a run that could not say it itself; None when it had reported
        nothing."""
        if self.latest is None:
            return None
        best_loss = (self.best or {}).get("loss")
        first, last = self.initial_loss, self.latest["loss"]
        return partial_result(first, last, best_loss, self.step, train_s)


def partial_result(
    initial_loss: float | None,
    final_loss: float,
    best_loss: float | None,
    num_steps: int,
    train_s: float,
) -> Json:
    """Make the `result` of a run that was heard of, but not of its end."""
    return {
        "initial_loss": initial_loss,
        "final_loss": final_loss,
        "best_loss": best_loss,
        "num_steps": num_steps,
        "train_s": train_s,
        "num_parameters": None,
        "eval": None,
        "test": None,
    }


def _json(value: LossAt | BestAt | Reached | None) -> Json | None:
    """Convert a value to the form that records have."""
    return None if value is None else {**value}


class MetricWatch:
    """Follows the rows of a task's runs as far as the metric needs them.

    Args:
        metric: of the resolved study: `name`, `at`, `goal`.
    """

    def __init__(self, metric: Mapping[str, Any]) -> None:
        name: str = metric["name"]
        self.kind: HistoryKind = "eval" if name.startswith(_EVAL) else "train"
        """The history that the metric is in."""
        self.needs_rows: bool = metric["at"] == "best"
        """True where it cannot be told from a run's result alone."""
        self._series = name.removeprefix(_EVAL)
        self._better = np.fmin if sign_of(metric["goal"]) > 0 else np.fmax
        self._best: dict[int, float] = {}

    def go_on(self, run: int, so_far: float | None) -> None:
        """Note that a run goes on; `so_far` is its metric until now."""
        if self.needs_rows and so_far is not None:
            self._offer(run, so_far)

    def look(
        self, kind: HistoryKind, runs: Sequence[int], lengths: Sequence[int], columns: Columns
    ) -> None:
        """Look at new rows: `lengths[i]` of `runs[i]`, run after run. The same may come again."""
        if not self.needs_rows or kind != self.kind or self._series not in columns:
            return
        some = [(run, length) for run, length in zip(runs, lengths, strict=True) if length]
        if not some:
            return
        starts = np.cumsum([0, *(length for _, length in some[:-1])])
        found = self._better.reduceat(columns[self._series], starts)
        for (run, _), value in zip(some, found.tolist(), strict=True):
            self._offer(run, value)

    def of_rows(self, columns: Columns) -> float | None:
        """Return the best value of these rows."""
        values = columns.get(self._series)
        return float(self._better.reduce(values)) if values is not None and len(values) else None

    def at_end(self, run: int, result: Json | None) -> float | None:
        """Return the metric of a run that ended with this result; None where it has none. May be
        non-finite."""
        if self.needs_rows:
            return self._best.get(run)
        result = result or {}
        return self._known(result.get("final_loss"), result.get("eval"))

    def at_rung(self, run: int, loss: float | None, evaluation: Json | None) -> float | None:
        """Return the metric so far of a run that paused with this loss and evaluation."""
        if self.needs_rows:
            return self._best.get(run)
        return self._known(loss, evaluation)

    def _known(self, loss: float | None, evaluation: Json | None) -> float | None:
        if self.kind == "train":
            return loss
        return (evaluation or {}).get(self._series)

    def _offer(self, run: int, value: float) -> None:
        self._best[run] = float(self._better(self._best.get(run, np.nan), value))


class TaskProgress:
    """The runs of one claimed task.

    Args:
        stored: their records as they are in the store, one for each of the task's runs.
    """

    def __init__(self, claim: TaskClaim, stored: Iterable[RunRecord]) -> None:
        self._records = {run.index: run for run in stored}
        self._metric = MetricWatch(claim.study.spec["metric"])
        self._last_rows: dict[int, tuple[int, float]] = {}
        self._paused: set[int] = set()
        self.rewound: set[int] = set()
        """Runs whose metric follows from rows of which some were taken back: see `recount`."""
        for run in self.unfinished:
            if run.paused is not None:
                self._metric.go_on(run.index, run.metric)

    @property
    def runs(self) -> list[RunRecord]:
        """The records of all runs."""
        return list(self._records.values())

    @property
    def unfinished(self) -> list[RunRecord]:
        """The records of runs that have neither ended nor paused, as far as was heard."""
        return [
            run
            for run in self._records.values()
            if not run.terminal and run.index not in self._paused
        ]

    def go_on(self, read: ReadRows) -> None:
        """Read the rows that a former attempt has written. Those after its checkpoint come again,
        the same."""
        if not self._metric.needs_rows:
            return
        kind = self._metric.kind
        for run in self.unfinished:
            columns = read(run.index, kind)
            self._metric.look(kind, [run.index], [len(columns["step"])], columns)

    # --- what the trainer reports

    def look(self, rows: RowsOfRuns) -> None:
        """Look at rows that have come."""
        if rows.truncate and self._metric.needs_rows:
            self.rewound.update(rows.runs)
        self._metric.look(rows.kind, rows.runs, rows.lengths, rows.columns)
        if rows.kind != "train":
            return
        stop = 0
        for run, length in zip(rows.runs, rows.lengths, strict=True):
            stop += length
            if length:
                step, loss = rows.columns["step"][stop - 1], rows.columns["loss"][stop - 1]
                self._last_rows[run] = (int(step), float(loss))

    def end(self, ended: RunEnded, error: Json | None = None) -> list[RunRecord]:
        """Return the records that a run's end changes. `error`: of a run that did not end by
        itself, why it failed; without one it was cancelled."""
        run = self._records[ended.run]
        if run.terminal or ended.reason == "handed_over":
            return []  # a resumed attempt repeats what the former has reported
        reported: Json = {
            "result": ended.result,
            "best": _json(ended.best),
            "share_s": ended.share_s,
            "fused": ended.fused,
            "target": _json(ended.target),
            "paused": None,
        }
        if ended.reason != "finished":
            return self._keep([_stopped(replace(run, **reported), error)])
        metric = self._metric.at_end(run.index, ended.result)
        # Any weights of the record are those of a rung: those of the end are written last.
        succeeded = replace(
            run,
            status="succeeded",
            outcome=ended.outcome,
            metric=metric,
            weights=None,
            **reported,
        )
        return self._keep([succeeded])

    def fail(self, index: int, error: Json, *, fused: bool) -> list[RunRecord]:
        """Return the record of a run that could not be computed. It keeps what it has of a rung."""
        run = self._records[index]
        if run.terminal:
            return []  # as in `end`
        return self._keep([_stopped(replace(run, fused=fused), error)])

    def pause(self, paused: Mapping[int, PausedRun]) -> list[RunRecord]:
        """Return the records of runs that paused at the rung."""
        records = []
        for index, known in paused.items():
            run = self._records[index]
            self._paused.add(index)
            records.append(
                replace(
                    run,
                    status="queued",
                    best=_json(known["best"]),
                    share_s=known["share_s"],
                    target=_json(known["target"]),
                    metric=self._metric.at_rung(index, known["loss"], known["eval"]),
                    paused={
                        "step": known["step"],
                        "initial_loss": known["initial_loss"],
                        "loss": known["loss"],
                        "eval": known["eval"],
                        "file": known["file"],
                    },
                )
            )
        return self._keep(records)

    def weigh(self, weights: TaskWeights | None) -> list[RunRecord]:
        """Return the records of runs whose weights were written."""
        if weights is None:
            return []
        file, steps = weights["file"], weights["steps"]
        return self._keep(
            [
                replace(
                    self._records[index],
                    weights={"file": file, "row": row, "steps": steps[index]},
                )
                for index, row in weights["rows"].items()
            ]
        )

    def recount(self, read: ReadRows) -> list[RunRecord]:
        """Return the records of runs that have `rewound`, whose rows are all stored by now."""
        records = []
        for index in self.rewound:
            columns = read(index, self._metric.kind)
            metric = self._metric.of_rows(columns)
            if self._records[index].metric is not None:
                records.append(replace(self._records[index], metric=metric))
        return self._keep(records)

    def stop(self, elapsed_s: float, error: Json | None) -> list[RunRecord]:
        """Return the records of runs that did not come to an end: failed with `error`, or without
        one cancelled. They keep what was heard of them."""
        return self._keep(
            [
                _stopped(replace(run, result=self._partial_result(run.index, elapsed_s)), error)
                for run in self.unfinished
            ]
        )

    def _partial_result(self, index: int, elapsed_s: float) -> Json | None:
        if index not in self._last_rows:
            return None
        step, loss = self._last_rows[index]
        first = (self._records[index].paused or {}).get("initial_loss")
        return partial_result(first, loss, None, step, elapsed_s)

    def _keep(self, records: list[RunRecord]) -> list[RunRecord]:
        self._records.update((run.index, run) for run in records)
        return records


def _stopped(run: RunRecord, error: Json | None) -> RunRecord:
    """Return the record of a run that was stopped, without a metric, which belongs to an end, or to
    a rung, and this is neither."""
    status: Status = "cancelled" if error is None else "failed"
    return replace(run, status=status, error=error, metric=None, paused=None)
