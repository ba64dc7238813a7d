"""Student's t distribution, by the incomplete beta function (the API has no SciPy)."""

import functools
import math
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_TINY: Final = 1e-300
_MOST_TERMS: Final = 10_000
_MOST_STEPS: Final = 100


def two_sided(t: Floats, df: Floats) -> Floats:
    """Return P(|T| ≥ |t|) with `df` degrees of freedom (≥ 1), elementwise; NaN gives NaN.

    I_x(df/2, 1/2) at x = df / (df + t²) (Abramowitz and Stegun 1964, 26.5.27 and 26.7.1).
    """
    t, df = np.broadcast_arrays(np.abs(np.asarray(t, dtype=np.float64)), df)
    with np.errstate(over="ignore", invalid="ignore"):
        squared = t**2
        x, rest = df / (df + squared), 1.0 / (1.0 + df / np.where(squared == 0.0, _TINY, squared))
        a, b = df / 2.0, np.full(t.shape, 0.5)
        # The continued fraction converges fast below the mean only; above it, the other tail.
        turned = x > (a + 1.0) / (a + b + 2.0)
        below = _beta_tail(
            np.where(turned, rest, x),
            np.where(turned, x, rest),
            np.where(turned, b, a),
            np.where(turned, a, b),
        )
    found = np.where(turned, 1.0 - below, below)
    found = np.where(np.isinf(t), 0.0, np.where(t == 0.0, 1.0, found))
    return np.where(np.isnan(t), np.nan, np.clip(found, 0.0, 1.0))


def _beta_tail(x: Floats, rest: Floats, a: Floats, b: Floats) -> Floats:
    """Compute I_x(a, b) by its continued fraction (Abramowitz and Stegun 26.5.8), evaluated from
    the front (Lentz 1976). `rest` = 1 − x, kept apart so that nothing cancels."""
    halves, place = np.unique(np.stack([a, b, a + b]), return_inverse=True)
    logs = np.array([math.lgamma(value) for value in halves.tolist()])[place]
    front = np.exp(
        logs[2] - logs[0] - logs[1] + a * np.log(np.maximum(x, _TINY)) + b * np.log(rest)
    )
    c = np.ones(x.shape)
    d = 1.0 / _away(1.0 - (a + b) * x / (a + 1.0))
    found = d.copy()
    for m in range(1, _MOST_TERMS):
        for top in (
            m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0)),
        ):
            d = 1.0 / _away(1.0 + top * d)
            c = _away(1.0 + top / c)
            found *= d * c
        if not (np.abs(d * c - 1.0) > 1e-15).any():
            break
    tail: Floats = front * found / a
    return tail


def _away(value: Floats) -> Floats:
    return np.where(np.abs(value) < _TINY, _TINY, value)


@functools.lru_cache(maxsize=4096)
def quantile(p: float, df: int) -> float:
    """Return the p-quantile of Student's t, 0.5 < p < 1.

    Newton's method from the normal quantile: that lies below, and the tail is convex, so that every
    step stays below.
    """
    wanted, t = 2.0 * (1.0 - p), NormalDist().inv_cdf(p)
    log_front = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)
    for _ in range(_MOST_STEPS):
        above = float(two_sided(np.array([t]), np.array([float(df)]))[0]) - wanted
        density = math.exp(log_front - (df + 1) / 2 * math.log1p(t * t / df))
        step = above / (2.0 * density)
        t += step
        if abs(step) <= 1e-14 * t:
            break
    return t
