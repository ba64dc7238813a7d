"""Populations for tests, and a receiver that puts their events together."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, assert_never

import numpy as np

from core.messages.reports import Ending, PopulationProgress, RunFailed
from core.specs.job import JobSpec
from core.train.fused.events import (
    RowBatch,
    RunEnding,
    RunOver,
    RunPaused,
    RunRewound,
    RunWeights,
    StackEvent,
)
from core.train.fused.run import run
from tests.core.train.harness import Received, Trained, blobs_job, train

Json = dict[str, Any]
Kind = Literal["train", "eval"]


@dataclass
class Control:
    stop_requested: Literal["cancel", "hand_over"] | None = None
    dropped: Collection[int] = ()


@dataclass
class Gathered:
    """Histories by run, and what came with the endings."""

    received: dict[int, Received] = field(default_factory=dict)
    endings: dict[int, RunEnding] = field(default_factory=dict)
    weights: dict[int, RunWeights] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    progressed: list[tuple[int, int]] = field(default_factory=list)
    failures: dict[int, RunFailed] = field(default_factory=dict)

    def emit(self, event: StackEvent) -> None:
        match event:
            case RowBatch():
                self._rows(event)
            case RunRewound(run, rows):
                self.received.setdefault(run, Received()).intervened([], rows, ())
            case PopulationProgress(num_updates, num_running):
                self.progressed.append((num_updates, num_running))
            case RunPaused():
                raise AssertionError("a population pauses nowhere")
            case RunOver(ending, weights):
                self.order.append(ending.run)
                self.endings[ending.run] = ending
                self.weights[ending.run] = weights
            case RunFailed(run):
                self.failures[run] = event
            case _:
                assert_never(event)

    def _rows(self, batch: RowBatch) -> None:
        assert batch.share_s.shape == batch.columns["step"].shape
        for place, number in enumerate(batch.runs):
            assert number not in self.endings, "rows after the ending"
            columns = {name: column[place] for name, column in batch.columns.items()}
            received = self.received.setdefault(number, Received())
            received.rows(batch.kind, batch.first_row, columns)

    def column(self, run: int, name: str, kind: Literal["train", "eval"] = "train") -> list[Any]:
        return self.received[run].column(name, kind)


def blobs64(optimizer: Json | None = None, steps: int = 30, **rest: Any) -> JobSpec:
    """A job on blobs, in double precision."""
    return blobs_job(optimizer, steps, **{"precision": "float64", **rest})


def train_population(specs: Sequence[JobSpec], **options: Any) -> Gathered:
    gathered = Gathered()
    options.setdefault("control", Control())
    options.setdefault("device", "cpu")
    endings = run(specs, emit=gathered.emit, **options)
    assert [ending.run for ending in endings] == sorted(gathered.endings)
    return gathered


@dataclass(frozen=True)
class Tolerance:
    rtol: float
    atol: float

    def close(self, got: Any, wanted: Any, what: str) -> None:
        """Both are the same numbers, the same word, or both None."""
        if wanted is None or got is None or isinstance(wanted, str):
            assert got == wanted, what
            return
        one, other = np.asarray(got, float), np.asarray(wanted, float)
        np.testing.assert_allclose(one, other, self.rtol, self.atol, err_msg=what)


def assert_same_run(together: Gathered, number: int, alone: Trained, to: Tolerance) -> None:
    """Every row, evaluation, weight and result of a run is that of the run alone."""
    kinds: tuple[Kind, ...] = ("train", "eval")
    for kind in kinds:
        wanted = alone.events.histories[kind]
        assert sorted(together.received[number].histories[kind]) == sorted(wanted), kind
        for name in wanted[0] if wanted else ():
            got = together.column(number, name, kind)
            to.close(got, alone.column(name, kind), f"{kind} {name}")
    assert_same_ending(together.endings[number].ending, alone.ending, to)
    weights = together.weights[number]
    for which, states in (
        ("initial", weights.initial), ("best", weights.best), ("final", weights.final),
    ):  # fmt: skip
        if states is None:
            assert f"{which}.safetensors" not in alone.artifacts.list()
            continue
        wanted_weights = alone.weights(which)
        assert states.keys() == wanted_weights.keys()
        for name, value in wanted_weights.items():
            to.close(states[name].numpy(), value, f"{which} {name}")


def assert_same_ending(got: Ending, wanted: Ending, to: Tolerance) -> None:
    assert (got.reason, got.outcome) == (wanted.reason, wanted.outcome)
    assert got.result.keys() == wanted.result.keys()
    for name in ("num_steps", "num_parameters", "final_loss", "best_loss", "value"):
        to.close(got.result.get(name), wanted.result.get(name), name)
    parts: dict[str, tuple[Any, Any]] = {
        "best": (got.best, wanted.best),
        "eval": (got.result["eval"], wanted.result["eval"]),
    }
    for part, (mine, other) in parts.items():
        assert (mine is None) == (other is None), part
        for name in other or {}:
            to.close(mine[name], other[name], f"{part}.{name}")


def compare_with_alone(
    specs: Sequence[JobSpec], folder: Path, *, rtol: float = 1e-9, atol: float = 1e-11
) -> Gathered:
    """Train the specs together and one by one, and compare every number."""
    together = train_population(specs)
    for number, spec in enumerate(specs):
        alone = train(spec, folder / str(number))
        assert_same_run(together, number, alone, Tolerance(rtol, atol))
    return together
