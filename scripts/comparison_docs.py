"""The tables of docs/comparison.md: `python scripts/comparison_docs.py` (about two minutes).

With `--check` it writes nothing, and fails when the page shows other figures.

How often each kind of 95 % interval of a mean holds it, and how often the winner is wrong: from
draws of fixed seeds, written between their marks.
"""

import math
import sys
from collections.abc import Callable
from difflib import unified_diff
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from core.compare.statistics import intervals
from core.compare.statistics.multiple_comparisons import adjusted

Floats = NDArray[np.float64]
Ends = tuple[Floats, Floats]

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "comparison.md"
MARKS: Final = "<!-- {}: written by scripts/comparison_docs.py -->\n", "<!-- end of {} -->\n"
TAIL: Final = 0.025

LAWS: Final[dict[str, tuple[Callable[[np.random.Generator, tuple[int, int]], Floats], float]]] = {
    "normal": (lambda rng, shape: rng.standard_normal(shape), 0.0),
    "lognormal, skewness 1.75": (
        lambda rng, shape: rng.lognormal(0.0, 0.5, shape), math.exp(0.125)
    ),
    "exponential, skewness 2": (lambda rng, shape: rng.exponential(size=shape), 1.0),
    "difference of lognormals": (
        lambda rng, shape: rng.lognormal(size=shape) - rng.lognormal(size=shape), 0.0
    ),
}  # fmt: skip


class Resampled:
    """All distinct resamples of n values with their probabilities, or 2,000 draws; of each, the
    means and standard errors."""

    def __init__(self, x: Floats) -> None:
        self.n = n = x.shape[1]
        if n <= 5:
            shares, weights = intervals._resamples(n)
            assert weights is not None
        else:
            draws = np.random.default_rng(0).multinomial(n, np.full(n, 1.0 / n), size=2_000)
            shares, weights = draws / n, np.full(2_000, 1.0 / 2_000)
        self.x, self.weights, self.several = x, weights, shares.max(axis=1) < 1.0
        self.mean, self.error = x.mean(axis=1), x.std(axis=1, ddof=1) / math.sqrt(n)
        self.means = x @ shares.T
        spread = np.maximum((x**2) @ shares.T - self.means**2, 0.0)
        self.errors = np.sqrt(spread / (n - 1))

    def quantile(self, found: Floats, level: Floats | float, weights: Floats) -> Floats:
        order = np.argsort(found, axis=1)
        levels = np.broadcast_to(np.asarray(level), (len(found),))[:, None]
        at = (np.cumsum(weights[order], axis=1) < levels - 1e-12).sum(axis=1)
        at = at.clip(max=found.shape[1] - 1)
        rows = np.arange(len(found))
        picked: Floats = found[rows, order[rows, at]]
        return picked


def percentile(of: Resampled) -> Ends:
    low, high = (of.quantile(of.means, level, of.weights) for level in (TAIL, 1.0 - TAIL))
    return low, high


def expanded(of: Resampled) -> Ends:
    """Hesterberg 2015: at Φ(−t √(n/(n−1))) instead of 2.5 %."""
    tail = stats.norm.cdf(-stats.t.ppf(1.0 - TAIL, of.n - 1) * math.sqrt(of.n / (of.n - 1)))
    return of.quantile(of.means, tail, of.weights), of.quantile(of.means, 1 - tail, of.weights)


def bca(of: Resampled) -> Ends:
    """Efron 1987: corrected for bias and acceleration."""
    gap = of.means - of.mean[:, None]
    near = np.abs(gap) <= 1e-12 * of.error[:, None]
    below = np.where(near, 0.5, gap < 0.0) @ of.weights
    bias = stats.norm.ppf(np.clip(below, 1e-6, 1.0 - 1e-6))
    away = of.x - of.mean[:, None]
    speed = (away**3).sum(axis=1) / (6.0 * (away**2).sum(axis=1) ** 1.5)

    def end(z: float) -> Floats:
        level = stats.norm.cdf(bias + (bias + z) / (1.0 - speed * (bias + z)))
        return of.quantile(of.means, level, of.weights)

    return end(stats.norm.ppf(TAIL)), end(stats.norm.ppf(1.0 - TAIL))


