"""Verdicts on the step against the curvature; each test's name is the argument."""

import numpy as np
import pytest

from core.specs.job import JobSpec
from tests.core.diagnosis.runs import (
    ELLIPSE,
    TEN,
    X_SQUARED,
    Columns,
    Floats,
    Json,
    curve,
    diagnosis,
    diagonal,
    digits_job,
    ellipse,
    finding,
    function_job,
    gd,
    noise,
    sgd,
    verdict,
    x_squared,
)


def on_x_squared(lr: float, steps: int) -> str:
    return verdict(function_job(X_SQUARED, TEN, gd(lr)), sgd(x_squared, TEN, steps, lr))


@pytest.mark.parametrize(
    ("lr", "steps", "expected"),
    [
        (0.2, 10, "healthy"),  # Dive into Deep Learning, section 12.3
        (0.05, 10, "too_slow"),  # the same book's example of one
        (1.1, 10, "diverging"),
        (0.001, 10, "too_slow"),  # 1/1000 of the threshold
        (0.001, 1000, "too_slow"),
        (0.999, 10, "oscillating"),  # the same losses as 0.001, from wall to wall
        (0.999, 1000, "oscillating"),
        (1.0, 100, "oscillating"),  # jumps between ±10 for ever
        (0.5, 10, "converged"),  # arrives in one step
        (0.01, 600, "converged"),  # 0.98²⁰⁰⁰ of the loss is left
    ],
)
def test_x_squared_at_every_kind_of_rate(lr: float, steps: int, expected: str) -> None:
    assert on_x_squared(lr, steps) == expected


def test_equal_losses_are_told_apart_without_the_points_too() -> None:
    # A supervised full-batch run has no x: the loss and the gradient norm must do.
    job = digits_job(gd(0.1), batch_size="full", model={"kind": "linear"})
    rows: dict[float, Columns] = {}
    for lr in (0.001, 0.999):
        rows[lr] = sgd(x_squared, TEN, 200, lr)
        del rows[lr]["x"]
    assert verdict(job, rows[0.999]) == "oscillating"
    assert verdict(job, rows[0.001]) == "too_slow"


def test_the_ellipse_of_the_textbook() -> None:
    start = np.array([-5.0, -2.0])  # η·4 = 1.6 is stable, 2.4 is not
    for lr, expected in ((0.4, "healthy"), (0.6, "diverging")):
        run = sgd(ellipse, start, 20, lr)
        assert verdict(function_job(ELLIPSE, start, gd(lr)), run) == expected


THRESHOLDS = [(0.0, False, 2.0), (0.9, False, 3.8), (0.9, True, 3.8 / 2.8), (0.5, False, 3.0)]


@pytest.mark.parametrize(("beta", "nesterov", "threshold"), THRESHOLDS)
@pytest.mark.parametrize("ratio", [0.5, 0.9, 0.99, 1.01, 1.5])
@pytest.mark.parametrize("condition", [1.0, 10.0, 1e4])
def test_both_sides_of_the_threshold_are_told_apart(
    beta: float, nesterov: bool, threshold: float, ratio: float, condition: float
) -> None:
    eigenvalues = np.geomspace(1.0, condition, 5)
    lr = ratio * threshold / condition
    start = np.array([1.0, -0.7, 0.5, 1.3, -0.2])
    function = {"kind": "quadratic", "eigenvalues": eigenvalues.tolist()}
    job = function_job(function, start, gd(lr, momentum=beta, nesterov=nesterov))
    # 20 steps: at 1.01 most runs have not diverged yet, but are bound to.
    for steps in (20, 300):
        run = sgd(diagonal(eigenvalues), start, steps, lr, beta, nesterov)
        assert (verdict(job, run) == "diverging") == (ratio > 1.0), steps


@pytest.mark.parametrize("condition", [1e3, 1e4, 1e6])
def test_an_ill_conditioned_quadratic_is_too_slow_even_at_a_good_rate(condition: float) -> None:
    eigenvalues = np.geomspace(1.0, condition, 6)
    start = np.ones(6)
    job = function_job(
        {"kind": "quadratic", "eigenvalues": eigenvalues.tolist()}, start, gd(1.8 / condition)
    )
    found = diagnosis(job, sgd(diagonal(eigenvalues), start, 300, 1.8 / condition))
    assert found["verdict"] == "too_slow"
    evidence = finding(found, "ill_conditioned")["evidence"]
    assert evidence["condition_number"] == pytest.approx(condition)


def test_an_unstable_direction_that_the_run_cannot_feel_does_not_count() -> None:
    # Along x₂ the gradient is exactly 0 from the start: only λ = 1 matters.
    function = {"kind": "quadratic", "eigenvalues": [1.0, 100.0]}
    start = np.array([1.0, 0.0])
    run = sgd(diagonal(np.array([1.0, 100.0])), start, 50, 0.5)
    assert verdict(function_job(function, start, gd(0.5)), run) == "converged"


