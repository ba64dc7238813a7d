"""Tasks of a study for tests: requests, a receiver of what they report, and ways to stop them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, assert_never

from safetensors.numpy import load

from core.artifacts.local import LocalJob
from core.formats import STORE
from core.messages.parts import Kind, Reached, TaskWeights
from core.messages.reports import (
    PopulationProgress,
    Restarted,
    RowsOfRuns,
    RunEnded,
    RunFailed,
    TaskEnding,
    TaskReport,
)
from core.messages.requests import TrainTask
from core.specs.job import JobSpec
from core.train.fused.checkpoint.writer import Pace
from core.train.fused.task import run_task
from tests.core.train.fused.harness import Control
from tests.core.train.harness import Received, folded

Json = dict[str, Any]
STUDY = "study_01k2b3c4d5e6f7g8h9jkmnpqrs"
KINDS: tuple[Kind, ...] = ("train", "eval")
ALWAYS = Pace(every_s=0.0, share=float("inf"))
"""Saved whenever the last checkpoint is written."""


@dataclass
class Reported:
    """What a task reported, by the runs' indices."""

    received: dict[int, Received] = field(default_factory=dict)
    endings: dict[int, RunEnded] = field(default_factory=dict)
    failures: dict[int, RunFailed] = field(default_factory=dict)
    batches: list[tuple[str, list[int]]] = field(default_factory=list)
    progressed: list[tuple[int, int]] = field(default_factory=list)
    restarts: list[str] = field(default_factory=list)
    times: dict[int, list[list[float]]] = field(default_factory=dict)
    """By unit."""
    timed: dict[int, tuple[int, float]] = field(default_factory=dict)
    """By run, its unit and what it had trained before."""

    def emit(self, event: TaskReport) -> None:
        match event:
            case RowsOfRuns():
                self._rows(event)
            case PopulationProgress(num_updates, num_running):
                self.progressed.append((num_updates, num_running))
            case RunEnded():
                json.dumps(vars(event))
                self.endings[event.run] = event
            case RunFailed(run):
                json.dumps(vars(event))
                self.failures[run] = event
            case Restarted(detail):
                self.restarts.append(detail)
            case _:
                assert_never(event)

    def _rows(self, rows: RowsOfRuns) -> None:
        self.batches.append((rows.kind, rows.runs))
        if rows.times:
            self.times[rows.unit] = folded(self.times.get(rows.unit, []), rows.times)
            for run, earlier_s in zip(rows.runs, rows.earlier_s, strict=True):
                self.timed[run] = rows.unit, earlier_s
        start = 0
        for run, first_row, length in zip(rows.runs, rows.first_rows, rows.lengths, strict=True):
            part = {name: column[start : start + length] for name, column in rows.columns.items()}
            received = self.received.setdefault(run, Received())
            if rows.truncate:
                received.intervened([], {rows.kind: first_row}, ())
            received.rows(rows.kind, first_row, part)
            start += length
        assert all(len(column) == start for column in rows.columns.values())

    def column(self, run: int, name: str, kind: Literal["train", "eval"] = "train") -> list[Any]:
        return self.received[run].column(name, kind)

    def target(self, run: int) -> Reached:
        """When a run that has ended reached its target."""
        reached = self.endings[run].target
        assert reached is not None
        return reached

    def num_rows(self) -> dict[int, dict[Kind, int]]:
        """As the request's `stored_rows`."""
        return {
            run: {kind: len(received.histories[kind]) for kind in KINDS}
            for run, received in self.received.items()
        }


def request(specs: Sequence[JobSpec], **fields: Any) -> TrainTask:
    """A run a spec, with indices that are not their places."""
    plain = TrainTask(
        study_id=STUDY,
        stem="1_0",
        artifacts="",
        device="cpu",
        stop_step=None,
        resume=False,
        stored_rows=None,
        base={},
        format=STORE,
        configurations=[spec.model_dump(mode="json") for spec in specs],
        runs=[[10 + place, place, spec.seed] for place, spec in enumerate(specs)],
        sources={},
        target=None,
        run=1,
    )
    return replace(plain, **fields)


def artifacts_in(folder: Path) -> LocalJob:
    return LocalJob(folder, STUDY)


@dataclass(frozen=True)
class Done:
    """A task that came to an answer."""

    ended: TaskEnding
    reported: Reported
    artifacts: LocalJob

    @property
    def places(self) -> TaskWeights:
        """Where its weights are."""
        assert self.ended.weights is not None
        return self.ended.weights

    def weights(self) -> dict[str, Any]:
        return load(self.artifacts.read(self.places["file"]))


def do_task(
    task: TrainTask,
    folder: Path,
    *,
    reported: Reported | None = None,
    control: Any = None,
    pace: Pace | None = None,
    **options: Any,
) -> Done:
    reported = reported or Reported()
    artifacts = artifacts_in(folder)
    ended = run_task(task, artifacts, reported.emit, control or Control(), pace=pace, **options)
    json.dumps(vars(ended))
    return Done(ended, reported, artifacts)


class Killed(BaseException):
    """The process is gone."""


class After:
    """Answers `request` (None: is killed) once it was asked `reads` times."""

    dropped: tuple[int, ...] = ()

    def __init__(self, reads: int, request: Literal["cancel", "hand_over"] | None = None) -> None:
        self._left = reads
        self._request = request

    @property
    def stop_requested(self) -> Literal["cancel", "hand_over"] | None:
        self._left -= 1
        if self._left >= 0:
            return None
        if self._request is None:
            raise Killed
        return self._request


def kill_and_resume(task: TrainTask, folder: Path, kills: Sequence[int], **options: Any) -> Done:
    """Do a task that is killed after so many looks at its control, again and again."""
    reported = Reported()
    for number, reads in enumerate(kills):
        attempt = replace(task, resume=number > 0, stored_rows=reported.num_rows())
        try:
            do_task(attempt, folder, reported=reported, control=After(reads), **options)
        except Killed:
            continue
        raise AssertionError("it was not killed")
    last = replace(task, resume=True, stored_rows=reported.num_rows())
    return do_task(last, folder, reported=reported, **options)


def assert_same_task(got: Done, wanted: Done) -> None:
    """Every row, ending and weight is the same to the bit, times apart."""
    assert got.reported.received.keys() == wanted.reported.received.keys()
    for run, received in wanted.reported.received.items():
        assert repr(got.reported.received[run].histories) == repr(received.histories), run
    assert got.reported.endings.keys() == wanted.reported.endings.keys()
    for run, ending in wanted.reported.endings.items():
        assert repr(timeless(vars(got.reported.endings[run]))) == repr(timeless(vars(ending))), run
    assert repr(timeless(vars(got.ended))) == repr(timeless(vars(wanted.ended)))
    if wanted.ended.weights is not None:
        one, other = (
            {name: (array.shape, array.tobytes()) for name, array in done.weights().items()}
            for done in (got, wanted)
        )
        assert one == other


def timeless(value: Any) -> Any:
    """The value without the times in it."""
    if isinstance(value, dict):
        times = ("train_s", "share_s", "seconds")
        return {key: timeless(part) for key, part in value.items() if key not in times}
    return value
