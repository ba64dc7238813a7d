"""Verdicts on how fast and how well a loss falls; each test's name is the argument."""

import numpy as np
import pytest

from tests.core.diagnosis.runs import (
    TEN,
    X_SQUARED,
    Columns,
    Floats,
    adam,
    curve,
    diagnosis,
    digits_job,
    evaluations,
    finding,
    function_job,
    gd,
    noise,
    sgd,
    verdict,
    x_squared,
)


def test_a_gaussian_well_seen_from_far_away_is_a_plateau() -> None:
    def well(x: Floats) -> tuple[float, Floats]:
        return float(1 - np.exp(-(x @ x))), 2 * x * np.exp(-(x @ x))

    function, start = {"kind": "expression", "expression": "1 - exp(-x1**2)"}, np.array([5.0])
    run = sgd(well, start, 1000, 0.1)
    assert verdict(function_job(function, start, gd(0.1)), run) == "plateau"


def test_a_loss_that_stands_still_while_the_gradient_has_faded_is_a_plateau() -> None:
    loss = 2.3 + 0.01 * noise(1000)
    loss[:50] += np.linspace(1.0, 0.0, 50)
    grad = np.where(np.arange(1000) < 50, 2.0, 0.05)
    assert verdict(digits_job(gd(0.1)), curve(loss, 0.1, grad)) == "plateau"


@pytest.mark.parametrize(("left", "expected"), [(0.01, "healthy"), (0.1, "plateau")])
def test_a_model_that_has_hardly_any_loss_left_stands_still_on_no_plateau(
    left: float, expected: str
) -> None:
    loss = np.maximum(2.0 * np.exp(-np.arange(600.0) / 20.0), 2.0 * left) * np.exp(
        0.02 * noise(600)
    )
    run = curve(loss, 0.02, np.where(np.arange(600) < 100, 2.0, 0.1))
    assert verdict(digits_job({"kind": "muon"}), run) == expected


@pytest.mark.parametrize("batch", [64, "full"])
def test_a_steady_fall_after_a_spike_is_no_plateau(batch: int | str) -> None:
    # ReduceLROnPlateau calls this one: no new best for 300 steps.
    loss = 2.0 * np.exp(-np.arange(600.0) / 400.0)
    loss[250:] += 2.0 * np.exp(-np.arange(350.0) / 300.0)
    job = digits_job({"kind": "adam"}, batch_size=batch)
    found = diagnosis(job, curve(loss, 0.001, np.sqrt(loss)))
    assert finding(found, "plateau")["status"] == "clear"
    assert found["verdict"] == "healthy"


@pytest.mark.parametrize("lr", [1e-4, 1e-3, 5e-3])
def test_adam_walks_at_its_learning_rate_and_is_too_slow_far_from_home(lr: float) -> None:
    # Adam's steps are about η long: 1,000 of them cover 1,000·η of the 10 there are.
    job = function_job(X_SQUARED, TEN, {"kind": "adam", "lr": lr})
    assert verdict(job, adam(x_squared, TEN, 1000, lr)) == "too_slow"


def test_adam_at_a_good_rate_arrives() -> None:
    job = function_job(X_SQUARED, TEN, {"kind": "adam", "lr": 0.1})
    assert verdict(job, adam(x_squared, TEN, 1000, 0.1)) == "converged"


def test_a_model_whose_loss_falls_in_a_straight_line_is_too_slow() -> None:
    loss = 2.3 - 0.5 * np.arange(1000.0) / 1000.0 + 0.05 * noise(1000)
    assert verdict(digits_job(gd(0.001)), curve(loss, 0.001, 1.0)) == "too_slow"


def test_a_rate_that_moves_nothing_is_too_slow_though_noise_hides_the_trend() -> None:
    # Σ η‖g‖² = 1000 · 1e-6 · 4: at most 0.4 % of a percent of the loss can have gone.
    loss = 2.3 + 0.1 * noise(1000)
    assert verdict(digits_job(gd(1e-6)), curve(loss, 1e-6, 2.0)) == "too_slow"


