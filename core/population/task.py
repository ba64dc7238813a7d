"""A task of a study, from the fields of its frame to its endings."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal, Protocol

from core.artifacts.base import JobArtifacts
from core.population.events import PopulationControl, RowBatch, RunEnding, RunWeights
from core.population.files import weights_file
from core.population.kept import KeptWeights
from core.population.run import run
from core.spec.job import JobSpec
from core.train.events import Columns
from core.train.reporting import Clock

Json = dict[str, Any]
Kind = Literal["train", "eval"]


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
    ) -> None:
        """Rows of several runs: `lengths[i]` rows of run `runs[i]` from `first_rows[i]` on. The
        columns hold them run after run."""

    def population_progress(self, num_updates: int, num_running: int) -> None:
        """Updates that this task has made, in all its attempts; how many runs train."""

    def run_ended(self, fields: Json) -> None:
        """A run has ended: the fields of the frame `run_ended`. All its rows came before; after a
        resume it may come again."""


@dataclass(frozen=True)
class _Runs:
    """The runs of a task, by their place in it."""

    indices: list[int]
    specs: list[JobSpec]


def runs_of(job: Mapping[str, Any]) -> _Runs:
    """The task's runs; each configuration is parsed once, and its runs share the parts."""
    # From JSON: a spec is strict, and takes a list for a tuple from JSON only.
    specs = [JobSpec.model_validate_json(json.dumps(spec)) for spec in job["specs"]]
    indices = [int(index) for index, _, _ in job["runs"]]
    seeded = [specs[place].model_copy(update={"seed": seed}) for _, place, seed in job["runs"]]
    return _Runs(indices, seeded)


def run_task(
    job: Mapping[str, Any],
    artifacts: JobArtifacts,
    events: TaskEvents,
    control: PopulationControl,
    clock: Clock = perf_counter,
) -> Json:
    """Train the runs of a `population` frame; returns the fields of its `ended` frame.

    Args:
        job: `stem`, `device`, `specs`, `runs`, …
        artifacts: the study's.

    Raises:
        ArtifactError: the weights cannot be written.
        JobFailure: no such device, out of memory, data that does not load.
    """
    runs = runs_of(job)
    receiver = _Receiver(runs.indices, events)
    run(runs.specs, events=receiver, control=control, device=job["device"], clock=clock)
    request = control.stop_requested
    reason = "cancelled" if request == "cancel" else "handed_over" if request else "finished"
    weights = None
    if receiver.kept.steps and reason != "handed_over":
        name = weights_file(job["stem"])
        places = receiver.kept.write(artifacts, name)
        weights = {
            "file": name,
            "rows": {runs.indices[row]: place for row, place in places.items()},
            "steps": {runs.indices[row]: steps for row, steps in receiver.kept.steps.items()},
        }
    return {"reason": reason, "weights": weights, "paused": {}}


class _Receiver:
    """The population's events, passed on under the runs' indices."""

    def __init__(self, indices: Sequence[int], events: TaskEvents) -> None:
        self._indices = indices
        self._events = events
        self.kept = KeptWeights(len(indices))

    def rows(self, run: int, kind: Kind, first_row: int, columns: Columns) -> None:
        length = len(columns["step"])
        self._events.run_rows(kind, [self._indices[run]], [first_row], [length], columns)

    def many_rows(self, batch: RowBatch) -> None:
        count, length = batch.columns["step"].shape
        joined = {
            name: column.reshape(count * length, *column.shape[2:])
            for name, column in batch.columns.items()
        }
        indices = [self._indices[run] for run in batch.runs]
        first_rows, lengths = [batch.first_row] * count, [length] * count
        self._events.run_rows(batch.kind, indices, first_rows, lengths, joined)

    def progress(self, num_updates: int, num_running: int) -> None:
        self._events.population_progress(num_updates, num_running)

    def ended(self, ending: RunEnding, weights: RunWeights) -> None:
        if ending.ending.reason == "handed_over":
            return
        self.kept.keep(ending.run, weights)
        self._events.run_ended(
            {
                "run": self._indices[ending.run],
                "reason": ending.ending.reason,
                "outcome": ending.ending.outcome,
                "result": ending.ending.result,
                "best": ending.ending.best,
                "fused": ending.fused,
                "share_s": ending.share_s,
                "target": None,
            }
        )
