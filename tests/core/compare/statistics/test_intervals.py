"""Intervals of a mean: their ends, and how often they hold what they promise."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from core.compare.statistics.intervals import MOST_EXACT, MOST_RESAMPLED, means, upper_arm

Floats = NDArray[np.float64]


def test_a_symmetric_sample_has_students_interval() -> None:
    x = np.array([[1.0, 2.0, 3.0], [1.0, 4.0, 7.0]])
    found = means(x)
    for row in range(2):
        expected = stats.ttest_1samp(x[row], 0.0).confidence_interval(0.95)
        assert [found.low[row], found.high[row]] == pytest.approx(list(expected))
        assert found.p[row] == pytest.approx(stats.ttest_1samp(x[row], 0.0).pvalue)


def test_two_values_have_students_interval() -> None:
    # t(0.975, 1) = 12.7062, s/√2 = 0.5.
    found = means(np.array([[1.0, 2.0]]))
    assert (found.low[0], found.high[0]) == pytest.approx((1.5 - 6.3531, 1.5 + 6.3531), abs=1e-4)


def test_three_values_worked_by_hand() -> None:
    # 0, 0, 3: mean 1, s² = 3, s/√3 = 1; t(0.975, 2) = 4.302653. The bootstrap's means are 0 (8/27),
    # 1 (12/27), 2 (6/27), 3 (1/27 = 3.7 %): q₋ = 0, q₊ = 3, so a third of 2 t lies below.
    found = means(np.array([[3.0, 0.0, 0.0]]))
    assert found.mean[0] == pytest.approx(1.0)
    assert found.low[0] == pytest.approx(1.0 - 2 * 4.302653 / 3, abs=1e-6)
    assert found.high[0] == pytest.approx(1.0 + 4 * 4.302653 / 3, abs=1e-6)


@pytest.mark.parametrize("n", [4, 5, 6, 7])
def test_few_repeats_are_resampled_exactly(n: int) -> None:
    """Against SciPy's percentile bootstrap over all nⁿ arrangements, or as many draws."""
    x = np.random.default_rng(n).exponential(size=n)
    drawn = stats.bootstrap(
        (x,), np.mean, method="percentile", n_resamples=400_000, vectorized=True, batch=20_000,
        rng=np.random.default_rng(1),
    )  # fmt: skip
    below, above = drawn.confidence_interval
    expected = (above - x.mean()) / (above - below)
    assert upper_arm(np.sort(x - x.mean())[None])[0] == pytest.approx(expected, abs=4e-3)


@pytest.mark.parametrize("n", [8, 20, 200])
def test_more_repeats_are_resampled_by_draws(n: int) -> None:
    x = np.random.default_rng(n).exponential(size=n)
    drawn = stats.bootstrap(
        (x,), np.mean, method="percentile", n_resamples=100_000, vectorized=True, batch=5_000,
        rng=np.random.default_rng(1),
    )  # fmt: skip
    below, above = drawn.confidence_interval
    expected = (above - x.mean()) / (above - below)
    assert upper_arm(np.sort(x - x.mean())[None])[0] == pytest.approx(expected, abs=0.02)


def test_the_closed_form_for_many_repeats_goes_on_where_the_draws_end() -> None:
    x = np.random.default_rng(0).exponential(size=MOST_RESAMPLED + 1)
    closed = upper_arm(np.sort(x - x.mean())[None])[0]
    y = np.sort(x)[:MOST_RESAMPLED]
    assert closed == pytest.approx(upper_arm((y - y.mean())[None])[0], abs=0.01)
    assert closed > 0.5


Rows = st.lists(
    st.floats(-1e6, 1e6, allow_nan=False, width=32), min_size=2, max_size=MOST_EXACT + 3
)


@settings(deadline=None, max_examples=60)
@given(Rows, st.randoms(use_true_random=False))
def test_the_order_of_the_repeats_does_not_matter(row: list[float], random: object) -> None:
    shuffled = list(row)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert means(np.array([row])).high[0] == means(np.array([shuffled])).high[0]


