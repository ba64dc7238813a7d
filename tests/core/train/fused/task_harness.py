"""Tasks of a study for tests: frames, a receiver of what they report, and ways to stop them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from safetensors.numpy import load

from core.artifacts.local import LocalJob
from core.specs.job import JobSpec
from core.train.events import Columns
from core.train.fused.checkpoint.writer import Pace
from core.train.fused.task import run_task
from tests.core.train.fused.harness import Control
from tests.core.train.harness import Received

Json = dict[str, Any]
STUDY = "study_01k2b3c4d5e6f7g8h9jkmnpqrs"
ALWAYS = Pace(every_s=0.0, share=float("inf"))
"""Saved whenever the last checkpoint is written."""


@dataclass
class Reported:
    """What a task reported, by the runs' indices."""

    received: dict[int, Received] = field(default_factory=dict)
    endings: dict[int, Json] = field(default_factory=dict)
    batches: list[tuple[str, list[int]]] = field(default_factory=list)
    progressed: list[tuple[int, int]] = field(default_factory=list)
    restarts: list[str] = field(default_factory=list)

    def run_rows(
        self,
        kind: Literal["train", "eval"],
        runs: list[int],
        first_rows: list[int],
        lengths: list[int],
        columns: Columns,
        *,
        truncate: bool = False,
    ) -> None:
        self.batches.append((kind, runs))
        start = 0
        for run, first_row, length in zip(runs, first_rows, lengths, strict=True):
            part = {name: column[start : start + length] for name, column in columns.items()}
            received = self.received.setdefault(run, Received())
            if truncate:
                received.intervened([], {kind: first_row}, ())
            received.rows(kind, first_row, part)
            start += length
        assert all(len(column) == start for column in columns.values())

    def population_progress(self, num_updates: int, num_running: int) -> None:
        self.progressed.append((num_updates, num_running))

    def run_ended(self, fields: Json) -> None:
        json.dumps(fields)
        self.endings[fields["run"]] = fields

    def restarted(self, detail: str) -> None:
        self.restarts.append(detail)

    def column(self, run: int, name: str, kind: Literal["train", "eval"] = "train") -> list[Any]:
        return self.received[run].column(name, kind)

    def num_rows(self) -> dict[str, dict[str, int]]:
        """As the frame's `stored_rows`."""
        return {
            str(run): {kind: len(rows) for kind, rows in received.histories.items()}
            for run, received in self.received.items()
        }


def frame(specs: Sequence[JobSpec], **fields: Any) -> Json:
    """A run a spec, with indices that are not their places."""
    return {
        "stem": "1_0",
        "device": "cpu",
        "base": {},
        "configurations": [spec.model_dump(mode="json") for spec in specs],
        "runs": [[10 + place, place, spec.seed] for place, spec in enumerate(specs)],
        **fields,
    }


def artifacts_in(folder: Path) -> LocalJob:
    return LocalJob(folder, STUDY)


@dataclass(frozen=True)
class Done:
    """A task that came to an answer."""

    ended: Json
    reported: Reported
    artifacts: LocalJob

    def weights(self) -> dict[str, Any]:
        return load(self.artifacts.read(self.ended["weights"]["file"]))


def do_task(
    job: Json,
    folder: Path,
    *,
    reported: Reported | None = None,
    control: Any = None,
    pace: Pace | None = None,
    **options: Any,
) -> Done:
    reported = reported or Reported()
    artifacts = artifacts_in(folder)
    wire = json.loads(json.dumps(job))
    ended = run_task(wire, artifacts, reported, control or Control(), pace=pace, **options)
    json.dumps(ended)
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


def kill_and_resume(job: Json, folder: Path, kills: Sequence[int], **options: Any) -> Done:
    """Do a task that is killed after so many looks at its control, again and again."""
    reported = Reported()
    for number, reads in enumerate(kills):
        attempt = {**job, "resume": number > 0, "stored_rows": reported.num_rows()}
        try:
            do_task(attempt, folder, reported=reported, control=After(reads), **options)
        except Killed:
            continue
        raise AssertionError("it was not killed")
    last = {**job, "resume": True, "stored_rows": reported.num_rows()}
    return do_task(last, folder, reported=reported, **options)


def assert_same_task(got: Done, wanted: Done) -> None:
    """Every row, ending and weight is the same to the bit, times apart."""
    assert got.reported.received.keys() == wanted.reported.received.keys()
    for run, received in wanted.reported.received.items():
        assert repr(got.reported.received[run].histories) == repr(received.histories), run
    assert got.reported.endings.keys() == wanted.reported.endings.keys()
    for run, ending in wanted.reported.endings.items():
        assert repr(timeless(got.reported.endings[run])) == repr(timeless(ending)), run
    assert repr(timeless(got.ended)) == repr(timeless(wanted.ended))
    if wanted.ended["weights"] is not None:
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
