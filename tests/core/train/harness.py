"""Small jobs for the training loop's tests, and a receiver that puts a run's events together."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, assert_never

import numpy as np
from safetensors.numpy import load

from core.artifacts.local import LocalJob
from core.messages.parts import BestAt, Columns, LossAt
from core.messages.reports import (
    Concluded,
    DataLoaded,
    Ending,
    HistoryRows,
    Intervened,
    PhaseBegun,
    Progress,
    Restarted,
    SavedCheckpoint,
    Settled,
)
from core.specs.job import JobSpec
from core.train.checkpoint.writer import WriterThreads
from core.train.events import CheckpointRequests, Control, RunEvent
from core.train.loop import run

Json = dict[str, Any]
JOB = "job_01k2b3c4d5e6f7g8h9jkmnpqrs"
Kind = Literal["train", "eval"]
Request = Literal["cancel", "hand_over"]


def folded(times: list[list[float]], added: list[list[float]]) -> list[list[float]]:
    """The times that hold once those `added` have come, as `core.messages.parts` says."""
    for step, seconds in added:
        times = [*(time for time in times if time[0] < step), [step, seconds]]
    return times


@dataclass
class Received:
    """Events as a store would keep them: rows by index, so that a row that comes again replaces."""

    histories: dict[str, dict[int, dict[str, Any]]] = field(
        default_factory=lambda: {"train": {}, "eval": {}}
    )
    batches: list[tuple[str, int, int]] = field(default_factory=list)
    progressed: list[tuple[int, float | None, LossAt | None, BestAt | None]] = field(
        default_factory=list
    )
    began_at: list[float | None] = field(default_factory=list)
    """The initial loss of each progress report."""
    phases: list[str] = field(default_factory=list)
    checkpoints: list[SavedCheckpoint] = field(default_factory=list)
    interventions: list[Json] = field(default_factory=list)
    restarts: list[str] = field(default_factory=list)
    concluded: list[Concluded] = field(default_factory=list)
    times: list[list[float]] = field(default_factory=list)
    data: Json | None = None
    examined: Json | None = None

    def emit(self, event: RunEvent | Settled) -> None:
        match event:
            case HistoryRows(kind, first_row, columns, times):
                self.rows(kind, first_row, columns)
                self.times = folded(self.times, times)
            case Progress(step, steps_per_s, latest, best, initial_loss):
                self.began_at.append(initial_loss)
                self.progress(step, steps_per_s, latest, best)
            case PhaseBegun(name):
                self.phase(name)
            case DataLoaded(data, examined):
                self.data, self.examined = data, examined
            case Settled(spec, resolved):
                self.settled(spec, resolved)
            case SavedCheckpoint():
                self.checkpoint(event)
            case Intervened(interventions, rewound, dropped):
                self.intervened(interventions, rewound, dropped)
            case Restarted(detail):
                self.restarts.append(detail)
            case Concluded():
                self.concluded.append(event)
            case _:
                assert_never(event)

    def rows(self, kind: Kind, first_row: int, columns: Columns) -> None:
        count = len(columns["step"])
        self.batches.append((kind, first_row, count))
        for row in range(count):
            values = {name: column[row].tolist() for name, column in columns.items()}
            self.histories[kind][first_row + row] = values

    def progress(
        self, step: int, steps_per_s: float | None, latest: LossAt | None, best: BestAt | None
    ) -> None:
        self.progressed.append((step, steps_per_s, latest, best))

    def settled(self, spec: Json, resolved: Json) -> None:
        raise AssertionError("the loop settles nothing")

    def phase(self, name: str) -> None:
        self.phases.append(name)

    def checkpoint(self, saved: SavedCheckpoint) -> None:
        self.checkpoints.append(saved)

    def intervened(
        self, interventions: list[Json], rewound: dict[Kind, int] | None, dropped: tuple[str, ...]
    ) -> None:
        self.interventions = [dict(entry) for entry in interventions]
        for kind, num_rows in (rewound or {}).items():
            rows = self.histories[kind]
            self.histories[kind] = {row: rows[row] for row in rows if row < num_rows}
        self.checkpoints = [saved for saved in self.checkpoints if saved.path not in dropped]

    def column(self, name: str, kind: Kind = "train") -> list[Any]:
        rows = self.histories[kind]
        assert sorted(rows) == list(range(len(rows))), "a row index is missing"
        return [rows[index][name] for index in range(len(rows))]


class StopAt:
    """Asks to stop before the step `reads` (the loop asks once before each step)."""

    dropped: tuple[int, ...] = ()

    def __init__(self, request: Request | None = None, reads: int = 0) -> None:
        self._request = request
        self._left = reads

    @property
    def stop_requested(self) -> Request | None:
        self._left -= 1
        return self._request if self._left < 0 else None


@dataclass(frozen=True)
class Trained:
    ending: Ending
    events: Received
    artifacts: LocalJob

    def column(self, name: str, kind: Kind = "train") -> list[Any]:
        return self.events.column(name, kind)

    def weights(self, name: str = "final") -> dict[str, np.ndarray[Any, Any]]:
        return load(self.artifacts.read(f"{name}.safetensors"))


@cache
def writer_threads() -> WriterThreads:
    """One set for all runs, as in a trainer."""
    return WriterThreads()


def train(
    spec: JobSpec,
    folder: Path,
    *,
    control: Control | None = None,
    events: Received | None = None,
    resume: bool = False,
    stored_rows: dict[Kind, int] | None = None,
    block_size: int | None = None,
    asked: CheckpointRequests | None = None,
    clock: Callable[[], float] = perf_counter,
) -> Trained:
    artifacts = LocalJob(folder, JOB)
    received = events or Received()
    ending = run(
        spec,
        artifacts=artifacts,
        emit=received.emit,
        control=control or StopAt(),
        resume=resume,
        stored_rows=stored_rows,
        device="cpu",
        block_size=block_size,
        asked=asked,
        clock=clock,
        threads=writer_threads(),
    )
    return Trained(ending, received, artifacts)


def function_job(
    expression: str,
    start: Json,
    optimizer: Json,
    max_steps: int | None = 10,
    **rest: Any,
) -> JobSpec:
    """Minimize an expression; resolved, float64."""
    function = {"kind": "expression", "expression": expression}
    body = {
        "problem": {"kind": "function", "function": function, "start": start},
        "optimizer": optimizer,
        "batch_size": "full",
        "precision": "float64",
        "device": "cpu",
        "budget": {"max_steps": max_steps},
        **rest,
    }
    return JobSpec.model_validate_json(json.dumps(body))


def parabola(lr: float, max_steps: int | None = 10, start: float = 10.0, **rest: Any) -> JobSpec:
    """x² by gradient descent: x_k = (1 − 2η)^k · x_0."""
    return function_job("x**2", {"x": start}, {"kind": "sgd", "lr": lr}, max_steps, **rest)


def blobs_job(
    optimizer: Json | None = None,
    max_steps: int | None = 12,
    *,
    eval_fraction: float = 0.25,
    model: Json | None = None,
    **rest: Any,
) -> JobSpec:
    """A small classifier on 48 points in three clusters; resolved, float32."""
    generator = {"kind": "blobs", "num_samples": 48, "num_features": 4, "std": 2.0}
    data = {"kind": "synthetic", "generator": generator, "eval_fraction": eval_fraction}
    body = {
        "problem": {
            "kind": "supervised",
            "data": data,
            "model": model or {"kind": "mlp", "hidden": [6]},
            "loss": {"kind": "cross_entropy"},
        },
        "optimizer": optimizer or {"kind": "sgd", "lr": 0.1},
        "batch_size": 8,
        "precision": "float32",
        "device": "cpu",
        "budget": {"max_steps": max_steps},
        "record": {"every": 1, "eval_every": 5},
        **rest,
    }
    return JobSpec.model_validate_json(json.dumps(body))
