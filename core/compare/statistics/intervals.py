"""The mean over repeats with its 95 % confidence interval: for two repeats as for a thousand.

Student's t, its two arms shared out by a bootstrap. With x̄, s of n repeats and the 2.5 % and 97.5 %
quantiles q₋, q₊ of the bootstrap's means (Efron and Tibshirani 1993, chapter 13),

    [x̄ − 2 (1 − a) t s/√n,  x̄ + 2 a t s/√n],   a = (q₊ − x̄) / (q₊ − q₋),

t the 97.5 % quantile at n − 1 degrees of freedom. The length is that of Student's interval. Data
without skewness (a = 1/2) get that interval itself; skewed data get arms as unlike as the
bootstrap's.

The percentile bootstrap alone is far too narrow for few repeats: its ends lie between the smallest
and the largest value, and of n values from a symmetric law all lie on one side of the mean with
probability 2^(1 − n), so that it covers at most 75 % for three (on its narrowness: Hesterberg 2015,
doi 10.1080/00031305.2015.1089789). docs/comparison.md has the coverage of each method tried.
"""

import functools
import itertools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.compare.statistics.student_t import quantile, two_sided

Floats = NDArray[np.float64]

LEVEL: Final = 0.95
MOST_EXACT: Final = 7
"""Most repeats for which every resample counts (7: 1,716 different ones of 823,543 draws)."""
MOST_RESAMPLED: Final = 200
"""Most repeats for which resamples are drawn; beyond, the arms follow from the skewness in closed
form."""
_DRAWS: Final = 2_000
_SEED: Final = 20_261_124
_Z: Final = 1.959963984540054
_CHUNK: Final = 4_000_000


@dataclass(frozen=True)
class Means:
    """The mean and interval of each row of values; NaN where there are too few.

    Attributes:
        num: values in the row.
        mean: of one value or more.
        low, high: the 95 % interval of the mean, of two values or more.
        p: two-sided, against a mean of 0: below 0.05 exactly where the interval excludes 0.
        deviation: sample standard deviation (n − 1), with the floor applied.
    """

    num: NDArray[np.int64]
    mean: Floats
    low: Floats
    high: Floats
    p: Floats
    deviation: Floats


def means(values: Floats, *, floor: float = 0.0) -> Means:
    """Compute the means and intervals of the rows.

    Args:
        values: (rows, repeats), NaN where a repeat has none. Their order in a row does not matter.
        floor: least standard deviation. For values that come in steps (shares of counted rows):
            equal ones do not mean that there is no spread below the step.
    """
    rows = len(values)
    ordered = np.sort(values, axis=1)  # NaN last
    num = np.isfinite(values).sum(axis=1)
    mean, low, high, p, deviation = (np.full(rows, np.nan) for _ in range(5))
    for n in np.unique(num[num > 0]).tolist():
        at = np.flatnonzero(num == n)
        mean[at], low[at], high[at], p[at], deviation[at] = _of_complete(ordered[at, :n], floor)
    return Means(num.astype(np.int64), mean, low, high, p, deviation)


def _of_complete(x: Floats, floor: float) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    n = x.shape[1]
    # In units of the largest value: squares of what float64 can hold overflow.
    scale = np.maximum(np.abs(x).max(axis=1), 1e-300)
    x = x / scale[:, None]
    # About a value of the row: equal values have a spread of exactly 0.
    mean = x[:, 0] + (x - x[:, :1]).mean(axis=1)
    if n == 1:
        nothing = np.full(len(x), np.nan)
        return mean * scale, nothing, nothing, nothing, nothing
    spread = np.sqrt(((x - mean[:, None]) ** 2).sum(axis=1) / (n - 1))
    deviation = np.maximum(spread, floor / scale)
    upper = upper_arm(x - mean[:, None])
    arm = 2.0 * quantile(0.5 + LEVEL / 2.0, n - 1) * deviation / math.sqrt(n)
    low, high = mean - (1.0 - upper) * arm, mean + upper * arm
    p = _p_value(mean, deviation, upper, n)
    return mean * scale, low * scale, high * scale, p, deviation * scale


