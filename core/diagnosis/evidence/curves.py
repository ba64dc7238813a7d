"""Statistics of a loss curve: pure functions of arrays, NumPy only.

Arrays are float64, one value a row, finite unless a function says otherwise. Nothing here knows a
spec or a verdict. Long curves are looked at through at most `MAX_BLOCKS` block means, so that every
function is linear in the number of rows with a small constant.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MAX_BLOCKS: Final = 32
LAST_ROWS: Final = 10
"""Rows whose median is the end of a run (CONTRACT, outcome `diverged`)."""


def diverged(loss: Floats, first: float | None = None) -> bool:
    """Tell whether a curve is a divergence: a non-finite loss, or E − L₀ > 3·max(|L₀|, L₀ −
    L_best).

    `first`: L₀; left out, the first loss. E is the median of the last 10 losses. "So many times the
    best loss" would not do: stable heavy-ball runs on a quadratic reach 12 times their best loss on
    the way down.
    """
    if loss.size == 0:
        return False
    if not bool(np.isfinite(loss[-1])) or not bool(np.isfinite(loss).all()):
        return True
    first = float(loss[0]) if first is None else first
    end = float(np.median(loss[-LAST_ROWS:]))
    return end - first > 3.0 * max(abs(first), first - float(loss.min()))


class Blocks(NamedTuple):
    """A curve as equal blocks of rows: their mean rows (0-based), means and rows a block."""

    row: Floats
    mean: Floats
    size: int


def blocks(values: Floats, most: int = MAX_BLOCKS) -> Blocks:
    """Cut a curve into at most `most` equal blocks; a remainder is dropped at the front."""
    size = max(1, -(-values.size // most))
    count = values.size // size
    first = values.size - count * size
    means = values[first:].reshape(count, size).mean(axis=1)
    rows = first + (np.arange(count) + 0.5) * size - 0.5
    return Blocks(np.asarray(rows, np.float64), means, size)


def noise_level(loss: Floats) -> float:
    """Return the standard deviation of the independent noise on a smooth curve; 0.0 below four
    rows.

    The median absolute second difference over 0.6745·√6: a straight line has none, spikes hardly
    move it, and the second difference of white noise has variance 6σ² (Gasser, Sroka and
    Jennen-Steinmetz 1986, with the median for robustness). Looks at the last 4,096 rows at most.
    """
    if loss.size < 4:
        return 0.0
    second = np.diff(loss[-4096:], 2)
    return float(np.median(np.abs(second))) / (0.6745 * math.sqrt(6.0))


class Trend(NamedTuple):
    """The result of a trend test.

    Attributes:
        slope: Theil–Sen slope, per unit of `at`.
        z: Mann–Kendall's normal score; below −3 is a clear fall, above 3 a clear rise.
        agreement: Kendall's tau in [−1, 1]: −1 when every later value is lower.
    """

    slope: float
    z: float
    agreement: float


def trend(at: Floats, values: Floats) -> Trend:
    """Compute the Theil–Sen slope and Mann–Kendall test (Sen 1968; Mann 1945; Kendall 1975), ties
    corrected.

    Both look at all pairs, so a spike changes little; unlike "no new best for a while", a steady
    fall after a spike counts as one. At most a few hundred values, please: the cost is quadratic.
    """
    n = values.size
    if n < 3:
        return Trend(0.0, 0.0, 0.0)
    i, j = np.triu_indices(n, 1)
    rise = values[j] - values[i]
    slope = float(np.median(rise / (at[j] - at[i])))
    score = float(np.sign(rise).sum())
    _, ties = np.unique(values, return_counts=True)
    tied = float((ties * (ties - 1) * (2 * ties + 5)).sum())
    variance = (n * (n - 1) * (2 * n + 5) - tied) / 18.0
    if variance <= 0 or score == 0:
        return Trend(slope, 0.0, 0.0)
    return Trend(slope, (score - math.copysign(1.0, score)) / math.sqrt(variance), score / i.size)


class Wiggle(NamedTuple):
    """The ups and downs of a curve from row to row.

    Attributes:
        lag1: autocorrelation of successive differences about zero, in [−1, 1]. White noise on a
            flat curve has −0.5, a period of two rows −1, a smooth descent about +1.
        sign_changes: share of successive differences of opposite sign; white noise has 2/3.
        rises: share of rows that lie above the row before.
    """

    lag1: float
    sign_changes: float
    rises: float


def wiggle(loss: Floats) -> Wiggle | None:
    """Describe the row-to-row behaviour of the last 4,096 rows; None below four rows or for a
    constant."""
    if loss.size < 4:
        return None
    steps = np.diff(loss[-4096:])
    energy = float(steps @ steps)
    if not 0.0 < energy < math.inf:
        return None
    products = steps[1:] * steps[:-1]
    # Half the end terms: the sum then reaches ±1 for a perfect alternation of any length.
    weight = energy - 0.5 * float(steps[0] ** 2 + steps[-1] ** 2)
    lag1 = float(products.sum()) / weight if weight > 0 else 0.0
    return Wiggle(
        max(-1.0, min(1.0, lag1)), float((products < 0).mean()), float((steps > 0).mean())
    )


def cosines(vectors: Floats) -> Floats:
    """Compute the cosines of consecutive rows of a (rows × dim) array, without pairs with a
    zero."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    both = lengths[1:] * lengths[:-1]
    dots = np.einsum("ij,ij->i", vectors[1:], vectors[:-1])
    known = both > 0
    return np.asarray(np.clip(dots[known] / both[known], -1.0, 1.0))


