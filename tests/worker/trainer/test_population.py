"""A trainer's answer to a `population` frame, with its own engine."""

from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

import pytest

from core.artifacts.local import LocalStore
from core.ids import STUDY_PREFIX, new_id
from tests.core.train.fused.harness import train_population
from tests.core.train.harness import blobs_job
from worker.trainer.client import Heard, TrainerClient
from worker.trainer.protocol import Frame

Json = dict[str, Any]


@pytest.fixture(scope="module")
def trainer() -> Iterator[TrainerClient]:
    link = TrainerClient()
    link.start()
    yield link
    link.stop()


def answers(
    trainer: TrainerClient, job: Json, order: Literal["cancel", "hand_over"] | None = None
) -> list[Frame]:
    """All that the trainer says to the frame, in order; `order` is given at its first rows."""
    heard: SimpleQueue[Heard] = SimpleQueue()
    trainer.hear = heard.put
    trainer.run_population(1, job)
    frames: list[Frame] = []
    while not frames or frames[-1].type not in ("ended", "failed"):
        found = heard.get(timeout=60)
        assert isinstance(found, Frame)
        frames.append(found)
        if found.type == "run_rows" and order is not None:
            trainer.order(order, 1)
    return frames


def losses_in(frames: list[Frame]) -> dict[int, dict[int, float]]:
    """By run and row."""
    losses: dict[int, dict[int, float]] = {}
    for frame in frames:
        if frame.type == "run_rows" and frame.fields["kind"] == "train":
            column = iter(frame.columns["loss"].tolist())
            names = ("runs", "first_rows", "lengths")
            for run, first, length in zip(*(frame.fields[name] for name in names), strict=True):
                rows = {row: next(column) for row in range(first, first + length)}
                losses.setdefault(run, {}).update(rows)
    return losses


def population(folder: Path, specs: list[Json], **fields: Any) -> Json:
    return {
        "study_id": new_id(STUDY_PREFIX),
        "stem": "0_1",
        "artifacts": str(folder),
        "device": "cpu",
        "base": {},
        "configurations": specs,
        "runs": [[2 * place, place, 7] for place in range(len(specs))],
        "stop_step": None,
        "sources": {},
        "resume": False,
        "stored_rows": None,
        "target": None,
        **fields,
    }


def test_a_population_is_trained_and_told_of_in_frames(
    trainer: TrainerClient, tmp_path: Path
) -> None:
    specs = [blobs_job({"kind": "adam", "lr": 0.1 * (1 + n)}, 12, seed=7) for n in range(3)]
    job = population(tmp_path, [spec.model_dump(mode="json") for spec in specs])
    heard = answers(trainer, job)
    kinds = {frame.type for frame in heard}
    assert kinds == {"run_rows", "population_progress", "run_ended", "ended"}
    together = train_population(specs)
    losses = {run: list(rows.values()) for run, rows in losses_in(heard).items()}
    assert losses == {2 * n: together.column(n, "loss") for n in range(3)}
    last = heard[-1].fields
    assert last["reason"] == "finished"
    assert last["weights"]["rows"] == {"0": 0, "2": 1, "4": 2}
    assert last["paused"] == {}
    artifacts = LocalStore(tmp_path).job(job["study_id"])
    assert artifacts.exists(last["weights"]["file"])


def test_a_population_that_cannot_train_fails_with_a_code(
    trainer: TrainerClient, tmp_path: Path
) -> None:
    spec = blobs_job({"kind": "adam"}, 3).model_dump(mode="json")
    job = population(tmp_path, [spec], sources={"0": "paused/0_0.safetensors"})
    failed = answers(trainer, job)[-1]
    assert failed.type == "failed"
    assert failed.fields["code"] == "artifact_store_unavailable"


def test_a_population_handed_over_goes_on_to_the_bit(
    trainer: TrainerClient, tmp_path: Path
) -> None:
    specs = [
        blobs_job({"kind": kind, "lr": 0.01}, 400, seed=7).model_dump(mode="json")
        for kind in ("adam", "adam", "adafactor")
    ]
    whole = answers(trainer, population(tmp_path / "whole", specs))
    job = population(tmp_path / "parts", specs)
    heard = answers(trainer, job, "hand_over")
    assert heard[-1].fields == {"reason": "handed_over", "weights": None, "paused": {}}
    losses = losses_in(heard)
    stored = {str(run): {"train": len(rows), "eval": 10**6} for run, rows in losses.items()}
    heard += answers(trainer, {**job, "resume": True, "stored_rows": stored})
    assert heard[-1].fields["reason"] == "finished"
    assert losses_in(heard) == losses_in(whole)
    one, other = (next((tmp_path / part).rglob("0_1.safetensors")) for part in ("whole", "parts"))
    assert one.read_bytes() == other.read_bytes()
