"""Speed of a curve's convergence: linear (f − f* ~ rᵏ) or sublinear (f − f* ~ k⁻ᵖ), with f*
fitted."""

import math
from typing import Final, Literal, NamedTuple

import numpy as np

from core.diagnosis.evidence.curves import Floats, blocks

# f* lies this share of the curve's range below its lowest value; the fit chooses which.
_BELOW: Final = np.logspace(-9, 1, 101)


class Rate(NamedTuple):
    """A convergence rate.

    Attributes:
        kind: `linear` or `sublinear`, whichever leaves the smaller residual.
        factor: linear: f − f* is multiplied by this each step (below 1); else NaN.
        factor_low, factor_high: the factors of all f* that fit about as well (F test, 95 %).
        power: sublinear: f − f* ~ k⁻ᵖᵒʷᵉʳ; else NaN.
        f_star: the fitted limit.
        r2: share of the variance of log(f − f*) explained.
    """

    kind: Literal["linear", "sublinear"]
    factor: float
    factor_low: float
    factor_high: float
    power: float
    f_star: float
    r2: float


def convergence_rate(step: Floats, loss: Floats, f_star: float | None = None) -> Rate | None:
    """Fit log(f − f*) against k and against log k; None when the curve does not fall.

    Args:
        step: steps of the rows, growing.
        loss: their losses, at least eight.
        f_star: the limit where it is known; else it is fitted on a grid below the lowest loss.

    Linear convergence is gradient descent's on strongly convex functions, k⁻¹ on convex ones
    (Nesterov 2018, Lectures on Convex Optimization, sections 2.1.5 and 2.1.3).
    """
    view = blocks(loss)
    if view.mean.size < 8:
        return None
    k = np.interp(view.row, np.arange(step.size), step)
    low, high = float(view.mean.min()), float(view.mean.max())
    span = high - low
    if not span > 1e-12 * max(abs(high), abs(low)):
        return None
    # What has arrived says nothing more: rounding, or a swing about the limit.
    live = np.flatnonzero(view.mean - low > 1e-6 * span)
    if f_star is None and live.size and live[-1] + 2 < k.size:
        k, values = k[: live[-1] + 2], view.mean[: live[-1] + 2]
    else:
        values = view.mean
    if k.size < 8:
        return None
    stars = low - span * _BELOW if f_star is None else np.array([f_star])
    if f_star is not None and low - f_star <= 0:
        return None
    logs = np.log(values[None, :] - stars[:, None])
    linear, linear_left = _lines(k, logs)
    power, power_left = _lines(np.log(k - k[0] + max(1.0, k[1] - k[0])), logs)
    total = ((logs - logs.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    # Residuals of logs shrink as f* moves away, so they are compared as shares of the variance.
    linear_share, power_share = linear_left / total, power_left / total
    if linear_share.min() <= power_share.min():
        best = int(linear_share.argmin())
        # The lowest f* of all: a straight line, whose limit is not in sight.
        if linear[best] >= 0 or (f_star is None and best == stars.size - 1):
            return None
        # Two parameters and f* are fitted; those within the F ratio fit about as well.
        alike = linear_share <= linear_share[best] * (1.0 + 4.0 / max(1, k.size - 3)) + 1e-12
        low_factor, high_factor = _exp(linear[alike].min()), _exp(linear[alike].max())
        factor, exponent, share = _exp(linear[best]), math.nan, linear_share[best]
        kind: Literal["linear", "sublinear"] = "linear"
    else:
        best = int(power_share.argmin())
        if power[best] >= 0:
            return None
        factor = low_factor = high_factor = math.nan
        exponent, share, kind = -float(power[best]), power_share[best], "sublinear"
    return Rate(
        kind, factor, low_factor, high_factor, exponent, float(stars[best]), 1.0 - float(share)
    )


def _lines(at: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Fit lines: the least-squares slope and residual sum of squares of each row of `values`."""
    centred = at - at.mean()
    weight = centred @ centred
    spread = values - values.mean(axis=1, keepdims=True)
    slopes = spread @ centred / weight
    left = ((spread - slopes[:, None] * centred) ** 2).sum(axis=1)
    return slopes, left


def _exp(value: float) -> float:
    return math.exp(min(0.0, float(value)))


def condition_number(factor: float) -> float:
    """Return κ from gradient descent's rate: f − f* shrinks by ((κ−1)/(κ+1))² a step at η =
    2/(L+μ).

    At any smaller stable rate the same factor means a smaller κ, at η near 2/L about the same: it
    is the condition number of a run at the best rate, and an upper bound below it.
    """
    root = math.sqrt(factor)
    return (1.0 + root) / (1.0 - root) if root < 1.0 else math.inf
