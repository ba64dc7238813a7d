"""What a worker knows of the runs of a task: their records as the trainer's reports change them.

The study's metric of each run, as its rows and its ending give it.

`loss` is of the training history and `eval.<column>` of the evaluations. At `final` it is what the
result says; at `best` it is the best of all recorded rows (the lowest for goal `min`, the highest
for `max`), NaN left aside as long as there is a number.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from core.jobs import Status
from core.store.history.layout import Columns, HistoryKind
from core.store.protocols.types import TaskClaim
from core.studies import RunRecord

Json = dict[str, Any]
_EVAL: Final = "eval."


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
        """Whether it cannot be told from a run's result alone."""
        self._series = name.removeprefix(_EVAL)
        self._better = np.fmin if metric["goal"] == "min" else np.fmax
        self._best: dict[int, float] = {}

    def go_on(self, run: int, so_far: float | None) -> None:
        """A run goes on; `so_far` is its metric until now."""
        if self.needs_rows and so_far is not None:
            self._offer(run, so_far)

    def look(
        self, kind: HistoryKind, runs: Sequence[int], lengths: Sequence[int], columns: Columns
    ) -> None:
        """Rows have come: `lengths[i]` of `runs[i]`, run after run. The same may come again."""
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
        """The best of these rows."""
        values = columns.get(self._series)
        return float(self._better.reduce(values)) if values is not None and len(values) else None

    def at_end(self, run: int, result: Json | None) -> float | None:
        """Of a run that ended with this result; None where it has none. May be non-finite."""
        if self.needs_rows:
            return self._best.get(run)
        result = result or {}
        return self._known(result.get("final_loss"), result.get("eval"))

    def at_rung(self, run: int, paused: Json) -> float | None:
        """Of a run that paused, so far: what was known there."""
        if self.needs_rows:
            return self._best.get(run)
        return self._known(paused.get("loss"), paused.get("eval"))

    def _known(self, loss: float | None, evaluation: Json | None) -> float | None:
        if self.kind == "train":
            return loss
        return (evaluation or {}).get(self._series)

    def _offer(self, run: int, value: float) -> None:
        self._best[run] = float(self._better(self._best.get(run, np.nan), value))


log = logging.getLogger("thalweg.worker")

ReadRows = Callable[[int, HistoryKind], Columns]
"""All stored rows of a run's history."""

OVERLOOKED: Final[Json] = {
    "code": "internal_error",
    "message": "A fault in the service; the worker's log has the details.",
    "param": None,
}


