"""State of a task: what it knows of its runs, which is rows that have left, endings, weights,
targets reached."""

from collections.abc import Mapping, Sequence
from typing import assert_never

import numpy as np

from core.messages.parts import Kind, Reached, TaskWeights
from core.messages.reports import PopulationProgress, RowsOfRuns, RunEnded, RunFailed, TaskReport
from core.specs.base import Json
from core.specs.direction import sign_of
from core.train.events import Emit
from core.train.fused.checkpoint.weights import StackedWeights
from core.train.fused.events import (
    RowBatch,
    RunEnding,
    RunOver,
    RunPaused,
    RunRewound,
    RunWeights,
    StackEvent,
)
from core.train.tensors.tree import Tree

# The moments when runs first reach what a study asks for.


class Target:
    """Looks for the first recorded row, or evaluation, at which a metric is as good as wanted.

    Args:
        wanted: `name` (`loss` or `eval.<metric>`), `goal` (`min` or `max`), `target`; None, or
            without a target: nothing is looked for.

    Attributes:
        reached: `{"step", "seconds"}` by run; the seconds are its share of the time until then.
    """

    def __init__(self, wanted: Json | None) -> None:
        name = "" if wanted is None or wanted.get("target") is None else str(wanted["name"])
        kind, _, metric = name.rpartition(".")
        self._kind: Kind = "eval" if kind else "train"
        self._metric = metric
        self._sign = sign_of(None if wanted is None else wanted.get("goal"))
        self._limit = self._sign * float(wanted["target"]) if name and wanted else -np.inf
        self.reached: dict[int, Reached] = {}

    def look(self, batch: RowBatch) -> None:
        """Look at rows in their order."""
        if not self._metric or batch.kind != self._kind or self._metric not in batch.columns:
            return
        hits = self._sign * batch.columns[self._metric] <= self._limit
        for place in np.flatnonzero(hits.any(1)).tolist():
            run = batch.runs[place]
            if run not in self.reached:
                row = int(hits[place].argmax())
                step = int(batch.columns["step"][place, row])
                seconds = float(batch.share_s[place, row])
                self.reached[run] = {"step": step, "seconds": seconds}


class TaskState:
    """Takes the engine's events, and passes them on as a task's reports.

    Attributes:
        kept: the weights of the runs that have ended or paused, by their place in the task.
        target: when they reached what the study asks for.
    """

    def __init__(self, runs: Sequence[int], emit: Emit[TaskReport], wanted: Json | None) -> None:
        """Set up the state. `runs`: the task's, by their indices in the study; `wanted`: as
        `Target` takes it."""
        self._places = {run: place for place, run in enumerate(runs)}
        self._runs = list(runs)
        self._emit = emit
        self.kept = StackedWeights(len(runs))
        self.target = Target(wanted)
        self._num_rows: dict[int, dict[Kind, int]] = {}
        self._taken_back: set[tuple[int, str]] = set()
        self._endings: list[RunEnded] = []
        self._failures: list[RunFailed] = []

    def emit(self, event: StackEvent) -> None:
        """Take an event of the engine."""
        match event:
            case RowBatch():
                self._pass_on(event)
            case RunRewound(run, rows):
                self._num_rows[run] = dict(rows)
                self._taken_back |= {(run, kind) for kind in rows}
            case PopulationProgress():
                self._emit(event)
            case RunPaused(run, weights):
                self.kept.keep(self._places[run], weights)
            case RunOver(ending, weights):
                self._end(ending, weights)
            case RunFailed():
                self._failures.append(event)
                self._emit(event)
            case _:
                assert_never(event)

    def _pass_on(self, batch: RowBatch) -> None:
        count, length = batch.columns["step"].shape
        self.target.look(batch)
        for run in batch.runs:
            held = self._num_rows.setdefault(run, {})
            held[batch.kind] = max(held.get(batch.kind, 0), batch.first_row + length)
        joined = {
            name: column.reshape(count * length, *column.shape[2:])
            for name, column in batch.columns.items()
        }
        truncate = (batch.runs[0], batch.kind) in self._taken_back
        self._taken_back.discard((batch.runs[0], batch.kind))
        first_rows, lengths = [batch.first_row] * count, [length] * count
        self._emit(
            RowsOfRuns(
                batch.kind, list(batch.runs), first_rows, lengths, joined, truncate,
                batch.times, batch.unit, batch.earlier_s,
            )
        )  # fmt: skip

    def _end(self, run: RunEnding, weights: RunWeights) -> None:
        ending = run.ending
        if ending.reason == "handed_over":
            return
        self.kept.keep(self._places[run.run], weights)
        ended = RunEnded(
            run.run,
            ending.reason,
            ending.outcome,
            ending.result,
            ending.best,
            run.fused,
            run.share_s,
            self.target.reached.get(run.run),
        )
        self._endings.append(ended)
        self._emit(ended)

    def weights(self, file: str, places: Mapping[int, int]) -> TaskWeights:
        """Return where the kept weights of each run are in the file."""
        return {
            "file": file,
            "rows": {self._runs[row]: place for row, place in places.items()},
            "steps": {self._runs[row]: self.kept.steps[row] for row in places},
        }

    def state(self) -> Tree:
        """Copy everything that the task must know to go on."""
        return {
            "kept": self.kept.state(),
            "reached": list(self.target.reached.items()),
            "num_rows": [[run, dict(held)] for run, held in self._num_rows.items()],
            "endings": [dict(vars(ended)) for ended in self._endings],
            "failures": [dict(vars(failed)) for failed in self._failures],
        }

    def load_state(self, tree: Tree) -> None:
        """Go on where `state` was taken; what had ended then is reported again."""
        self.kept.load_state(tree["kept"])
        self.target.reached = dict(tree["reached"])
        self._num_rows = {run: dict(held) for run, held in tree["num_rows"]}
        self._endings = [RunEnded(**fields) for fields in tree["endings"]]
        # A checkpoint of before runs could fail by themselves has none.
        self._failures = [RunFailed(**fields) for fields in tree.get("failures", [])]
        for ended in self._endings:
            self._emit(ended)
        for failed in self._failures:
            self._emit(failed)


def presumes(tree: Tree) -> dict[int, dict[Kind, int]]:
    """Return, by run, the rows of each history that had left when `TaskState.state` was taken."""
    return dict(tree["num_rows"])