def test_a_healthy_noisy_descent_is_healthy() -> None:
    base = 2.3 * np.exp(-np.arange(2000.0) / 300.0) + 0.02
    loss = base * np.exp(0.3 * noise(2000))
    evaluation = evaluations(
        np.array([2.3, 1.0, 0.5, 0.3, 0.2, 0.15, 0.12, 0.11, 0.105, 0.11]), 200
    )
    job = digits_job({"kind": "adam"})
    assert verdict(job, curve(loss, 0.001, np.sqrt(base)), evaluation) == "healthy"


def test_an_evaluation_loss_that_turns_up_is_overfitting() -> None:
    loss = 2.3 * np.exp(-np.arange(2000.0) / 200.0) * np.exp(0.1 * noise(2000))
    at = np.arange(20.0)
    evaluation = evaluations(np.maximum(2.3 - 0.6 * at, 0.5) + 0.05 * np.maximum(at - 4, 0), 100)
    found = diagnosis(digits_job({"kind": "adam"}), curve(loss, 0.001, np.sqrt(loss)), evaluation)
    assert found["verdict"] == "overfitting"
    assert finding(found, "overfitting")["evidence"]["best_step"] in (300.0, 400.0)


def sgd_on_a_noisy_quadratic(lr: float, spread: float, steps: int) -> Columns:
    """½·x² in 10 dimensions, gradients x + N(0, spread²·I): SGD settles at η·tr(C)/(2(2−η))."""
    draw = np.random.Generator(np.random.PCG64(5))
    x, rows = np.full(10, 3.0), []
    for _ in range(steps):
        gradient = x + spread * draw.standard_normal(10)
        loss = 0.5 * x @ x + 0.1 * abs(draw.standard_normal())
        rows.append((float(loss), float(np.sqrt(gradient @ gradient))))
        x = x - lr * gradient
    loss, grad = (np.array(each) for each in zip(*rows, strict=True))
    return curve(loss, lr, grad)


def test_sgd_that_noise_holds_up_is_noise_limited() -> None:
    run = sgd_on_a_noisy_quadratic(0.2, 2.0, 2000)
    found = diagnosis(digits_job(gd(0.2), data="diabetes", model={"kind": "linear"}), run)
    assert found["verdict"] == "noise_limited"


def test_the_level_that_noise_holds_up_is_predicted() -> None:
    run = sgd_on_a_noisy_quadratic(0.1, 2.0, 4000)
    job = digits_job(gd(0.1), data="diabetes", model={"kind": "linear"})
    evidence = finding(diagnosis(job, run), "noise_limited")["evidence"]
    held_up = 0.1 * 10 * 2.0**2 / (2 * (2 - 0.1))  # the stationary variance's closed form
    assert evidence["excess"] * evidence["level"] == pytest.approx(held_up, rel=0.15)


def test_mini_batches_thrown_above_their_start_are_an_oscillation() -> None:
    loss = 30.0 * np.exp(0.3 * noise(200))
    loss[0] = 2.3
    grad = np.full(200, 50.0)
    grad[:2] = 2.0
    found = diagnosis(digits_job(gd(5.0)), curve(loss, 5.0, grad) | {})
    # By the contract's rule such a run has diverged; below four times the start it has not.
    assert found["verdict"] == "diverging"
    assert verdict(digits_job(gd(5.0)), curve(np.minimum(loss, 8.5), 5.0, grad)) == "oscillating"


def test_a_loss_that_grows_to_three_times_its_start_is_heading_to_divergence() -> None:
    loss = 2.0 * 1.02 ** np.arange(50.0)
    job = digits_job(gd(1.0), batch_size="full")
    assert verdict(job, curve(loss, 1.0, np.sqrt(loss))) == "diverging"
