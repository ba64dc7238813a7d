"""Checkpoints that somebody asks for on the way: what they hold, and that they stay."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from core.artifacts.stacked import open_resumed
from core.train.checkpoint import writer
from core.train.checkpoint.snapshot import resume_points, step_of
from tests.core.train.harness import Json, StopAt, Trained, blobs_job, parabola, train


class AskedAt:
    """A request before each of these steps."""

    def __init__(self, *steps: int) -> None:
        self._steps = steps
        self._step = -1

    @property
    def keep(self) -> int:
        self._step += 1
        return sum(step <= self._step for step in self._steps)


def kept(done: Trained) -> list[int]:
    return [saved.step for saved in done.events.checkpoints if saved.name == "kept"]


def weights_at(done: Trained, step: int) -> dict[str, np.ndarray[Any, Any]]:
    return load(done.artifacts.read(f"kept/step_{step}.safetensors"))


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].tobytes() == other[name].tobytes() for name in one
    )


OPTIMIZERS: list[Json] = [
    {"kind": "sgd", "lr": 0.1, "momentum": 0.9},
    {"kind": "adam", "lr": 0.01},
    {"kind": "schedule_free_sgd", "lr": 0.1},
    {"kind": "schedule_free_adamw", "lr": 0.01},
    {"kind": "prodigy"},
    {"kind": "muon", "lr": 0.01},
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer["kind"])
@pytest.mark.parametrize("guarded", [False, True])
def test_what_is_kept_are_the_weights_that_a_run_ends_with_there(
    optimizer: Json, *, guarded: bool, tmp_path: Path
) -> None:
    model = {"kind": "mlp", "hidden": [6], "norm": {"kind": "batch"}, "dropout": 0.1}
    more: Json = {"on_divergence": {"action": "rollback"}} if guarded else {}

    def spec(steps: int) -> Any:
        return blobs_job(optimizer, steps, model=model, **more)

    plain = train(spec(30), tmp_path / "plain")
    done = train(spec(30), tmp_path / "asked", asked=AskedAt(7, 20))

    assert kept(done) == [7, 20]
    assert same(done.weights(), plain.weights())
    assert done.column("loss") == plain.column("loss")
    for step in (7, 20):
        ended = train(spec(step), tmp_path / f"until{step}")
        assert same(weights_at(done, step), ended.weights())
    metadata = done.events.checkpoints
    assert all(saved.metrics["loss"] for saved in metadata if saved.name == "kept")


@pytest.mark.parametrize("block_size", [1, 8])
def test_a_request_is_answered_between_blocks_too(block_size: int, tmp_path: Path) -> None:
    done = train(blobs_job(max_steps=40), tmp_path, asked=AskedAt(2), block_size=block_size)
    (step,) = kept(done)
    assert step >= 2


def test_kept_ones_stay_while_others_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "KEPT_AT_MOST", 3)
    spec = parabola(0.01, 80, checkpoint={"every_steps": 2})
    done = train(spec, tmp_path, asked=AskedAt(4, 5))
    steps = sorted(step_of(name) for name in resume_points(done.artifacts))
    assert {4, 5, 80} <= set(steps)
    assert len(steps) <= 5
    listed: list[str] = []
    for saved in done.events.checkpoints:
        listed = [path for path in listed if path not in {*saved.dropped, saved.path}]
        listed.append(saved.path)
    assert sorted(listed) == sorted(done.artifacts.list())

    left = train(spec, tmp_path / "b", asked=AskedAt(4), control=StopAt("hand_over", 30))
    again = train(spec, tmp_path / "b", resume=True, events=left.events)
    assert again.ending.reason == "finished"
    steps = sorted(step_of(name) for name in resume_points(again.artifacts))
    assert {4, 80} <= set(steps)
    assert len(steps) <= 4
    assert "kept/step_4.safetensors" in again.artifacts.list()


def test_a_run_goes_on_from_a_kept_one(tmp_path: Path) -> None:
    spec = blobs_job({"kind": "adam"}, 30, checkpoint={"every_steps": None})
    whole = train(spec, tmp_path / "whole")
    left = train(spec, tmp_path / "b", asked=AskedAt(11), control=StopAt("cancel", 20))
    for name in resume_points(left.artifacts):
        if step_of(name) != 11:
            left.artifacts.delete(name)
    again = train(spec, tmp_path / "b", resume=True, events=left.events)
    assert same(again.weights(), whole.weights())


@pytest.mark.parametrize("optimizer", OPTIMIZERS[:2], ids=lambda optimizer: optimizer["kind"])
def test_weights_are_taken_out_of_a_resume_checkpoint(optimizer: Json, tmp_path: Path) -> None:
    model = {"kind": "mlp", "hidden": [6], "norm": {"kind": "batch"}}
    spec = blobs_job(optimizer, 20, model=model, checkpoint={"every_steps": 10})
    done = train(spec, tmp_path / "a")
    ended = train(blobs_job(optimizer, 10, model=model), tmp_path / "b")
    opened = open_resumed(
        done.artifacts, "checkpoints/step_10.safetensors", "initial.safetensors", 10
    )
    data = b"".join(opened.chunks())
    assert len(data) == opened.size_bytes
    assert same(load(data), ended.weights())