class TaskProgress:
    """The runs of one claimed task.

    Args:
        stored: their records as they are in the store, one for each of the task's runs.
    """

    def __init__(self, claim: TaskClaim, stored: Iterable[RunRecord]) -> None:
        self._claim = claim
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
    def unfinished(self) -> list[RunRecord]:
        """Those that have neither ended nor paused, as far as was heard."""
        return [
            run
            for run in self._records.values()
            if not run.terminal and run.index not in self._paused
        ]

    def question(self) -> Json:
        """The fields of a `population` frame that say what is to be trained."""
        params = {run.configuration: run.params for run in self._records.values()}
        places = {configuration: place for place, configuration in enumerate(params)}
        return {
            "base": self._claim.study.spec["base"],
            "format": self._claim.study.format,
            "configurations": list(params.values()),
            "runs": [
                [run.index, places[run.configuration], run.seed] for run in self._records.values()
            ],
            "sources": {
                run.index: run.paused["file"]
                for run in self._records.values()
                if run.paused is not None
            },
            "target": self._target,
        }

    @property
    def _target(self) -> Json | None:
        metric = self._claim.study.spec["metric"]
        return metric if metric["target"] is not None else None

    def go_on(self, read: ReadRows) -> None:
        """A former attempt has written rows. Those after its checkpoint come again, the same."""
        if not self._metric.needs_rows:
            return
        kind = self._metric.kind
        for run in self.unfinished:
            columns = read(run.index, kind)
            self._metric.look(kind, [run.index], [len(columns["step"])], columns)

    # --- what the trainer reports

    def look(
        self,
        kind: HistoryKind,
        runs: Sequence[int],
        lengths: Sequence[int],
        columns: Columns,
        *,
        truncate: bool = False,
    ) -> None:
        """Rows have come (as `TaskRows.add` takes them)."""
        if truncate and self._metric.needs_rows:
            self.rewound.update(runs)
        self._metric.look(kind, runs, lengths, columns)
        if kind != "train":
            return
        stop = 0
        for run, length in zip(runs, lengths, strict=True):
            stop += length
            if length:
                step, loss = columns["step"][stop - 1], columns["loss"][stop - 1]
                self._last_rows[run] = (int(step), float(loss))

    def end(self, fields: Json, error: Json | None = None) -> list[RunRecord]:
        """The records that a `run_ended` frame changes. `error`: of a run that did not end by
        itself, why it failed; without one it was cancelled."""
        run = self._records[fields["run"]]
        if run.terminal or fields["reason"] == "handed_over":
            return []  # a resumed attempt repeats what the former has reported
        ended = replace(
            run,
            result=fields["result"],
            best=fields["best"],
            share_s=fields["share_s"],
            fused=fields["fused"],
            target=fields.get("target"),
            paused=None,
        )
        if fields["reason"] != "finished":
            return self._keep([_stopped(ended, error)])
        metric = self._metric.at_end(run.index, fields["result"])
        outcome = fields["outcome"]
        # Weights that it has by now are of a rung: those of its end are written last.
        succeeded = replace(ended, status="succeeded", outcome=outcome, metric=metric, weights=None)
        return self._keep([succeeded])

    def pause(self, paused: Json) -> list[RunRecord]:
        """The records of runs that paused at the rung: `paused` of the `ended` frame."""
        records = []
        for index, known in paused.items():
            run = self._records[int(index)]
            self._paused.add(run.index)
            records.append(
                replace(
                    run,
                    status="queued",
                    best=known["best"],
                    share_s=known["share_s"],
                    target=known.get("target"),
                    metric=self._metric.at_rung(run.index, known),
                    paused={name: known[name] for name in ("step", "loss", "eval", "file")},
                )
            )
        return self._keep(records)

    def weigh(self, weights: Json | None) -> list[RunRecord]:
        """The records of runs whose weights were written: `weights` of the `ended` frame."""
        if weights is None:
            return []
        return self._keep(
            [
                replace(
                    self._records[int(index)],
                    weights={
                        "file": weights["file"],
                        "row": row,
                        "steps": weights["steps"][index],
                    },
                )
                for index, row in weights["rows"].items()
            ]
        )

    def recount(self, read: ReadRows) -> list[RunRecord]:
        """The records of runs that have `rewound`, whose rows are all stored by now."""
        records = []
        for index in self.rewound:
            columns = read(index, self._metric.kind)
            metric = self._metric.of_rows(columns)
            if self._records[index].metric is not None:
                records.append(replace(self._records[index], metric=metric))
        return self._keep(records)

    def stop(self, elapsed_s: float, error: Json | None) -> list[RunRecord]:
        """The records of those that did not come to an end: failed with `error`, or without one
        cancelled. They keep what was heard of them."""
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
        return {
            "final_loss": loss,
            "best_loss": None,
            "num_steps": step,
            "train_s": elapsed_s,
            "num_parameters": None,
            "eval": None,
        }

    def _keep(self, records: list[RunRecord]) -> list[RunRecord]:
        self._records.update((run.index, run) for run in records)
        return records


def _stopped(run: RunRecord, error: Json | None) -> RunRecord:
    """A metric belongs to an end, or to a rung, and this is neither."""
    status: Status = "cancelled" if error is None else "failed"
    return replace(run, status=status, error=error, metric=None, paused=None)