def _p_value(mean: Floats, deviation: Floats, upper: Floats, n: int) -> Floats:
    """Return the level at which the end of the interval that is nearer to 0 reaches it."""
    towards = np.where(mean > 0.0, 1.0 - upper, upper)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(mean) * math.sqrt(n) / (2.0 * towards * deviation)
    t = np.where(mean == 0.0, 0.0, t)
    return two_sided(t, np.full(t.shape, n - 1.0))


def upper_arm(deviations: Floats) -> Floats:
    """Return a of each row: the share of the bootstrap interval that lies above the mean.

    Args:
        deviations: (rows, n), from the mean, ascending.
    """
    n = deviations.shape[1]
    if n <= 2:
        return np.full(len(deviations), 0.5)
    if n > MOST_RESAMPLED:
        return _arm_by_skewness(deviations)
    below, above = np.empty(len(deviations)), np.empty(len(deviations))
    shares, weights = _resamples(n)
    step = max(1, _CHUNK // len(shares))
    for first in range(0, len(deviations), step):
        part = slice(first, first + step)
        found = deviations[part] @ shares.T
        below[part], above[part] = _tails(found, weights)
    length = above - below
    with np.errstate(divide="ignore", invalid="ignore"):
        upper = np.where(length > 0.0, above / length, 0.5)
    return np.clip(upper, 0.0, 1.0)


def _arm_by_skewness(deviations: Floats) -> Floats:
    """Return the limit of the bootstrap's arm: q± = ±z s/√n + g (z² − 1) s / 6n (Hall 1992, section
    3.3)."""
    n = deviations.shape[1]
    squares = (deviations**2).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        skewness = (deviations**3).mean(axis=1) / squares**1.5
    skewness = np.where(squares > 0.0, skewness, 0.0)
    return np.clip(0.5 + skewness * (_Z**2 - 1.0) / (12.0 * _Z * math.sqrt(n)), 0.0, 1.0)


def _tails(found: Floats, weights: Floats | None) -> tuple[Floats, Floats]:
    """Return the 2.5 % quantile from below and from above of each row, `weights` on its columns."""
    tail = (1.0 - LEVEL) / 2.0
    if weights is None:
        size = found.shape[1]
        place = math.ceil(tail * size) - 1
        found = np.partition(found, (place, size - 1 - place), axis=1)
        return found[:, place], found[:, size - 1 - place]
    order = np.argsort(found, axis=1)
    heavy = np.cumsum(weights[order], axis=1)
    first = (heavy < tail - 1e-12).sum(axis=1)
    last = (heavy <= 1.0 - tail + 1e-12).sum(axis=1).clip(max=found.shape[1] - 1)
    at = np.arange(len(found))
    return found[at, order[at, first]], found[at, order[at, last]]


@functools.lru_cache(maxsize=MOST_RESAMPLED)
def _resamples(n: int) -> tuple[Floats, Floats | None]:
    """Return the shares of the n values in resamples (m, n), and the probability of each (None: all
    alike).

    Few values: all distinct resamples (the atoms of the bootstrap, Hall 1992, appendix I). More:
    draws of fixed seed, each with its mirror image, so that mirrored data get a mirrored interval.
    """
    if n > MOST_EXACT:
        draws = np.random.default_rng([_SEED, n]).multinomial(n, np.full(n, 1.0 / n), size=_DRAWS)
        return np.concatenate([draws, draws[:, ::-1]]) / n, None
    counts = np.array(
        [
            np.bincount(chosen, minlength=n)
            for chosen in itertools.combinations_with_replacement(range(n), n)
        ]
    )
    factorials = np.array([math.factorial(k) for k in range(n + 1)])
    return counts / n, math.factorial(n) / factorials[counts].prod(axis=1) / float(n) ** n
