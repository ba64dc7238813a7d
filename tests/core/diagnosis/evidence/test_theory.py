"""Thresholds and rates against runs and against the eigenvalues of the step's own matrix."""

import numpy as np
import pytest

from core.diagnosis.evidence import theory
from core.diagnosis.evidence.theory import Method
from tests.core.diagnosis.runs import ELLIPSE, diagonal, digits_job, function_job, sgd

PLAIN = Method("gradient_descent")
HEAVY = Method("heavy_ball", 0.9)
NESTEROV = Method("nesterov", 0.9)


@pytest.mark.parametrize(
    ("method", "threshold"),
    [(PLAIN, 2.0), (HEAVY, 3.8), (NESTEROV, 3.8 / 2.8), (Method("heavy_ball", 0.9, 0.5), 7.6)],
)
def test_the_threshold_is_where_the_radius_passes_one(method: Method, threshold: float) -> None:
    assert method.threshold() == pytest.approx(threshold)
    assert theory.spectral_radius(method, 0.9999 * threshold, 1.0) < 1.0
    assert theory.spectral_radius(method, 1.0001 * threshold, 1.0) > 1.0


@pytest.mark.parametrize("method", [PLAIN, HEAVY, NESTEROV])
@pytest.mark.parametrize("product", [0.001, 0.1, 1.0, 1.3])
def test_the_radius_is_that_of_the_step_matrix(method: Method, product: float) -> None:
    matrix = theory.step_matrices(method, product, np.array([1.0]))[0]
    if method is PLAIN:
        expected = abs(1.0 - product)
    else:
        expected = float(np.abs(np.linalg.eigvals(matrix)).max())
    assert float(theory.spectral_radius(method, product, 1.0)) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("method", "beta"), [(PLAIN, 0.0), (HEAVY, 0.9), (NESTEROV, 0.9)])
def test_the_predicted_gap_is_the_loss_of_a_run(method: Method, beta: float) -> None:
    lam, start = np.array([0.5, 4.0]), np.array([1.0, -2.0])
    run = sgd(diagonal(lam), start, 41, 0.1, beta, nesterov=method is NESTEROV)
    predicted = theory.predicted_gap(method, 0.1, lam, start, 40)
    assert predicted == pytest.approx(run["loss"][40], rel=1e-9)


def test_the_best_rate_of_gradient_descent_is_the_textbooks() -> None:
    lr, factor = theory.best_rate(PLAIN, 1.0, 9.0)
    assert lr == pytest.approx(2.0 / 10.0)
    assert factor == pytest.approx(8.0 / 10.0)  # (κ−1)/(κ+1)


@pytest.mark.parametrize("method", [HEAVY, NESTEROV])
def test_no_rate_on_a_fine_grid_beats_the_best_rate(method: Method) -> None:
    low, high = 1.0, 1000.0
    _, factor = theory.best_rate(method, low, high)
    grid = np.linspace(1e-6, method.threshold() / high, 20_000)
    worst = np.maximum(*(theory.spectral_radius(method, grid, each) for each in (low, high)))
    assert factor <= worst.min() * 1.001


def test_polyaks_heavy_ball_needs_the_root_of_the_condition_number() -> None:
    lr, beta, factor = theory.best_heavy_ball(1.0, 100.0)
    assert factor == pytest.approx(9.0 / 11.0)  # (√κ−1)/(√κ+1)
    both = theory.spectral_radius(Method("heavy_ball", beta), lr, np.array([1.0, 30.0, 100.0]))
    # At the optimum the roots coincide, so rounding alone moves them by √ε.
    assert both == pytest.approx(factor, abs=1e-6)


def test_specs_become_methods() -> None:
    start = np.array([1.0])
    square = {"kind": "expression", "expression": "x1**2"}

    def method(**optimizer: object) -> Method:
        return theory.method_of(function_job(square, start, {"kind": "sgd", **optimizer}))

    assert method(lr=0.1) == Method("gradient_descent")
    assert method(momentum=0.9) == Method("heavy_ball", 0.9)
    assert method(momentum=0.9, dampening=0.5) == Method("heavy_ball", 0.9, 0.5)
    assert method(momentum=0.9, nesterov=True) == Method("nesterov", 0.9)
    assert theory.method_of(digits_job({"kind": "adam"})).family == "adaptive"
    assert theory.method_of(digits_job({"kind": "asgd"})).family == "other"


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("kind", ["one_cycle", "cyclic"])
@pytest.mark.parametrize("inside", ["alone", "warmup", "sequential"])
def test_a_schedule_that_moves_the_momentum_has_no_threshold(
    inside: str, kind: str, momentum: float
) -> None:
    def method(cycles: bool) -> Method:
        lengths = {"base_lr": 0.1, "max_lr": 0.3} if kind == "cyclic" else {}
        part = {"kind": kind, "cycle_momentum": cycles, **lengths}
        schedule = {
            "alone": part,
            "warmup": {"kind": "warmup", "steps": 3, "then": part},
            "sequential": {
                "kind": "sequential",
                "milestones": [5],
                "schedules": [{"kind": "linear"}, part],
            },
        }[inside]
        optimizer = {"kind": "sgd", "lr": 0.1, "momentum": momentum}
        job = function_job(ELLIPSE, np.ones(2), optimizer, schedule=schedule)
        return theory.method_of(job)

    assert method(cycles=True).family == "other"
    assert method(cycles=False).family == ("heavy_ball" if momentum else "gradient_descent")
