"""Verdicts on where a run comes to rest; each test's name is the argument."""

import numpy as np
import pytest

from tests.core.diagnosis.runs import (
    SADDLE,
    X_SQUARED,
    Floats,
    curve,
    diagnosis,
    diagonal,
    digits_job,
    finding,
    function_job,
    gd,
    rastrigin,
    saddle,
    sgd,
    verdict,
    x_squared,
)


def test_a_run_down_the_ridge_of_a_saddle_ends_at_the_saddle() -> None:
    start = np.array([1.0, 0.0])
    found = diagnosis(function_job(SADDLE, start, gd(0.1)), sgd(saddle, start, 100, 0.1))
    assert found["verdict"] == "saddle_point"
    evidence = finding(found, "negative_curvature")["evidence"]
    assert evidence["smallest_eigenvalue"] == pytest.approx(-2.0, rel=1e-4)


def test_a_run_that_left_the_saddle_has_converged() -> None:
    start = np.array([1.0, 1e-3])
    run = sgd(saddle, start, 200, 0.1)
    assert run["loss"][-1] == pytest.approx(-0.25)
    assert verdict(function_job(SADDLE, start, gd(0.1)), run) == "converged"


def test_the_monkey_saddle_has_no_resolved_curvature_but_lower_ground_nearby() -> None:
    def monkey(x: Floats) -> tuple[float, Floats]:
        a, b = x
        return float(a**3 - 3 * a * b**2), np.array([3 * a**2 - 3 * b**2, -6 * a * b])

    function = {"kind": "expression", "expression": "x1**3 - 3*x1*x2**2"}
    start = np.array([1.0, 0.0])
    run = sgd(monkey, start, 20_000, 0.05)
    assert verdict(function_job(function, start, gd(0.05)), run) == "saddle_point"


def test_a_quadratic_saddle_and_its_way_down() -> None:
    function, lam = {"kind": "quadratic", "eigenvalues": [2.0, -1.0]}, np.array([2.0, -1.0])
    for x2, expected in ((0.0, "saddle_point"), (0.1, "diverging")):
        start = np.array([1.0, x2])
        run = sgd(diagonal(lam), start, 200, 0.1)
        assert verdict(function_job(function, start, gd(0.1)), run) == expected


@pytest.mark.parametrize(
    ("start", "expected"), [([3.2, -2.1], "local_minimum"), ([0.1, -0.1], "converged")]
)
def test_a_minimum_above_the_known_one_is_a_local_minimum(
    start: list[float], expected: str
) -> None:
    job = function_job({"kind": "rastrigin", "dim": 2}, np.array(start), gd(0.001))
    assert verdict(job, sgd(rastrigin, np.array(start), 500, 0.001)) == expected


def test_at_rest_above_the_known_minimum_with_unknown_curvature_is_undetermined() -> None:
    # In 40 dimensions the Hessian is not measured: saddle or local minimum, nobody knows.
    start = np.full(40, 3.2)
    job = function_job({"kind": "rastrigin", "dim": 40}, start, gd(0.001))
    found = diagnosis(job, sgd(rastrigin, start, 500, 0.001))
    assert found["verdict"] == "undetermined"
    assert finding(found, "negative_curvature")["status"] == "undetermined"


def test_a_gradient_norm_criterion_that_held_is_convergence() -> None:
    start = np.array([10.0])
    run = sgd(x_squared, start, 45, 0.1)
    job = function_job(
        X_SQUARED, start, gd(0.1), stop={"gradient_norm": float(run["grad_norm"][-1])}
    )
    assert verdict(job, run) == "converged"


def test_a_convex_loss_that_settles_above_zero_has_converged() -> None:
    # Least squares with noise in the targets: 1 is as low as it gets.
    steps = np.arange(500.0)
    gap = 0.97**steps
    job = digits_job(gd(0.1), data="diabetes", batch_size="full", model={"kind": "linear"})
    assert verdict(job, curve(1.0 + 5.0 * gap, 0.1, 3.0 * np.sqrt(gap))) == "converged"


def test_a_model_at_rest_from_a_constant_start_may_be_at_a_saddle() -> None:
    model = {"kind": "mlp", "hidden": [8], "init": {"kind": "constant", "value": 0.0}}
    run = curve(np.full(100, 2.3), 0.1, np.full(100, 1e-12))
    run["grad_norm"][0] = 1.0
    job = digits_job(gd(0.1), batch_size="full", model=model)
    assert verdict(job, run) == "plateau"  # its units are equal, wherever it rests
