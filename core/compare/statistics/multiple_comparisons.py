"""Correction for many comparisons against one leader, and how many repeats it takes to tell two
apart."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.compare.statistics.student_t import quantile

Floats = NDArray[np.float64]

POWER: Final = 0.8
MOST_REPEATS: Final = 1_000


def adjusted(p: Floats) -> Floats:
    """Adjust p-values by Hochberg's step-up method (1988, doi 10.1093/biomet/75.4.800): with p₍₁₎ ≤
    … ≤ p₍ₘ₎, adjusted p₍ᵢ₎ = min over j ≥ i of (m − j + 1) p₍ⱼ₎.

    All are below 0.05 after it exactly if all are before it. NaN (not compared) is left out of m.
    """
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(-p[known], kind="stable")]
    found = np.full(p.shape, np.nan)
    found[order] = np.minimum(1.0, np.minimum.accumulate(np.arange(1, order.size + 1) * p[order]))
    return found


def repeats_to_tell(difference: float, deviation: float) -> int | None:
    """Estimate the repeats at which the 95 % interval of a mean difference excludes 0 with 80 %
    power, if the differences go on as they were: the least n with |d| √n / s ≥ t(0.975, n − 1) +
    t(0.8, n − 1) (Cohen 1988, section 2.4, for pairs). None: more than 1,000."""
    if difference == 0.0 or not math.isfinite(deviation):
        return None
    ratio = deviation / abs(difference)
    low, high = 1, MOST_REPEATS
    if not _enough(high, ratio):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _enough(middle, ratio) else (middle, high)
    return high


def _enough(n: int, ratio: float) -> bool:
    tail = quantile(0.975, n - 1) + quantile(POWER, n - 1)
    return math.sqrt(n) >= ratio * tail
