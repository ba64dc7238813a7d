"""Performance profiles: which solver solves what, and how fast, with a study's configurations as
solvers and its problems as instances.

Performance profiles over problems and repeats, and the score that AlgoPerf takes from them.

Dolan and Moré 2002 (doi 10.1007/s101070100263): with t(p, s) what solver s needs on instance p,
r(p, s) = t(p, s) / min over s of t(p, s), the profile ρ(τ) of s is the share of all instances
with r(p, s) ≤ τ. An instance that a solver does not solve has r = ∞; one that none solves stays
among the instances. AlgoPerf (arXiv 2306.07179) scores a solver by the integral of its profile,
(1 / 3) ∫ ρ(τ) dτ over 1 ≤ τ ≤ 4: what took over 4 times the best counts as never solved.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.compare import parameters
from core.compare.table import State, Table
from core.compare.targets import kaplan_meier_median
from core.specs.base import Json

Floats = NDArray[np.float64]

LARGEST: Final = 4.0
TAUS: Final = tuple(round(1.0 + 0.05 * i, 2) for i in range(61))


def ratios(times: Floats) -> Floats:
    """Return r of solvers (S) on instances (I); infinite where a solver does not solve one.

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
    """Return ρ (S, taus) of ratios (S, I). A ratio that is τ but for rounding counts."""
    shares = np.empty((len(found), len(taus)))
    for column, tau in enumerate(taus.tolist()):
        shares[:, column] = (found <= tau * (1.0 + 1e-12)).mean(axis=1)
    return shares


def score(found: Floats) -> Floats:
    """Compute the area under the profile in closed form: the mean over the instances of (4 − r)/3,
    0 beyond."""
    reached = np.where(np.isfinite(found), found, LARGEST)
    gained: Floats = np.clip((LARGEST - reached) / (LARGEST - 1.0), 0.0, 1.0).mean(axis=1)
    return gained


MOST_SOLVERS: Final = 64
"""Most solvers that are listed: those with the best scores."""


@dataclass(frozen=True)
class Solver:
    """A row of the profile.

    Attributes:
        params: what makes it this solver.
        rows: the configuration (row of the table) that runs for it on each problem.
    """

    params: Json
    rows: tuple[int, ...]


def profiles(table: Table, *, target: float | None) -> tuple[Json | None, str | None]:
    """Return the profile as the comparison shows it; None and the reason where there is none.

    An instance is a problem (values of the sweep's paths under `problem`) with a repeat. Solvers
    are the settings of the other paths; where words are among them (another optimizer), `choices`
    are profiled too, each with its best setting on each problem: the one whose median steps to the
    target over the repeats are the fewest.
    """
    if target is None:
        return None, "The metric has no target, and times to a target are what a profile compares."
    if not table.numbers:
        return None, "No run has been planned yet."
    paths = parameters.varying(table.leaves)
    outside = [path for path in paths if not parameters.of_problem(path)]
    inside = [path for path in paths if parameters.of_problem(path)]
    problems = _numbered([parameters.key(parameters.pick(one, inside)) for one in table.leaves])
    num_problems = max(problems) + 1
    picked = [parameters.pick(one, outside) for one in table.leaves]
    settings = _settings(picked, problems, num_problems)
    choices = _choices(table, picked, problems, num_problems)
    if max(len(settings), len(choices)) < 2:
        return None, "There are not two solvers that went through the same problems."
    return {
        "num_problems": num_problems,
        "num_instances": num_problems * table.num_repeats,
        "taus": list(TAUS),
        "num_solvers": len(settings),
        "solvers": _lines(table, settings) if len(settings) > 1 else [],
        "choices": _lines(table, choices) if len(choices) > 1 else [],
    }, None


def _numbered(keys: list[str]) -> list[int]:
    numbers: dict[str, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def _settings(picked: list[Json], problems: list[int], num_problems: int) -> list[Solver]:
    """List the settings that ran on every problem."""
    rows: dict[str, dict[int, int]] = defaultdict(dict)
    for row, one in enumerate(picked):
        rows[parameters.key(one)].setdefault(problems[row], row)
    return [
        Solver(picked[found[0]], tuple(found[problem] for problem in range(num_problems)))
        for found in rows.values()
        if len(found) == num_problems
    ]


def _choices(
    table: Table, picked: list[Json], problems: list[int], num_problems: int
) -> list[Solver]:
    """Return each choice at its best on each problem; only those that ran on every problem."""
    words = [
        {path: value for path, value in one.items() if parameters.is_choice(value)}
        for one in picked
    ]
    steps, known = _times(table, table.target_step), np.isfinite(table.target_step)
    medians = kaplan_meier_median(steps, known)
    counts = known.sum(axis=1)
    means = np.where(known, table.target_step, 0.0).sum(axis=1) / np.maximum(counts, 1)
    best: dict[str, dict[int, int]] = defaultdict(dict)
    for row in np.lexsort((means, -counts, medians)).tolist():
        best[parameters.key(words[row])].setdefault(problems[row], row)
    solvers = [
        Solver(words[found[0]], tuple(found[problem] for problem in range(num_problems)))
        for found in best.values()
        if len(found) == num_problems
    ]
    return sorted(solvers, key=lambda solver: parameters.key(solver.params))


def _times(table: Table, reached: Floats) -> Floats:
    """Return the times to the target; infinite where it was not reached (whatever the reason: here,
    what was cut off counts as not solved)."""
    times = np.where(np.isfinite(reached), reached, np.inf)
    return np.where(table.state == State.MISSING, np.nan, times)


def _lines(table: Table, solvers: list[Solver]) -> list[Json]:
    rows = np.array([solver.rows for solver in solvers])  # (S, P)
    shape = len(solvers), -1
    steps = np.where(np.isfinite(table.target_step), np.maximum(table.target_step, 1.0), np.inf)
    seconds = np.where(np.isfinite(table.target_s), np.maximum(table.target_s, 1e-9), np.inf)
    by_steps = ratios(steps[rows].reshape(shape))
    by_seconds = ratios(seconds[rows].reshape(shape))
    scores, scores_s = score(by_steps), score(by_seconds)
    order = np.lexsort((np.arange(len(solvers)), -scores))[:MOST_SOLVERS]
    taus = np.array(TAUS)
    shares, shares_s = profile(by_steps[order], taus), profile(by_seconds[order], taus)
    return [
        {
            "params": solvers[at].params,
            "configurations": [table.numbers[row] for row in solvers[at].rows],
            "num_solved": int(np.isfinite(by_steps[at]).sum()),
            "steps": {"score": float(scores[at]), "rho": shares[line].tolist()},
            "seconds": {"score": float(scores_s[at]), "rho": shares_s[line].tolist()},
        }
        for line, at in enumerate(order.tolist())
    ]
