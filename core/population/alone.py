"""A run that is not fused: the single run's own loop, behind the population's interface."""

from collections.abc import Iterable
from time import perf_counter

import torch
from torch import Tensor

from core.artifacts.base import Buffer, JobArtifacts, OpenArtifact, Stored
from core.population.events import (
    PopulationControl,
    PopulationEvents,
    RunEnding,
    RunWeights,
)
from core.spec.job import JobSpec
from core.train.events import Columns, Ending, Json, SavedCheckpoint
from core.train.loop import run as run_single
from core.train.reporting import Clock
from core.train.tensor_file import parse

_JOB = "job_00000000000000000000000000"


class _Memory(JobArtifacts):
    """Model files kept in memory; resume checkpoints are not kept."""

    def __init__(self) -> None:
        super().__init__(_JOB)
        self.files: dict[str, bytes] = {}

    def write(self, name: str, pieces: Iterable[Buffer]) -> Stored:
        data = b"".join(bytes(piece) for piece in pieces)
        if "/" not in name:
            self.files[name] = data
        return Stored(name, len(data), "")

    def open(self, name: str) -> OpenArtifact:
        if name not in self.files:
            raise self._missing(name)
        data = self.files[name]
        return OpenArtifact(len(data), iter([data]), lambda: None)

    def exists(self, name: str) -> bool:
        return name in self.files

    def list(self) -> dict[str, int]:
        return {name: len(data) for name, data in sorted(self.files.items())}

    def delete(self, name: str) -> None:
        self.files.pop(name, None)

    def delete_all(self) -> None:
        self.files.clear()


class _Relay:
    """The single run's events, passed on under its number."""

    def __init__(self, run: int, events: PopulationEvents) -> None:
        self._run = run
        self._events = events

    def rows(self, kind: str, first_row: int, columns: Columns) -> None:
        self._events.rows(self._run, "train" if kind == "train" else "eval", first_row, columns)

    def progress(
        self, step: int, steps_per_s: float | None, latest: Json | None, best: Json | None
    ) -> None:
        self._events.progress(step, 1)

    def phase(self, name: str) -> None:
        return

    def checkpoint(self, saved: SavedCheckpoint) -> None:
        return

    def intervened(
        self, interventions: list[Json], rewound: dict[str, int] | None, dropped: tuple[str, ...]
    ) -> None:
        return


class _Control:
    """The population's control, for one of its runs."""

    def __init__(self, run: int, control: PopulationControl) -> None:
        self._run = run
        self._control = control

    @property
    def stop_requested(self) -> str | None:
        dropped = self._control.dropped
        if dropped and self._run in dropped:
            return "cancel"
        return self._control.stop_requested


def run_alone(
    spec: JobSpec,
    run: int,
    *,
    events: PopulationEvents,
    control: PopulationControl,
    device: torch.device,
    clock: Clock = perf_counter,
) -> RunEnding:
    """Train one run by core.train.loop.run; raises what that raises."""
    files = _Memory()
    began = clock()
    # It would be written for nothing: there is no resuming here.
    quiet = spec.model_copy(update={"checkpoint": spec.checkpoint.model_copy(
        update={"every_steps": None})})  # fmt: skip
    ending: Ending = run_single(
        quiet,
        artifacts=files,
        events=_Relay(run, events),
        control=_Control(run, control),  # type: ignore[arg-type]
        device=str(device),
        clock=clock,
    )
    ended = RunEnding(run, ending, False, clock() - began)
    events.ended(ended, _weights(files, ending))
    return ended


def _weights(files: _Memory, ending: Ending) -> RunWeights:
    held: dict[str, tuple[dict[str, Tensor], dict[str, str]]] = {
        name: parse(data) for name, data in files.files.items()
    }
    initial, metadata = held["initial.safetensors"]
    final, of_final = held.get("final.safetensors", held["initial.safetensors"])
    best = held.get("best.safetensors")
    kept = {k: v for k, v in metadata.items() if k not in ("step", "checkpoint", "spec")}
    return RunWeights(
        initial,
        None if best is None else best[0],
        final,
        -1 if best is None else int(best[1]["step"]),
        int(of_final["step"]),
        kept,
    )
