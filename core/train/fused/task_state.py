"""What a task knows of its runs: rows that have left, endings, weights, targets reached."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from core.train.events import Columns
from core.train.fused.checkpoint.weights import StackedWeights
from core.train.fused.events import Kind, RowBatch, RunEnding, RunWeights
from core.train.tensors.tree import Tree

# When runs first reach what a study asks for.
Json = dict[str, Any]


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
        self._kind: Literal["train", "eval"] = "eval" if kind else "train"
        self._metric = metric
        self._sign = -1.0 if wanted is not None and wanted.get("goal") == "max" else 1.0
        self._limit = self._sign * float(wanted["target"]) if name and wanted else -np.inf
        self.reached: dict[int, Json] = {}

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


class TaskEvents(Protocol):
    """Where a task reports: cheap calls, from the thread that trains. Runs are named by their
    indices in the study."""

    def run_rows(
        self,
        kind: Kind,
        runs: list[int],
        first_rows: list[int],
        lengths: list[int],
        columns: Columns,
        *,
        truncate: bool = False,
    ) -> None:
        """Rows of several runs: `lengths[i]` rows of run `runs[i]` from `first_rows[i]` on. The
        columns hold them run after run. After a resume rows come again, the same to the bit.

        `truncate`: what is stored from these rows on is of steps that were taken back.
        """

    def population_progress(self, num_updates: int, num_running: int) -> None:
        """Updates that this task has made, in all its attempts; how many runs train."""

    def run_ended(self, fields: Json) -> None:
        """A run has ended: the fields of the frame `run_ended`. All its rows came before; after a
        resume it comes again."""

    def restarted(self, detail: str) -> None:
        """A checkpoint could not be read: what is gone on from instead, and why."""


class TaskState:
    """Takes the engine's events (satisfies `StackEvents`), and passes them on as a task's.

    Attributes:
        kept: the weights of the runs that have ended or paused, by their place in the task.
        target: when they reached what the study asks for.
    """

    def __init__(self, runs: Sequence[int], events: TaskEvents, wanted: Json | None) -> None:
        """`runs`: the task's, by their indices in the study; `wanted`: as `Target` takes it."""
        self._places = {run: place for place, run in enumerate(runs)}
        self._runs = list(runs)
        self._events = events
        self.kept = StackedWeights(len(runs))
        self.target = Target(wanted)
        self._num_rows: dict[int, dict[str, int]] = {}
        self._taken_back: set[tuple[int, str]] = set()
        self._endings: list[Json] = []

    def rows(self, run: int, kind: Kind, first_row: int, columns: Columns) -> None:
        raise AssertionError("rows come in batches")

    def many_rows(self, batch: RowBatch) -> None:
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
        self._events.run_rows(
            batch.kind, list(batch.runs), first_rows, lengths, joined, truncate=truncate
        )

    def rewound(self, run: int, rows: dict[str, int]) -> None:
        self._num_rows[run] = dict(rows)
        self._taken_back |= {(run, kind) for kind in rows}

    def progress(self, num_updates: int, num_running: int) -> None:
        self._events.population_progress(num_updates, num_running)

    def ended(self, ending: RunEnding, weights: RunWeights) -> None:
        if ending.ending.reason == "handed_over":
            return
        self.kept.keep(self._places[ending.run], weights)
        fields = {
            "run": ending.run,
            "reason": ending.ending.reason,
            "outcome": ending.ending.outcome,
            "result": ending.ending.result,
            "best": ending.ending.best,
            "fused": ending.fused,
            "share_s": ending.share_s,
            "target": self.target.reached.get(ending.run),
        }
        self._endings.append(fields)
        self._events.run_ended(fields)

    def paused(self, run: int, weights: RunWeights) -> None:
        self.kept.keep(self._places[run], weights)

    def weights(self, file: str, places: Mapping[int, int]) -> Json:
        """`weights` of the frame `ended`: where each run's are in the file."""
        return {
            "file": file,
            "rows": {self._runs[row]: place for row, place in places.items()},
            "steps": {self._runs[row]: self.kept.steps[row] for row in places},
        }

    def state(self) -> Tree:
        """Copies of everything."""
        return {
            "kept": self.kept.state(),
            "reached": list(self.target.reached.items()),
            "num_rows": [[run, dict(held)] for run, held in self._num_rows.items()],
            "endings": [dict(fields) for fields in self._endings],
        }

    def load_state(self, tree: Tree) -> None:
        """Go on where `state` was taken; what had ended then is reported again."""
        self.kept.load_state(tree["kept"])
        self.target.reached = dict(tree["reached"])
        self._num_rows = {run: dict(held) for run, held in tree["num_rows"]}
        self._endings = list(tree["endings"])
        for fields in self._endings:
            self._events.run_ended(fields)


def presumes(tree: Tree) -> dict[int, dict[str, int]]:
    """The rows of each history that had left when `TaskState.state` was taken, by run."""
    return dict(tree["num_rows"])
