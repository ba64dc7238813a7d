"""Weights of runs that pause at a rung: those of the run alone that ends there."""

from pathlib import Path

import pytest

from core.specs.job import JobSpec
from tests.core.train.fused.stack.test_pause import (
    NEAR,
    NORMED,
    RUNS,
    Json,
    ended_at,
    sub_request,
    varied,
)
from tests.core.train.fused.task_harness import (
    ALWAYS,
    After,
    assert_same_task,
    do_task,
    kill_and_resume,
)
from tests.core.train.harness import blobs_job, train

LAYERED: Json = {"kind": "mlp", "hidden": [7], "norm": {"kind": "layer"}, "dropout": 0.2}
"""Every weight has a gradient; before a batch norm Adam makes steps of the rounding of none."""
AT_RECORDED_STEPS: dict[str, tuple[list[JobSpec], tuple[int, int]]] = {
    "adam": (varied({"kind": "adam"}, model=LAYERED), (8, 16)),
    "by rows": (varied({"kind": "adam"}, model=LAYERED, eval_fraction=0.0), (10, 19)),
    "batch norm": (RUNS["momentum"], (8, 16)),
    "functions": (RUNS["functions"], (9, 17)),
    "asgd": (RUNS["asgd"], (8, 16)),
    "lbfgs": (RUNS["lbfgs"], (8, 16)),
}
"""Rungs at which a run that ends records nothing more than one that pauses."""


@pytest.mark.parametrize("name", AT_RECORDED_STEPS)
def test_a_paused_run_has_the_weights_of_the_run_alone_that_ends_there(
    name: str, tmp_path: Path
) -> None:
    specs, rungs = AT_RECORDED_STEPS[name]
    sources: dict[int, str] = {}
    for number, step in enumerate(rungs):
        runs, stem = range(len(specs)), f"{number}_0"
        job = sub_request(specs, runs, stem=stem, stop_step=step, sources=sources)
        done = do_task(job, tmp_path / "rungs")
        paused, weights, stacked = done.ended.paused, done.places, done.weights()
        assert sorted(paused) == sorted(weights["rows"]) == list(range(len(specs)))
        sources = {run: known["file"] for run, known in paused.items()}
        for run, row in weights["rows"].items():
            alone = train(ended_at(specs[run], step), tmp_path / f"{step} {run}")
            best = alone.ending.best
            assert best is not None
            assert weights["steps"][run] == {"initial": 0, "best": best["step"], "final": step}
            known = paused[run]["best"]
            assert known is not None
            assert known["step"] == best["step"]
            for which in ("initial", "best", "final"):
                for key, value in alone.weights(which).items():
                    NEAR.close(stacked[f"{which}.{key}"][row], value, f"{run} {which} {key}")


TWO_KINDS = [
    blobs_job({"kind": kind, "lr": 0.05}, 20, model=NORMED, seed=seed, record={"every": 2})
    for seed, kind in enumerate(("adam", "adafactor", "adam", "sgd", "sgd"))
]
"""Two stacks, and a run by itself between them."""


@pytest.mark.parametrize("kills", [(3,), (9,), (7, 6, 4)])
def test_weights_of_stacks_that_had_paused_survive_a_kill(
    kills: tuple[int, ...], tmp_path: Path
) -> None:
    job = sub_request(TWO_KINDS, range(5), stop_step=6)
    whole = do_task(job, tmp_path / "whole")
    assert sorted(whole.places["rows"]) == list(range(5))
    assert_same_task(kill_and_resume(job, tmp_path / "parts", kills, pace=ALWAYS), whole)


def test_a_cancel_keeps_the_weights_of_runs_that_had_paused(tmp_path: Path) -> None:
    job = sub_request(TWO_KINDS, range(5), stop_step=6)
    done = do_task(job, tmp_path, control=After(9, "cancel"))
    assert done.ended.reason == "cancelled"
    assert sorted(done.ended.paused) == [0, 2]
    steps = done.places["steps"]
    assert [steps[run]["final"] for run in (0, 2)] == [6, 6]
    assert 0 < steps[1]["final"] < 6
