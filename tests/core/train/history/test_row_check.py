"""Looking at rows a block at a time (as on a GPU) gives the same run as one by one."""

from pathlib import Path
from typing import Any

import pytest

from core.specs.job import JobSpec
from core.train.history.row_check import RowBlock
from core.train.periodic import BlockSize
from tests.core.train.harness import StopAt, Trained, blobs_job, function_job, parabola, train

BALL = {"kind": "sgd", "lr": 0.2, "momentum": 0.9}
JOBS: dict[str, JobSpec] = {
    "budget": blobs_job({"kind": "adam"}, 40),
    "batch norm and dropout": blobs_job(
        {"kind": "adam"}, 21,
        model={"kind": "mlp", "hidden": [6], "norm": {"kind": "batch"}, "dropout": 0.2},
    ),
    "without evaluation data": blobs_job(BALL, 40, eval_fraction=0.0),
    "target": parabola(0.2, 100, stop={"target_loss": 1e-5}),
    "target at the start": parabola(0.2, 100, stop={"target_loss": 100.0}),
    "gradient": parabola(0.2, 100, stop={"gradient_norm": 1e-3}),
    "patience": function_job("x**2", {"x": 10}, BALL, 100, stop={"patience": 7}),
    "max loss": parabola(1.1, 100, stop={"max_loss": 1e4}),
    "non-finite": function_job("x**4", {"x": 10}, {"kind": "sgd", "lr": 1.0}, 100),
    "non-finite at the start": function_job("log(x)", {"x": -1}, BALL),
    "schedule": function_job(
        "x**2", {"x": 10}, BALL, 40, stop={"target_loss": 0.01},
        schedule={"kind": "one_cycle", "max_lr": 0.2, "total_steps": 40},
    ),
    "rows left out": function_job(
        "x**2", {"x": 10}, BALL, 37, record={"every": 5, "eval_every": 100}
    ),
    "clipped": parabola(0.1, 40, gradient_clip={"kind": "norm", "max_norm": 1.0}),
    "lbfgs": function_job("x**4", {"x": 10}, {"kind": "lbfgs", "max_iter": 2}, 20),
    "plateau": function_job(
        "x**2", {"x": 10}, BALL, 40, schedule={"kind": "reduce_on_plateau", "patience": 1}
    ),
}  # fmt: skip


def facts(done: Trained) -> dict[str, Any]:
    names = sorted(done.artifacts.list())
    return {
        "histories": repr(done.events.histories),
        "files": {n: done.artifacts.read(n) for n in names if not n.startswith("checkpoints")},
        "outcome": done.ending.outcome,
        "best": done.ending.best,
        "result": repr({**done.ending.result, "train_s": 0}),
    }


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize("block_size", [2, 16])
def test_blocks_change_no_bit(name: str, block_size: int, tmp_path: Path) -> None:
    one = facts(train(JOBS[name], tmp_path / "one"))
    blocks = facts(train(JOBS[name], tmp_path / "blocks", block_size=block_size))
    for fact, value in one.items():
        assert blocks[fact] == value, fact


def test_a_run_handed_over_between_blocks_goes_on_one_by_one(tmp_path: Path) -> None:
    spec = blobs_job({"kind": "adam"}, 40)
    whole = train(spec, tmp_path / "whole")
    control = StopAt("hand_over", 3)
    left = train(spec, tmp_path / "parts", control=control, block_size=4)
    assert left.ending.reason == "handed_over"
    done = train(spec, tmp_path / "parts", events=left.events, resume=True)
    assert repr(done.events.histories) == repr(whole.events.histories)
    assert done.artifacts.read("final.safetensors") == whole.artifacts.read("final.safetensors")


def test_blocks_grow_while_they_are_short_and_shrink_when_rows_would_be_late() -> None:
    size = BlockSize(32, fixed=False)
    for _ in range(10):
        size.took(size.now, 0.001)
    assert size.now == 32
    size.took(32, 0.4)
    assert size.now == 16
    size.took(3, 0.001)
    assert size.now == 16


def test_a_block_watch_takes_no_more_memory_for_weights_than_it_may() -> None:
    assert RowBlock.ring_size(32, 2**20) == 32
    assert RowBlock.ring_size(32, 2**26) == 4
    assert RowBlock.ring_size(32, 2**40) == 1
