"""Populations on a GPU: the same facts as on a CPU; skipped without one."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.messages.requests import TrainTask
from core.specs.job import JobSpec
from tests.core.train.fused.harness import Gathered, Tolerance, train_population
from tests.core.train.fused.stack.test_pause import RUNS, assert_same_reports, in_rungs, sub_request
from tests.core.train.fused.task_harness import (
    ALWAYS,
    assert_same_task,
    do_task,
    kill_and_resume,
    request,
)
from tests.core.train.fused.test_isolation import POPULATIONS, assert_same_bits, with_troubles
from tests.core.train.harness import blobs_job

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
NEAR = Tolerance(1e-9, 1e-11)


def on_gpu(specs: list[JobSpec]) -> Gathered:
    return train_population(specs, device="cuda:0")


def on_its_gpu(task: TrainTask) -> TrainTask:
    return replace(task, device="cuda:0")


@pytest.mark.parametrize(
    "name",
    ["small", "odd sizes", "muon of odd sizes", "batch norm", "momentum", "clipped", "plateau",
     "expression", "rastrigin in 10 dimensions"],
)  # fmt: skip
def test_a_run_keeps_its_bits_while_others_leave_and_overflow(name: str) -> None:
    specs = POPULATIONS[name]
    survivors = {2, 7, len(specs) // 2, len(specs) - 1}
    disturbed = on_gpu(with_troubles(specs, survivors))
    assert_same_bits(disturbed, on_gpu(specs), sorted(survivors))


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd", "nadam", "radam", "rprop", "muon"])
def test_a_run_is_the_same_as_on_a_cpu(kind: str) -> None:
    specs = [
        blobs_job({"kind": kind, "lr": 0.01 * (1 + n)}, 20, seed=n, precision="float64")
        for n in range(5)
    ]
    there, here = on_gpu(specs), train_population(specs)
    for number in range(5):
        for column in ("loss", "grad_norm", "lr"):
            got, wanted = (each.column(number, column) for each in (there, here))
            NEAR.close(got, wanted, f"{number} {column}")
        for name, weight in here.weights[number].final.items():
            NEAR.close(there.weights[number].final[name].numpy(), weight.numpy(), name)


@pytest.mark.parametrize("name", ["adam", "momentum", "functions", "asgd"])
def test_a_killed_task_goes_on_to_the_bit(name: str, tmp_path: Path) -> None:
    specs = RUNS[name]
    job = on_its_gpu(request(specs))
    whole = do_task(job, tmp_path / "whole")
    parts = kill_and_resume(job, tmp_path / "parts", (2,), pace=ALWAYS)
    assert_same_task(parts, whole)


@pytest.mark.parametrize("name", ["adam", "momentum", "functions"])
def test_runs_that_paused_on_a_gpu_go_on_as_if_they_had_not(name: str, tmp_path: Path) -> None:
    specs = RUNS[name]
    runs = range(len(specs))
    whole = do_task(on_its_gpu(sub_request(specs, runs)), tmp_path / "whole")
    reported, _ = in_rungs(specs, (4, 12), tmp_path / "parts", device="cuda:0")
    assert_same_reports(reported, whole.reported, runs)