@settings(deadline=None, max_examples=60)
@given(Rows, st.sampled_from([-1.0, -4.0, 0.25, 1e3]))
def test_scaled_and_mirrored_data_have_scaled_and_mirrored_intervals(
    row: list[float], factor: float
) -> None:
    one, other = means(np.array([row])), means(factor * np.array([row]))
    ends = sorted([factor * one.low[0], factor * one.high[0]])
    size = abs(factor) * max(1e-300, *map(abs, row))
    assert [other.low[0], other.high[0]] == pytest.approx(ends, rel=1e-9, abs=1e-9 * size)


@settings(deadline=None, max_examples=100)
@given(Rows)
def test_p_is_below_the_level_exactly_where_the_interval_excludes_0(row: list[float]) -> None:
    found = means(np.array([row]))
    if min(abs(found.low[0]), abs(found.high[0])) > 1e-9 * max(map(abs, row)):
        assert (found.p[0] < 0.05) == (found.low[0] > 0.0 or found.high[0] < 0.0)


def test_rows_may_have_unlike_numbers_of_values() -> None:
    nan = math.nan
    x = np.array([[1.0, nan, 2.0, 4.0], [nan, nan, 5.0, nan], [nan] * 4, [1.0, 2.0, 3.0, 9.0]])
    found = means(x)
    assert found.num.tolist() == [3, 1, 0, 4]
    assert found.mean[:2].tolist() == pytest.approx([7.0 / 3.0, 5.0])
    assert np.isnan(found.low[1:3]).all()
    assert np.isnan(found.mean[2])
    assert found.high[0] == means(np.array([[4.0, 1.0, 2.0]])).high[0]


def test_equal_values_have_no_spread_but_for_the_floor() -> None:
    x = np.full((1, 3), 0.1)
    exact = means(x)
    assert (exact.low[0], exact.high[0], exact.p[0]) == (0.1, 0.1, 0.0)
    stepped = means(x, floor=0.05)
    assert stepped.low[0] == pytest.approx(0.1 - 4.302653 * 0.05 / math.sqrt(3))


def test_what_float64_holds_neither_overflows_nor_vanishes() -> None:
    found = means(np.array([[1e300, 2e300, 3e300], [1e-300, 2e-300, 3e-300], [0.0, 0.0, 0.0]]))
    assert found.high[:2] / [1e300, 1e-300] == pytest.approx([2.0 + 4.302653 / math.sqrt(3)] * 2)
    assert (found.high[2], found.p[2]) == (0.0, 1.0)


def many(n: int) -> int:
    return 20_000 if n <= MOST_EXACT else 6_000


def coverage(draw: Callable[[tuple[int, int]], Floats], mean: float, n: int) -> float:
    found = means(draw((many(n), n)))
    return float(((found.low <= mean) & (mean <= found.high)).mean())


@pytest.mark.parametrize("n", [2, 3, 4, 5, 10])
def test_the_interval_of_normal_data_holds_the_mean_in_95_of_100(n: int) -> None:
    rng = np.random.default_rng(n)
    assert coverage(rng.standard_normal, 0.0, n) == pytest.approx(0.95, abs=0.011)


@pytest.mark.parametrize(("n", "least"), [(3, 0.915), (5, 0.912), (10, 0.92)])
def test_moderate_skewness_costs_it_little(n: int, least: float) -> None:
    """A lognormal law whose logarithm has a deviation of 0.5: a skewness of 1.75."""
    rng = np.random.default_rng(n)
    found = coverage(lambda shape: rng.lognormal(0.0, 0.5, shape), math.exp(0.125), n)
    assert least < found < 0.96


@pytest.mark.parametrize("n", [3, 5, 10])
def test_on_skewed_data_it_is_no_worse_than_students_and_far_better_than_the_percentiles(
    n: int,
) -> None:
    """An exponential law: a skewness of 2, as strong as that of losses near a floor."""
    x = np.random.default_rng(n).exponential(size=(many(n), n))
    found = means(x)
    covered = float(((found.low <= 1.0) & (found.high >= 1.0)).mean())
    half = stats.t.ppf(0.975, n - 1) * x.std(axis=1, ddof=1) / math.sqrt(n)
    student = float((np.abs(x.mean(axis=1) - 1.0) <= half).mean())
    outside = (x.min(axis=1) > 1.0) | (x.max(axis=1) < 1.0)
    assert covered >= student - 0.001
    assert covered > 0.875
    if n == 3:
        # No percentile of resamples lies beyond the sample's own ends.
        assert 1.0 - float(outside.mean()) < 0.72