def test_thinned_rows_do_not_hide_the_oscillation() -> None:
    run = {name: values[::10] for name, values in sgd(x_squared, TEN, 1000, 0.999).items()}
    job = function_job(X_SQUARED, TEN, gd(0.999), record={"every": 10})
    assert verdict(job, run) == "oscillating"


def turning(spec: JobSpec, cosines: Floats | float | None) -> Json:
    """What the rule says of a loss that stands still, with these cosines recorded."""
    run = curve(2.0 + 0.01 * noise(80))
    if cosines is not None:
        run["grad_cosine"] = np.broadcast_to(np.asarray(cosines), (80,)).copy()
        run["grad_cosine"][0] = np.nan
    return finding(diagnosis(spec, run), "gradients_oppose")


def test_recorded_cosines_tell_an_oscillation_of_any_method() -> None:
    for optimizer in ({"kind": "adam"}, gd(0.1, momentum=0.9), {"kind": "rmsprop"}):
        spec = digits_job(optimizer, batch_size="full")
        assert turning(spec, None)["status"] == "undetermined"
        assert turning(spec, np.nan)["status"] == "undetermined"
        assert turning(spec, 0.9)["status"] == "clear"
        found = turning(spec, -0.9)
        assert found["status"] == "triggered"
        assert found["evidence"]["gradient_cosine"] == -0.9
    # What counts is the run's end.
    ending = np.concatenate([np.full(40, -0.9), np.full(40, 0.5)])
    assert turning(digits_job({"kind": "adam"}, batch_size="full"), ending)["status"] == "clear"


def test_the_few_batches_of_an_epoch_cancel_out_at_a_minimum_and_say_nothing() -> None:
    # 1,437 rows: three batches of 512, whose gradients at a minimum have cosines around −1/2.
    assert turning(digits_job(gd(0.1), batch_size=512), -0.9)["status"] == "undetermined"
    assert turning(digits_job(gd(0.1), batch_size=32), -0.9)["status"] == "triggered"


def test_gradient_clipping_turns_divergence_into_a_limit_cycle() -> None:
    # Steps of length lr·max_norm = 1.1·1 around the minimum of x²: they never settle.
    x, rows = 10.0, []
    for _ in range(200):
        gradient = 2.0 * x
        rows.append((x * x, abs(gradient), [x]))
        x -= 1.1 * gradient * min(1.0, 1.0 / (abs(gradient) + 1e-6))
    loss, grad, points = (np.array(each) for each in zip(*rows, strict=True))
    run = curve(loss, 1.1, grad) | {"x": points}
    job = function_job(X_SQUARED, TEN, gd(1.1), gradient_clip={"kind": "norm", "max_norm": 1.0})
    assert verdict(job, run) == "oscillating"


def lessard(x: Floats) -> tuple[float, Floats]:
    """Lessard, Recht and Packard 2016, section 4.6: convex, κ = 25, heavy ball cycles on it."""
    at = float(x[0])
    if at < 1:
        return 12.5 * at**2, np.array([25 * at])
    if at < 2:
        return 0.5 * at**2 + 24 * at - 12, np.array([at + 24])
    return 12.5 * at**2 - 24 * at + 36, np.array([25 * at - 24])


def test_a_limit_cycle_of_period_three_is_an_oscillation() -> None:
    text = "where(x1 < 1, 12.5*x1**2, where(x1 < 2, 0.5*x1**2 + 24*x1 - 12,"
    text += " 12.5*x1**2 - 24*x1 + 36))"
    function, start = {"kind": "expression", "expression": text}, np.array([3.07])
    run = sgd(lessard, start, 300, 1 / 9, beta=4 / 9)
    job = function_job(function, start, gd(1 / 9, momentum=4 / 9))
    assert run["loss"][-30:].min() > 1.0  # it does not converge
    assert verdict(job, run) == "oscillating"


def test_a_kink_that_is_jumped_over_is_an_oscillation() -> None:
    start = np.array([5.03])
    run = sgd(lambda x: (abs(float(x[0])), np.sign(x)), start, 300, 0.1)
    job = function_job({"kind": "expression", "expression": "abs(x1)"}, start, gd(0.1))
    assert verdict(job, run) == "oscillating"


def test_the_edge_of_stability_with_a_loss_that_falls_well_is_healthy() -> None:
    # A sharp direction that swings at the threshold (a small share of the loss), and a flat one
    # down which the loss falls: full-batch networks look like this (Cohen et al. 2021).
    steps = np.arange(400.0)
    lr, lam = 0.1, 20.0
    swing = 0.05 * (1.0 + 0.5 * np.sin(steps / 7.0))
    bulk = 2.0 * np.exp(-steps / 150.0)
    loss = bulk + 0.5 * lam * swing**2 * (1.0 + 0.3 * (-1.0) ** steps)
    grad = np.sqrt((lam * swing) ** 2 + bulk / 15.0)
    job = digits_job(gd(lr), batch_size="full")
    assert (np.diff(loss) > 0).mean() > 0.2  # not monotone
    assert verdict(job, curve(loss, lr, grad)) == "healthy"
