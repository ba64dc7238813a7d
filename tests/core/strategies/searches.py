"""Searches of Branin by `tpe` beside Optuna's own loop: `python -m tests.core.strategies.searches`.

The study is planned as a worker plans it; what its runs would give is the function's value at the
swept start. Optuna searches one configuration after the other, as its documentation has it. The
comparison is a two-sided Mann–Whitney test of the best values found over 30 seeds.
"""

import sys
from collections.abc import Sequence
from typing import Final

import numpy as np
import optuna
from scipy import stats

from core.specs.formulas.values import value_at
from core.specs.functions import Branin
from core.studies import RunRecord
from tests.core.specs.studies.specs_of_studies import Json, study
from tests.core.strategies.simulated import simulate

SEEDS: Final = 30
NUM_RUNS: Final = 60
ENDS: Final = ((-5.0, 10.0), (0.0, 15.0))
LOWEST: Final = 10 / (8 * np.pi)
LIKELY: Final = 0.05
FUNCTION: Final = Branin(kind="branin")


def branin(x1: float, x2: float) -> float:
    """Return how far the function is above its minimum."""
    return float(value_at(FUNCTION, np.array([x1, x2]))) - LOWEST


def ours(seed: int, num_runs: int = NUM_RUNS, batch_size: int | None = None) -> float:
    """Return the best value of a study of Branin's start, by default in batches of the default."""
    problem = {"kind": "function", "function": {"kind": "branin"}, "start": [0.0, 0.0]}
    sweep: Json = {
        f"problem.start.{place}": {"linear": list(ends)} for place, ends in enumerate(ENDS)
    }
    strategy = {"kind": "tpe", "num_runs": num_runs, "seed": seed, "batch_size": batch_size}
    base = {"problem": problem, "optimizer": {"kind": "sgd", "lr": 0.01}}
    return min(map(_value, simulate(study(base, sweep, strategy=strategy)).go(_metric).records))


def _value(run: RunRecord) -> float:
    return branin(run.params["problem.start.0"], run.params["problem.start.1"])


def _metric(run: RunRecord, _: int) -> float:
    return _value(run)


def optunas(seed: int, num_runs: int = NUM_RUNS) -> float:
    """Return the best value that Optuna finds, one configuration after the other."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    search.optimize(
        lambda trial: branin(*(trial.suggest_float(f"x{i}", *ends) for i, ends in enumerate(ENDS))),
        n_trials=num_runs,
    )
    return search.best_value


def probability(some: Sequence[float], others: Sequence[float]) -> float:
    """Return how likely so different samples are where there is no difference."""
    return float(stats.mannwhitneyu(some, others).pvalue)


def main() -> int:
    """Print the medians, and return 0 where the default is about as good as Optuna's loop and the
    test is sharp enough to tell batches of 32 from it."""
    reference = [optunas(seed) for seed in range(SEEDS)]
    print(f"{NUM_RUNS} trials of Branin, {SEEDS} seeds: the best value's distance to the minimum")
    print(f"  Optuna, one after the other  median {np.median(reference):.3f}")
    likely = {}
    for size in (None, 1, 8, 16, 32):
        found = [ours(seed, batch_size=size) for seed in range(SEEDS)]
        likely[size] = probability(found, reference)
        named = "batches of the default" if size is None else f"batches of {size}"
        print(f"  {named:<27}  median {np.median(found):.3f}  p {likely[size]:.2g}", flush=True)
    return int(not likely[32] < LIKELY < likely[None])


if __name__ == "__main__":
    sys.exit(main())
