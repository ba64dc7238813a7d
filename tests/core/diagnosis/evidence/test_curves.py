"""Each function of a curve against cases worked by hand, closed forms, or scipy."""

import numpy as np
import pytest
from scipy import stats

from core.diagnosis.evidence import curves
from core.diagnosis.evidence.convergence import condition_number, convergence_rate
from tests.core.diagnosis.runs import diagonal, sgd, x_squared

ZERO_NOISE = np.random.Generator(np.random.PCG64(1))


def test_a_rise_of_three_times_the_start_is_the_limit_of_divergence() -> None:
    # E − L₀ > 3·|L₀| with L₀ = 1: an end of 4 is not beyond it, an end of 4.01 is.
    assert not curves.diverged(np.array([1.0] + [4.0] * 10))
    assert curves.diverged(np.array([1.0] + [4.01] * 10))


def test_what_was_gained_on_the_way_counts_for_divergence() -> None:
    # L₀ − L_best = 10 - (-30) = 40, so the end may be up to 120 above the start.
    assert not curves.diverged(np.array([10.0, -30.0] + [129.0] * 10))
    assert curves.diverged(np.array([10.0, -30.0] + [131.0] * 10))


def test_a_non_finite_loss_is_divergence_and_no_loss_is_not() -> None:
    assert curves.diverged(np.array([1.0, 0.5, np.nan]))
    assert curves.diverged(np.array([np.inf]))
    assert not curves.diverged(np.empty(0))


def test_stable_heavy_ball_runs_do_not_count_as_divergence_on_their_way() -> None:
    run = sgd(diagonal(np.array([1.0, 100.0])), np.array([1.0, 1.0]), 300, 0.03, beta=0.95)
    assert run["loss"].max() > 4 * run["loss"].min()  # "4 × the best" would have called it one
    assert not any(curves.diverged(run["loss"][:n]) for n in range(1, 300))


@pytest.mark.parametrize("seed", range(5))
def test_trend_agrees_with_scipy(seed: int) -> None:
    draw = np.random.Generator(np.random.PCG64(seed))
    at = np.arange(30.0)
    values = np.round(draw.standard_normal(30) - 0.05 * at, 1)  # rounding makes ties
    ours = curves.trend(at, values)
    assert ours.slope == pytest.approx(stats.theilslopes(values, at).slope)
    tau = stats.kendalltau(at, values, method="asymptotic")
    # scipy has no continuity correction: S/σ against (|S|−1)/σ.
    score = ours.agreement * 30 * 29 / 2
    exact = stats.norm.isf(tau.pvalue / 2) * np.sign(tau.statistic)
    assert ours.z == pytest.approx(exact * (abs(score) - 1) / abs(score), rel=1e-9)


def test_a_steady_fall_after_a_spike_has_a_falling_trend() -> None:
    loss = np.linspace(1.0, 0.5, 100)
    loss[50] = 30.0
    assert curves.trend(np.arange(100.0), loss).z < -10


def test_noise_is_measured_on_a_slope_and_in_spite_of_spikes() -> None:
    draw = np.random.Generator(np.random.PCG64(3))
    loss = np.linspace(5.0, 1.0, 4000) + 0.1 * draw.standard_normal(4000)
    loss[::100] += 5.0
    assert curves.noise_level(loss) == pytest.approx(0.1, rel=0.1)


def test_white_noise_has_an_autocorrelation_of_minus_a_half() -> None:
    loss = np.random.Generator(np.random.PCG64(4)).standard_normal(4000)
    seen = curves.wiggle(loss)
    assert seen is not None
    assert seen.lag1 == pytest.approx(-0.5, abs=0.05)
    assert seen.sign_changes == pytest.approx(2 / 3, abs=0.03)


def test_a_period_of_two_and_a_straight_line_are_the_two_ends() -> None:
    zigzag, line = curves.wiggle(np.tile([1.0, 2.0], 20)), curves.wiggle(np.arange(40.0))
    assert zigzag is not None
    assert line is not None
    assert zigzag.lag1 == pytest.approx(-1.0)
    assert zigzag.sign_changes == 1.0
    assert line.lag1 == pytest.approx(1.0)
    assert line.sign_changes == 0.0
    assert curves.wiggle(np.ones(10)) is None


