"""Schedule-free runs: rows are of the point of the gradient, all else of the evaluation point."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.errors import InvalidInputError
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.train.checkpoint.snapshot import decode, resume_points
from core.train.measure.objective import weights_at
from core.train.problems.build import build_problem
from tests.core.train.harness import Trained, blobs_job, train

Json = dict[str, Any]
SGD: Json = {"kind": "schedule_free_sgd", "lr": 0.2}
KINDS: list[Json] = [SGD, {"kind": "schedule_free_adamw", "lr": 0.05}]
each_kind = pytest.mark.parametrize("optimizer", KINDS, ids=lambda optimizer: optimizer["kind"])


def job(optimizer: Json, steps: int, **rest: Any) -> JobSpec:
    function = {"kind": "quadratic", "eigenvalues": [1.0, 4.0]}
    problem = {"kind": "function", "function": function, "start": [3.0, -2.0]}
    body = {
        "problem": {**problem, **rest}, "optimizer": optimizer, "precision": "float64",
        "budget": {"max_steps": steps},
    }  # fmt: skip
    return parse_job(json.dumps(body).encode(), Limits())


def best_step(trained: Trained) -> int:
    assert trained.ending.best is not None
    return trained.ending.best["step"]


def test_without_momentum_it_is_sgd_whose_result_is_the_mean_of_its_points(tmp_path: Path) -> None:
    free = train(job({**SGD, "momentum": 0.0}, 9), tmp_path / "free")
    plain = train(job({"kind": "sgd", "lr": 0.2}, 10), tmp_path / "plain")
    points = np.array(plain.column("x"))
    assert np.allclose(free.column("x"), points[:9], rtol=1e-13, atol=0)
    mean = points[1:10].mean(0)
    assert free.ending.result["solution"] == pytest.approx(mean.tolist(), rel=1e-12)
    value = 0.5 * (mean[0] ** 2 + 4.0 * mean[1] ** 2)
    assert free.ending.result["value"] == pytest.approx(value, rel=1e-12)
    assert free.weights("final")["x"].tolist() == free.ending.result["solution"]


@each_kind
def test_the_weights_of_a_functions_best_row_are_those_that_a_run_ends_with_there(
    optimizer: Json, tmp_path: Path
) -> None:
    whole = train(job(optimizer, 40), tmp_path / "whole")
    losses = whole.column("loss")
    assert whole.ending.best == {"step": int(np.argmin(losses)), "loss": min(losses)}
    ended = train(job(optimizer, best_step(whole)), tmp_path / "there")
    assert whole.weights("best")["x"].tolist() == ended.ending.result["solution"]


@each_kind
def test_evaluations_and_weights_are_of_the_evaluation_point(
    optimizer: Json, tmp_path: Path
) -> None:
    spec = blobs_job(optimizer, 20, precision="float64", record={"every": 1, "eval_every": 5})
    trained = train(spec, tmp_path / "once")
    problem = build_problem(spec, torch.device("cpu"), torch.float64)
    for name, step in (("best", best_step(trained)), ("final", 20)):
        problem.load_state({k: torch.from_numpy(v) for k, v in trained.weights(name).items()})
        rows = trained.events.histories["eval"].values()
        (row,) = [row for row in rows if row["step"] == step]
        assert problem.evaluate() == {k: v for k, v in row.items() if k != "step"}

    # The checkpoint holds the point of the gradient, from which the run would go on.
    snapshot = decode(trained.artifacts.read(resume_points(trained.artifacts)[0]), spec, "cpu")
    assert snapshot.step == 20
    final, found = trained.weights("final"), weights_at(spec, snapshot.moment, "cpu")
    for name, weight in snapshot.moment.weights.items():
        assert not np.array_equal(weight.numpy(), final[name])
        assert np.array_equal(found[name].numpy(), final[name])
    longer = train(blobs_job(optimizer, 21, precision="float64"), tmp_path / "longer")
    problem.load_state(snapshot.moment.weights)
    assert problem.loss(20).item() == longer.column("loss")[20]


@each_kind
@pytest.mark.parametrize("rest", [{}, {"eval_fraction": 0.0}], ids=["evaluated", "by rows"])
def test_blocks_of_rows_find_the_same(optimizer: Json, rest: Json, tmp_path: Path) -> None:
    spec = blobs_job(optimizer, 20, precision="float64", **rest)
    one = train(spec, tmp_path / "one", block_size=1)
    many = train(spec, tmp_path / "many", block_size=8)
    for name in ("best", "final"):
        file = f"{name}.safetensors"
        assert one.artifacts.read(file) == many.artifacts.read(file)
    assert one.ending.best == many.ending.best


@each_kind
def test_bounds_are_refused_with_the_way_out(optimizer: Json) -> None:
    with pytest.raises(InvalidInputError) as caught:
        job(optimizer, 5, bounds=[-5.0, 5.0])
    (error,) = caught.value.errors
    assert error.param == "problem.bounds"
    assert optimizer["kind"] in error.message
    assert "leave problem.bounds out" in error.message
