"""Functions as problems: start, bounds, solution, and descents known in closed form."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from core.specs.functions import Quadratic
from core.specs.job import JobSpec
from core.train.determinism import generator
from core.train.optim.build import build_optimizer
from core.train.problems.base import Problem
from core.train.problems.build import build_problem
from core.train.problems.functions import quadratic_matrix

CPU = torch.device("cpu")


def spec(function: dict[str, Any], lr: float = 0.1, **problem: Any) -> JobSpec:
    body = {
        "problem": {"kind": "function", "function": function, **problem},
        "optimizer": {"kind": "sgd", "lr": lr},
        "seed": 4,
    }
    return JobSpec.model_validate_json(json.dumps(body))


def build(job: JobSpec) -> Problem:
    return build_problem(job, CPU, torch.float64)


def descend(job: JobSpec, num_steps: int) -> Problem:
    problem = build(job)
    optimizer = build_optimizer(job.optimizer, problem.parameters())
    for step in range(num_steps):
        optimizer.zero_grad()
        problem.loss(step).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        problem.after_update()
    return problem


@pytest.mark.parametrize(
    ("lr", "expected"), [(0.2, 0.060466176), (0.05, 3.4867844009999995), (1.1, 61.9173642239999)]
)
def test_ten_steps_on_a_parabola_end_where_arithmetic_says(lr: float, expected: float) -> None:
    # x ← x − 2·lr·x, ten times from 10.
    for function in ({"kind": "expression", "expression": "x**2"}, {"kind": "sphere", "dim": 1}):
        start: Any = {"x": 10} if function["kind"] == "expression" else [10]
        problem = descend(spec(function, lr, start=start), 10)
        (parameter,) = problem.parameters()
        assert parameter.item() == pytest.approx(expected, abs=1e-9)
        assert parameter.item() == pytest.approx(10 * (1 - 2 * lr) ** 10, rel=1e-12)


@pytest.mark.parametrize(
    ("lr", "x1", "x2"), [(0.4, -0.943467, -0.000073), (0.6, -0.387814, -1673.365109)]
)
def test_twenty_steps_in_a_narrow_valley_end_where_arithmetic_says(
    lr: float, x1: float, x2: float
) -> None:
    function = {"kind": "expression", "expression": "0.1*x1**2 + 2*x2**2"}
    problem = descend(spec(function, lr, start={"x1": -5, "x2": -2}), 20)

    assert problem.solution() == pytest.approx({"x1": x1, "x2": x2}, abs=1e-6)
    assert problem.value() == pytest.approx(0.1 * x1**2 + 2 * x2**2, rel=1e-4)


def test_a_function_problem_says_what_it_is() -> None:
    problem = build(spec({"kind": "rosenbrock", "dim": 2}, start=[-1.2, 1.0]))
    point = problem.point()
    assert point is not None

    assert (problem.num_parameters, problem.steps_per_epoch) == (2, 1)
    assert problem.evaluate() is None
    assert problem.loss(0).item() == pytest.approx(24.2)
    assert problem.loss(0).shape == ()
    assert problem.solution() == [-1.2, 1.0]
    assert list(problem.state()) == ["x"]
    assert json.loads(problem.metadata()["spec"])["problem"]["kind"] == "function"
    # The point is a window on the parameter, not a copy.
    problem.load_state({"x": torch.tensor([1.0, 1.0])})
    assert point.tolist() == [1.0, 1.0]
    assert problem.value() == 0.0


def test_weights_that_do_not_fit_are_refused_whole() -> None:
    problem = build(spec({"kind": "sphere", "dim": 2}, start=[1.0, 2.0]))

    with pytest.raises(ValueError, match="missing"):
        problem.load_state({"y": torch.zeros(2)})
    with pytest.raises(ValueError, match="shape"):
        problem.load_state({"x": torch.zeros(3)})
    assert problem.solution() == [1.0, 2.0]


@pytest.mark.parametrize("bounds", [[-1.0, 0.5], [[-1.0, 0.5], [-1.0, 0.5]]])
def test_each_update_ends_inside_the_bounds(bounds: Any) -> None:
    function = {"kind": "expression", "expression": "(x1 - 2)**2 + (x2 + 5)**2"}
    start = {"x1": 0, "x2": 0}

    problem = descend(spec(function, 0.4, start=start, bounds=bounds), 3)

    assert problem.solution() == {"x1": 0.5, "x2": -1.0}


def test_bounds_may_differ_by_coordinate() -> None:
    bounds = [[-1.0, 10.0], [3.0, 4.0]]
    problem = descend(spec({"kind": "sphere"}, 0.5, start=[5.0, 3.5], bounds=bounds), 1)

    assert problem.solution() == [0.0, 3.0]


def test_a_uniform_start_is_drawn_from_the_seed() -> None:
    start = {"kind": "uniform", "low": -5, "high": 3}
    problem = build(spec({"kind": "sphere", "dim": 4}, start=start))

    drawn = torch.rand(4, generator=generator(4, "start"), dtype=torch.float64)
    assert problem.solution() == (-5 + 8 * drawn).tolist()


def test_a_quadratic_is_half_x_a_x_plus_b_x_plus_c() -> None:
    matrix = [[2.0, 1.0], [1.0, 3.0]]
    function = {"kind": "quadratic", "matrix": matrix, "linear": [1.0, -1.0], "constant": 0.5}
    problem = build(spec(function, start=[2.0, 1.0]))

    x = np.array([2.0, 1.0])
    assert problem.loss(0).item() == 0.5 * x @ np.array(matrix) @ x + 2.0 - 1.0 + 0.5
    problem.loss(0).backward()  # type: ignore[no-untyped-call]
    (parameter,) = problem.parameters()
    assert parameter.grad is not None
    assert parameter.grad.tolist() == (np.array(matrix) @ x + [1.0, -1.0]).tolist()


def test_a_diagonal_quadratic_has_its_eigenvalues_as_curvature() -> None:
    problem = build(spec({"kind": "quadratic", "eigenvalues": [1.0, -4.0]}, start=[3.0, 2.0]))

    assert problem.loss(0).item() == 0.5 * (9 - 16)


def test_a_rotated_quadratic_keeps_its_eigenvalues() -> None:
    eigenvalues = (1.0, 10.0, 100.0)
    first, same, other = (
        quadratic_matrix(Quadratic(kind="quadratic", eigenvalues=eigenvalues, rotation_seed=seed))
        for seed in (1, 1, 2)
    )

    found = torch.linalg.eigvalsh(first)
    torch.testing.assert_close(found, torch.tensor(eigenvalues, dtype=torch.float64))
    assert torch.equal(first, first.T)
    assert torch.equal(first, same)
    assert not torch.allclose(first, other)
    assert (first - torch.diag(torch.diagonal(first))).abs().max().item() > 1


def test_a_start_that_is_not_settled_is_refused() -> None:
    with pytest.raises(ValueError, match="settled"):
        build(spec({"kind": "sphere"}))
