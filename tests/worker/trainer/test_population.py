"""A trainer's answer to a task's request, with its own engine."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from core.artifacts.local import LocalStore
from core.formats import STORE
from core.ids import STUDY_PREFIX, new_id
from core.messages.parts import Kind
from core.messages.reports import Failed, PopulationProgress, RowsOfRuns, RunEnded, TaskEnding
from core.messages.requests import Cancel, HandOver, TrainTask
from tests.core.train.fused.harness import train_population
from tests.core.train.harness import blobs_job
from worker.trainer.client import Heard, TrainerClient, TrainerDied

Json = dict[str, Any]


@pytest.fixture(scope="module")
def trainer() -> Iterator[TrainerClient]:
    link = TrainerClient()
    link.start()
    yield link
    link.stop()


def answers(
    trainer: TrainerClient, task: TrainTask, order: Cancel | HandOver | None = None
) -> list[Heard]:
    """All that the trainer says, in order, its answer last; `order` is given at its first rows."""
    heard: SimpleQueue[Heard] = SimpleQueue()
    trainer.hear = heard.put
    trainer.send(task)
    said: list[Heard] = []
    while not said or not isinstance(said[-1], TaskEnding | Failed):
        said.append(heard.get(timeout=60))
        assert not isinstance(said[-1], TrainerDied)
        if isinstance(said[-1], RowsOfRuns) and order is not None:
            trainer.send(order)
    return said


def ending_of(said: list[Heard]) -> TaskEnding:
    assert isinstance(said[-1], TaskEnding)
    return said[-1]


def losses_in(said: list[Heard]) -> dict[int, dict[int, float]]:
    """By run and row."""
    losses: dict[int, dict[int, float]] = {}
    for report in said:
        if isinstance(report, RowsOfRuns) and report.kind == "train":
            column = iter(report.columns["loss"].tolist())
            parts = zip(report.runs, report.first_rows, report.lengths, strict=True)
            for run, first, length in parts:
                rows = {row: next(column) for row in range(first, first + length)}
                losses.setdefault(run, {}).update(rows)
    return losses


def population(folder: Path, specs: list[Json], **fields: Any) -> TrainTask:
    plain = TrainTask(
        study_id=new_id(STUDY_PREFIX),
        stem="0_1",
        artifacts=str(folder),
        device="cpu",
        stop_step=None,
        resume=False,
        stored_rows=None,
        base={},
        format=STORE,
        configurations=specs,
        runs=[[2 * place, place, 7] for place in range(len(specs))],
        sources={},
        target=None,
        run=1,
    )
    return replace(plain, **fields)


def test_a_population_is_trained_and_told_of_in_frames(
    trainer: TrainerClient, tmp_path: Path
) -> None:
    specs = [blobs_job({"kind": "adam", "lr": 0.1 * (1 + n)}, 12, seed=7) for n in range(3)]
    job = population(tmp_path, [spec.model_dump(mode="json") for spec in specs])
    heard = answers(trainer, job)
    kinds = {type(report) for report in heard}
    assert kinds == {RowsOfRuns, PopulationProgress, RunEnded, TaskEnding}
    together = train_population(specs)
    losses = {run: list(rows.values()) for run, rows in losses_in(heard).items()}
    assert losses == {2 * n: together.column(n, "loss") for n in range(3)}
    last = ending_of(heard)
    assert last.reason == "finished"
    assert last.weights is not None
    assert last.weights["rows"] == {0: 0, 2: 1, 4: 2}
    assert last.paused == {}
    artifacts = LocalStore(tmp_path).job(job.study_id)
    assert artifacts.exists(last.weights["file"])


def test_a_population_that_cannot_train_fails_with_a_code(
    trainer: TrainerClient, tmp_path: Path
) -> None:
    spec = blobs_job({"kind": "adam"}, 3).model_dump(mode="json")
    job = population(tmp_path, [spec], sources={0: "paused/0_0.safetensors"})
    failed = answers(trainer, job)[-1]
    assert isinstance(failed, Failed)
    assert failed.code == "artifact_store_unavailable"


def test_a_population_handed_over_goes_on_to_the_bit(
    trainer: TrainerClient, tmp_path: Path
) -> None:
    specs = [
        blobs_job({"kind": kind, "lr": 0.01}, 400, seed=7).model_dump(mode="json")
        for kind in ("adam", "adam", "adafactor")
    ]
    whole = answers(trainer, population(tmp_path / "whole", specs))
    job = population(tmp_path / "parts", specs)
    heard = answers(trainer, job, HandOver(1))
    left = ending_of(heard)
    assert (left.reason, left.weights, left.paused) == ("handed_over", None, {})
    losses = losses_in(heard)
    stored: dict[int, dict[Kind, int]] = {
        run: {"train": len(rows), "eval": 10**6} for run, rows in losses.items()
    }
    heard += answers(trainer, replace(job, resume=True, stored_rows=stored))
    assert ending_of(heard).reason == "finished"
    assert losses_in(heard) == losses_in(whole)
    one, other = (next((tmp_path / part).rglob("0_1.safetensors")) for part in ("whole", "parts"))
    assert one.read_bytes() == other.read_bytes()