def test_equal_loss_curves_are_told_apart_by_the_derived_cosine() -> None:
    # x² at η: x is multiplied by 1−2η, that is ±0.998 a step, so the losses are the same.
    small = sgd(x_squared, np.array([10.0]), 50, 0.001)
    large = sgd(x_squared, np.array([10.0]), 50, 0.999)
    assert small["loss"] == pytest.approx(large["loss"], rel=1e-12)
    for run, sign in ((small, 1.0), (large, -1.0)):
        seen = curves.descent(run["loss"], run["lr"], run["grad_norm"])
        assert seen.cosine == pytest.approx(sign, abs=1e-6)
        assert seen.curvature == pytest.approx(2.0, rel=1e-6)  # f'' = 2


def test_the_derived_curvature_is_the_rayleigh_quotient_of_the_gradient() -> None:
    lam, x = np.array([1.0, 3.0, 10.0]), np.array([1.0, -2.0, 0.5])
    run = sgd(diagonal(lam), x, 2, 0.05)
    gradient = lam * x
    expected = (gradient @ (lam * gradient)) / (gradient @ gradient)
    seen = curves.descent(run["loss"], run["lr"], run["grad_norm"])
    assert seen.curvature[0] == pytest.approx(expected, rel=1e-9)


def test_cosines_leave_out_zero_vectors() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0], [1.0, 1.0], [-3.0, -3.0]])
    assert curves.cosines(vectors) == pytest.approx([0.0, -1.0])


def test_blocks_hold_the_means_of_equal_parts() -> None:
    view = curves.blocks(np.arange(10.0), most=3)
    assert view.size == 4
    assert view.mean == pytest.approx([3.5, 7.5])  # rows 2–5 and 6–9; the remainder is in front
    assert view.row == pytest.approx([3.5, 7.5])


@pytest.mark.parametrize("factor", [0.5, 0.9, 0.99])
def test_a_geometric_curve_gives_its_factor_and_limit(factor: float) -> None:
    step = np.arange(200.0)
    fit = convergence_rate(step[:64], 2.0 + 5.0 * factor ** step[:64])
    assert fit is not None
    assert fit.kind == "linear"
    assert fit.factor == pytest.approx(factor, rel=0.02)
    assert fit.factor_low <= fit.factor <= fit.factor_high
    assert fit.f_star == pytest.approx(2.0, abs=0.06 * 5.0)


def test_a_power_law_gives_its_exponent() -> None:
    step = np.arange(2000.0)
    fit = convergence_rate(step, 1.0 / (step + 1.0), f_star=0.0)
    assert fit is not None
    assert fit.kind == "sublinear"
    assert fit.power == pytest.approx(1.0, abs=0.15)


def test_a_straight_line_and_a_constant_have_no_limit_in_sight() -> None:
    step = np.arange(100.0)
    assert convergence_rate(step, 5.0 - 0.01 * step) is None
    assert convergence_rate(step, np.ones(100)) is None


def test_the_condition_number_of_the_best_rate_is_recovered() -> None:
    # η = 2/(L+μ) gives f − f* a factor of ((κ−1)/(κ+1))² a step.
    kappa = 50.0
    run = sgd(diagonal(np.array([1.0, kappa])), np.array([1.0, 1.0]), 100, 2.0 / (1.0 + kappa))
    fit = convergence_rate(run["step"], run["loss"], f_star=0.0)
    assert fit is not None
    assert condition_number(fit.factor) == pytest.approx(kappa, rel=0.02)


def test_the_evaluation_gap_is_that_of_best_and_last() -> None:
    seen = curves.overfit(np.arange(6.0) * 100, np.array([3.0, 1.0, 0.5, 0.6, 0.7, 0.8]))
    assert seen is not None
    assert (seen.best_step, seen.best, seen.first) == (200.0, 0.5, 3.0)
    assert seen.last == pytest.approx(0.75)  # the median of the last two
    assert seen.after.agreement == 1.0
    assert curves.overfit(np.arange(3.0), np.arange(3.0)) is None
