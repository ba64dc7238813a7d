"""A function's run in a stack gives the numbers of the same spec run alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.specs.job import JobSpec
from tests.core.train.fused.harness import compare_with_alone
from tests.core.train.harness import function_job

Json = dict[str, Any]

FUNCTIONS: dict[str, list[JobSpec]] = {
    "stop rules": [
        function_job("x**2", {"x": 10}, {"kind": "sgd", "lr": lr}, 60, stop=stop)
        for lr, stop in (
            (0.2, {"target_loss": 1e-5}), (0.2, {"target_loss": 100.0}),
            (0.1, {"gradient_norm": 1e-3}), (1.1, {"max_loss": 1e4}),
            (0.4, {"patience": 7, "min_delta": 1e-3}), (1.2, {}), (0.3, {}),
        )
    ],
    "non-finite": [
        function_job("x**4", {"x": start}, {"kind": "sgd", "lr": 0.01}, 40)
        for start in (1.0, 10.0, 30.0)
    ],
    "budgets": [
        function_job("x**2 + 3*cos(y)", {"x": 1, "y": 2}, {"kind": "adam", "lr": 0.1}, steps)
        for steps in (1, 5, 20)
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_that_end_at_different_rows(name: str, tmp_path: Path) -> None:
    together = compare_with_alone(FUNCTIONS[name], tmp_path)
    assert all(ending.fused for ending in together.endings.values())


def on_function(function: Json, dim: int, seed: int, **rest: Any) -> JobSpec:
    start = {"kind": "uniform", "low": -2.0, "high": 2.0}
    body = {
        "problem": {"kind": "function", "function": function, "start": start, **rest},
        "optimizer": {"kind": "adam", "lr": 0.05}, "batch_size": "full", "precision": "float64",
        "device": "cpu", "budget": {"max_steps": 25}, "seed": seed,
    }  # fmt: skip
    return JobSpec.model_validate_json(json.dumps(body))


@pytest.mark.parametrize(
    "function",
    [
        {"kind": "rastrigin", "dim": 3}, {"kind": "rosenbrock", "dim": 4},
        {"kind": "ackley", "dim": 3}, {"kind": "himmelblau"}, {"kind": "schwefel", "dim": 3},
        {"kind": "quadratic", "eigenvalues": [1.0, 5.0, 9.0]},
        {"kind": "quadratic", "eigenvalues": [1.0, 5.0, 9.0], "rotation_seed": 1,
         "linear": [1.0, 0.0, 2.0], "constant": 3.0},
        {"kind": "quadratic", "matrix": [[2.0, 1.0], [1.0, 3.0]]},
    ],
    ids=lambda function: str(function["kind"]),
)  # fmt: skip
def test_functions_from_starts_of_their_own(function: Json, tmp_path: Path) -> None:
    compare_with_alone([on_function(function, 3, seed) for seed in range(3)], tmp_path)


def test_bounds_of_their_own(tmp_path: Path) -> None:
    sphere = {"kind": "sphere", "dim": 2}
    bounds: list[Any] = [[1.0, 3.0], [[-1.0, 0.5], [0.25, 2.0]]]
    specs = [on_function(sphere, 2, seed, bounds=b) for seed, b in enumerate(bounds)]
    together = compare_with_alone(specs, tmp_path)
    assert all(ending.fused for ending in together.endings.values())
