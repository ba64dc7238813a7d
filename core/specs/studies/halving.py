"""The arithmetic of successive halving: its rungs, how many go on, and what that costs.

Jamieson and Talwalkar 2016 (arXiv 1502.07943), algorithm 1, with a factor in place of 2; the
brackets are those of Hyperband (Li et al. 2018, arXiv 1603.06560), algorithm 1, inner loop.
"""

from collections.abc import Sequence
from typing import Final

SHORT_RUNG: Final = 8
"""A first rung before this part of the longest run is warned of, and no default (figures:
docs/figures.md)."""


def rungs(num_configurations: int, min_steps: int, factor: int, max_steps: int) -> list[int]:
    """List the steps at which configurations are ranked: `min_steps`·`factor`^k below `max_steps`,
    as long as more than one goes on."""
    found: list[int] = []
    step = min_steps
    while step < max_steps and num_kept(num_configurations, factor, len(found)) > 1:
        found.append(step)
        step *= factor
    return found


def num_kept(num_configurations: int, factor: int, rung: int) -> int:
    """Count the configurations that train towards rung number `rung` (0: all): n_i = ⌊n/factor^i⌋,
    at least 1."""
    return max(1, num_configurations // int(factor**rung))


def default_min_steps(num_configurations: int, factor: int, max_steps: int, multiple: int) -> int:
    """Return the first rung R/factor^s, with s as large as configurations and steps allow and the
    rung not before R/`SHORT_RUNG` (there for a larger factor), rounded up to a multiple of
    `multiple`."""
    most = min(num_configurations, max_steps, SHORT_RUNG)
    parts = 1
    while parts * factor <= most:
        parts *= factor
    if parts == 1:
        parts = most
    first = -(-max_steps // parts)
    return -(-first // multiple) * multiple


def most_updates(steps: Sequence[int], min_steps: int, factor: int) -> int:
    """Count the updates that the configurations apply at most, whichever of them go on.

    Args:
        steps: each configuration's own most.
    """
    longest = sorted(steps, reverse=True)
    total = before = 0
    marks = rungs(len(steps), min_steps, factor, longest[0])
    for number, mark in enumerate([*marks, longest[0]]):
        left = longest[: num_kept(len(steps), factor, number)]
        total += sum(min(most, mark) - min(most, before) for most in left)
        before = mark
    return total