class Descent(NamedTuple):
    """Gradient descent's steps, seen through the loss and the gradient norm alone.

    Attributes:
        curvature: gᵀHg/gᵀg averaged along each step (the Rayleigh quotient of the gradient).
        cosine: of each gradient with the next.
    """

    curvature: Floats
    cosine: Floats


def descent(loss: Floats, lr: Floats, grad_norm: Floats) -> Descent:
    """Compute curvature and cosines of plain full-batch gradient descent on consecutive rows.

    The fall of the loss is the integral of the gradient along the step; by the trapezoid rule
    f_k − f_{k+1} = η/2·(‖g_k‖² + g_k·g_{k+1}), exact on quadratics, which gives g_k·g_{k+1}; and
    g_{k+1} = g_k − ηHg_k gives gᵀHg. So x² at rates 0.001 and 0.999, whose losses are equal, differ
    in their gradients' cosine: +1 and −1. Rows without a usable gradient are left out.
    """
    square = grad_norm[:-1] ** 2
    fall = loss[:-1] - loss[1:]
    both = grad_norm[:-1] * grad_norm[1:]
    # A fall at rounding level says nothing.
    resolved = np.abs(fall) > 1e-13 * np.abs(loss[:-1])
    known = (square > 0) & (both > 0) & np.isfinite(both) & np.isfinite(square) & resolved
    square, fall, both, rate = square[known], fall[known], both[known], lr[:-1][known]
    dots = 2.0 * fall / rate - square
    return Descent((1.0 - dots / square) / rate, np.clip(dots / both, -1.0, 1.0))


class Overfit(NamedTuple):
    """The rise of the evaluation loss from its best.

    Attributes:
        best_step: step of the lowest evaluation loss.
        best: that loss.
        last: median of the last evaluations (three, or a fifth of those after the best one).
        first: the first evaluation's loss.
        rise: (last − best)/best.
        after: the trend of the evaluations from the best one on.
    """

    best_step: float
    best: float
    last: float
    first: float
    rise: float
    after: Trend


def overfit(step: Floats, loss: Floats) -> Overfit | None:
    """Compare the best with the last evaluations; None below four finite ones."""
    finite = np.isfinite(loss)
    step, loss = step[finite], loss[finite]
    if loss.size < 4:
        return None
    lowest = int(np.argmin(loss))
    later = loss[lowest:]
    last = float(np.median(later[-max(1, min(3, later.size // 2), later.size // 5) :]))
    best = float(loss[lowest])
    thin = np.linspace(0, later.size - 1, min(later.size, 2 * MAX_BLOCKS)).astype(np.intp)
    after = trend(step[lowest:][thin], later[thin])
    rise = (last - best) / abs(best) if best != 0 else math.inf if last > best else 0.0
    return Overfit(float(step[lowest]), best, last, float(loss[0]), rise, after)
