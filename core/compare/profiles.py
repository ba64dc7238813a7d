"""Performance profiles over problems and repeats, and the score that AlgoPerf takes from them.

Dolan and Moré 2002 (doi 10.1007/s101070100263): with t(p, s) what solver s needs on instance p,
r(p, s) = t(p, s) / min over s of t(p, s), the profile ρ(τ) of s is the share of all instances with
r(p, s) ≤ τ. An instance that a solver does not solve has r = ∞; one that none solves stays among
the instances. AlgoPerf (arXiv 2306.07179) scores a solver by the integral of its profile,
(1 / 3) ∫ ρ(τ) dτ over 1 ≤ τ ≤ 4: what took over 4 times the best counts as never solved.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LARGEST: Final = 4.0
TAUS: Final = tuple(round(1.0 + 0.05 * i, 2) for i in range(61))


def ratios(times: Floats) -> Floats:
    """r of solvers (S) on instances (I); infinite where a solver does not solve one.

    Args:
        times: (S, I), at least 0; infinite: not solved. Less than the unit counts as one (a target
            that held at the start has taken 0 steps).
    """
    if times.size == 0:
        return times
    best = times.min(axis=0)
    with np.errstate(invalid="ignore"):
        found = times / best
    return np.where(np.isfinite(times), found, np.inf)


def profile(found: Floats, taus: Floats) -> Floats:
    """ρ (S, taus) of ratios (S, I). A ratio that is τ but for rounding counts."""
    shares = np.empty((len(found), len(taus)))
    for column, tau in enumerate(taus.tolist()):
        shares[:, column] = (found <= tau * (1.0 + 1e-12)).mean(axis=1)
    return shares


def score(found: Floats) -> Floats:
    """The integral in closed form: the mean over the instances of (4 − r)/3, 0 beyond."""
    reached = np.where(np.isfinite(found), found, LARGEST)
    gained: Floats = np.clip((LARGEST - reached) / (LARGEST - 1.0), 0.0, 1.0).mean(axis=1)
    return gained