def studentized(of: Resampled) -> Ends:
    """Resamples of one value alone, which have no spread, are left out."""
    t = (of.means - of.mean[:, None])[:, of.several] / of.errors[:, of.several]
    weights = of.weights[of.several] / of.weights[of.several].sum()
    low, high = (of.quantile(t, level, weights) for level in (1.0 - TAIL, TAIL))
    return of.mean - low * of.error, of.mean - high * of.error


def student(of: Resampled) -> Ends:
    half = stats.t.ppf(1.0 - TAIL, of.n - 1) * of.error
    return of.mean - half, of.mean + half


def ours(of: Resampled) -> Ends:
    found = intervals.means(of.x)
    return found.low, found.high


METHODS: Final[dict[str, Callable[[Resampled], Ends]]] = {
    "percentile bootstrap": percentile,
    "BCa bootstrap": bca,
    "expanded percentile": expanded,
    "studentized bootstrap": studentized,
    "Student's t": student,
    "**this one**": ours,
}


def coverage_table() -> str:
    heads = ("repeats", "distribution", *METHODS)
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for n in (3, 5, 10):
        for name, (draw, mean) in LAWS.items():
            held = dict.fromkeys(METHODS, 0.0)
            lengths: dict[str, list[float]] = {method: [] for method in METHODS}
            rng, chunks = np.random.default_rng([n, len(name)]), 40 if n <= 5 else 6
            for _ in range(chunks):
                of = Resampled(draw(rng, (1_000, n)))
                for method, ends in METHODS.items():
                    low, high = ends(of)
                    held[method] += float(((low <= mean) & (mean <= high)).mean()) / chunks
                    lengths[method].append(float(np.median(high - low)))
            cells = [
                f"{100 * held[method]:.1f} ({np.mean(lengths[method]):.2f})" for method in METHODS
            ]
            lines.append(f"| {n} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _two(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    x = rng.standard_normal(shape)
    x[2:] += 50.0
    return x


CASES: Final[dict[str, Callable[[np.random.Generator, tuple[int, int]], Floats]]] = {
    "all equally good": lambda rng, shape: rng.standard_normal(shape),
    "all equally good, skewed": lambda rng, shape: rng.lognormal(size=shape),
    "two best, the others far off": _two,
    "equally good, spreads from 0.01 to 10": lambda rng, shape: (
        rng.standard_normal(shape) * np.geomspace(0.01, 10.0, shape[0])[:, None]
    ),
    "equally good, one almost without spread": lambda rng, shape: (
        rng.standard_normal(shape) * np.where(np.arange(shape[0]) == 0, 1e-3, 1.0)[:, None]
    ),
}


def winner_table(studies: int = 1_500) -> str:
    heads = (
        "configurations", "repeats", "", "wrong winner",
        "a best one found different from the leader", "the last without correction",
    )  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for count in (10, 50):
        for n in (3, 5, 10):
            for name, draw in CASES.items():
                rng, seen = np.random.default_rng([count, n, len(name)]), np.zeros(3)
                for _ in range(studies):
                    x = draw(rng, (count, n))
                    leader = int(x.mean(axis=1).argmin())
                    others = np.delete(np.arange(count), leader)
                    p = intervals.means(x[others] - x[leader]).p
                    apart = adjusted(p) < 0.05
                    first = others == 0
                    seen += [leader != 0 and apart.all(), apart[first].any(),
                             (p[first] < 0.05).any()]  # fmt: skip
                told = " | ".join(f"{100 * share:.1f} %" for share in seen / studies)
                lines.append(f"| {count} | {n} | {name} | {told} |")
    return "\n".join(lines) + "\n"


def with_table(page: str, name: str, table: str) -> str:
    """Return the page's text with `table` between the marks of `name`."""
    begin, end = (mark.format(name) for mark in MARKS)
    before, rest = page.split(begin)
    return before + begin + table + end + rest.split(end)[1]


def main() -> None:
    """Write the tables into the page, or hold the page against them (`--check`)."""
    page = PAGE.read_text()
    made = with_table(page, "coverage", coverage_table())
    made = with_table(made, "winners", winner_table())
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(made)
        return
    differences = list(unified_diff(page.splitlines(), made.splitlines(), "page", "found", n=0))
    if differences:
        sys.exit("\n".join(differences))
    print("The tables of docs/comparison.md were found again.")


if __name__ == "__main__":
    main()
