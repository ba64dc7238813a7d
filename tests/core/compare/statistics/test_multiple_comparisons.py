"""Many comparisons at once, and how many repeats one takes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.compare.statistics.multiple_comparisons import adjusted, repeats_to_tell


def test_hochbergs_adjustment_worked_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.4: 0.4·1; 0.03·2; min(0.06, 0.02·3); min(0.06, 0.01·4).
    found = adjusted(np.array([0.02, 0.4, 0.01, math.nan, 0.03]))
    assert found[[0, 1, 2, 4]] == pytest.approx([0.06, 0.4, 0.04, 0.06])
    assert math.isnan(found[3])


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
def test_all_are_small_after_it_exactly_if_all_are_before(p: list[float]) -> None:
    found = adjusted(np.array(p))
    assert bool((found < 0.05).all()) == all(value < 0.05 for value in p)
    assert (found >= np.array(p)).all()


def test_no_comparison_needs_no_adjustment() -> None:
    assert adjusted(np.zeros(0)).size == 0


@pytest.mark.parametrize("ratio", [0.2, 0.5, 1.0, 2.0])
def test_that_many_repeats_have_80_percent_power(ratio: float) -> None:
    n = repeats_to_tell(1.0, 1.0 / ratio)
    assert n is not None

    def power(n: int) -> float:
        """Of the two-sided paired t test, exactly."""
        away, edge = ratio * math.sqrt(n), stats.t.ppf(0.975, n - 1)
        return float(stats.nct.sf(edge, n - 1, away))

    # The rule adds two quantiles; the non-central law says nearly the same.
    assert power(n + 1) > 0.8
    assert power(max(n - 2, 2)) < 0.8


def test_what_does_not_differ_is_never_told_apart() -> None:
    assert repeats_to_tell(0.0, 1.0) is None
    assert repeats_to_tell(1e-9, 1.0) is None
    assert repeats_to_tell(1.0, 0.0) == 2
