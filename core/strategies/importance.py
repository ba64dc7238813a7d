"""The share of the metric's variation that each parameter of a study explains, by PED-ANOVA.

Watanabe, Bansal, Hutter 2023 (arXiv 2304.10255), by Optuna's evaluator: how far the densities of a
parameter among the best tenth of the configurations and among all of them lie apart. It ranks
configurations, so the scale of the metric does not matter.
"""

import json
import math
from collections.abc import Sequence
from typing import Final

from core.specs.base import Json
from core.specs.direction import Goal, sign_of
from core.specs.studies.runs import sweep_of
from core.specs.studies.sweep import Axis
from core.strategies.halving import grouped, mean_metric
from core.strategies.tpe import distribution, told
from core.studies import RunRecord

METHOD: Final = "ped_anova"
OPTIONS: Final[Json] = {"target_quantile": 0.1, "region_quantile": 1.0, "evaluate_on_local": True}
"""Options of Optuna's evaluator, which is asked with these."""


def importance(study: Json, runs: Sequence[RunRecord]) -> Json:
    """Return the importance of each swept path, the largest first, over the configurations with a
    finite metric (the mean over their repeats) that trained to their end.

    `importance` is null, and `reason` says why, where it cannot be said. A path that has one value
    in all of them (the fold of a cross-validation, whose folds are repeats) explains nothing: 0.

    Args:
        study: the resolved spec.
        runs: of all configurations, inherited ones among them.
    """
    axes, goal = sweep_of(study), study["metric"]["goal"]
    groups = list(grouped(runs).values())
    known = [
        repeats for repeats in groups
        if mean_metric(repeats) is not None and all(run.stopped is None for run in repeats)
    ]  # fmt: skip
    found: Json = {
        "method": METHOD,
        "options": OPTIONS,
        "num_configurations": len(known),
        "num_left_out": len(groups) - len(known),
        "num_inherited": sum(repeats[0].inherited is not None for repeats in known),
        "importance": None,
        "reason": None,
    }
    if not axes:
        return {**found, "reason": "The study sweeps no parameter."}
    if len(known) < 2:
        reason = "Fewer than two configurations trained to their end with a finite metric."
        return {**found, "reason": reason}
    if len({mean_metric(repeats) for repeats in known}) == 1:
        return {**found, "reason": "All configurations have the same metric."}
    varied = [axis for axis in axes if len(_values(axis, known)) > 1]
    shares: dict[str, float] = {}
    if _one_tells_all(varied, known, goal):
        shares = {varied[0].path: 1.0}
    elif varied:
        shares = evaluated(varied, known, goal)
    total = sum(shares.values())
    if not total > 0:
        reason = "No parameter tells the best configurations from the others."
        return {**found, "reason": reason}
    whole = {axis.path: shares.get(axis.path, 0.0) / total for axis in axes}
    return {**found, "importance": dict(sorted(whole.items(), key=lambda item: -item[1]))}


def evaluated(
    axes: Sequence[Axis], known: Sequence[Sequence[RunRecord]], goal: Goal
) -> dict[str, float]:
    """Return what Optuna's evaluator says of each path, of these configurations' repeats."""
    import optuna  # with scikit-learn: it takes a second, and 100 MB

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trials = optuna.create_study(direction="minimize" if goal == "min" else "maximize")
    spaces = {axis.path: distribution(axis) for axis in axes}
    trials.add_trials([told(axes, spaces, repeats, goal) for repeats in known])
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(**OPTIONS)
    return evaluator.evaluate(trials)


def _values(axis: Axis, known: Sequence[Sequence[RunRecord]]) -> set[str]:
    """Return the values that the configurations have of a path, as JSON; `null` where it is not
    varied."""
    return {json.dumps(repeats[0].params.get(axis.path), sort_keys=True) for repeats in known}


def _one_tells_all(axes: Sequence[Axis], known: Sequence[Sequence[RunRecord]], goal: Goal) -> bool:
    """Tell whether the only parameter of a study has all of the importance, without asking the
    evaluator: each configuration has another value of it, and those that count as the best are not
    all, so that the two densities are not the same."""
    if len(axes) != 1:
        return False
    values = _values(axes[0], known)
    sign = sign_of(goal)
    levels = sorted(sign * metric for metric in map(mean_metric, known) if metric is not None)
    cutoff = levels[math.ceil(OPTIONS["target_quantile"] * len(levels)) - 1]
    return len(values) == len(known) and "null" not in values and cutoff < levels[-1]
