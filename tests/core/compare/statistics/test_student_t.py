"""Student's t against SciPy's."""

import numpy as np
import pytest
from scipy import stats

from core.compare.statistics.student_t import quantile, two_sided

DEGREES = [1.0, 2.0, 3.0, 4.0, 9.0, 29.0, 100.0, 9_999.0]


@pytest.mark.parametrize("t", [1e-6, 0.1, 0.9, 1.96, 4.303, 31.6, 1e4, -2.5])
def test_the_tails_are_those_of_scipy(t: float) -> None:
    found = two_sided(np.full(len(DEGREES), t), np.array(DEGREES))
    assert found == pytest.approx(2.0 * stats.t.sf(abs(t), DEGREES), rel=1e-8, abs=1e-300)


def test_the_ends_of_the_tails() -> None:
    found = two_sided(np.array([0.0, np.inf, np.nan]), np.full(3, 4.0))
    assert found.tolist()[:2] == [1.0, 0.0]
    assert np.isnan(found[2])


@pytest.mark.parametrize("df", [1, 2, 4, 9, 99, 9_999])
@pytest.mark.parametrize("p", [0.6, 0.8, 0.975, 0.9999])
def test_quantiles_are_those_of_scipy(p: float, df: int) -> None:
    assert quantile(p, df) == pytest.approx(float(stats.t.ppf(p, df)), rel=1e-10)
