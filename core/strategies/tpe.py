"""Tree-structured Parzen estimator (Bergstra et al. 2011): Optuna's TPESampler, asked in batches.

Optuna keeps nothing of its own: its study is built anew for each batch from the stored runs, with a
sampler seeded by the strategy's seed and the number of configurations so far. Within a batch it
counts the configurations that it has asked for already as bad ones (`constant_liar`), so that they
lie apart.
"""

import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, assert_never

from core.errors import InvalidInputError
from core.formats import STORE
from core.specs.base import Json
from core.specs.direction import sign_of
from core.specs.studies.distinct import MOST_REDRAWS, Distinct
from core.specs.studies.runs import RunSpecs, sweep_of
from core.specs.studies.sweep import Axis, PathError, drawn
from core.specs.study import SweepIntegers, SweepLinear, SweepLog, SweepValues, TpeStrategy
from core.strategies.halving import grouped, mean_metric
from core.strategies.runs import Configuration
from core.studies import RunRecord

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import TPESampler
    from optuna.trial import FrozenTrial, Trial


MOST_OF_THE_SAMPLER: Final = 20
"""Copies in a row after which the draws anew are from the whole sweep: where it has few
configurations, the sampler asks for its favourites again and again, and others are left."""
MOST_REFUSED: Final = 500
"""A batch asks again this many times for parameters that make no job, before it stays short."""


def asked(
    study: Json,
    strategy: TpeStrategy,
    runs: Sequence[RunRecord],
    written: int = STORE,
    inherited: Sequence[RunRecord] = (),
) -> list[Configuration]:
    """Return the next batch; shorter than requested, or empty, where hardly any parameters make a
    job (those that `core.specs.studies.parse` could not foresee), or where no others are left: a
    copy of a configuration is drawn anew, up to `MOST_REDRAWS` times, at last from the whole sweep.

    Args:
        study: the resolved spec.
        runs: of all configurations so far, which have all ended.
        written: the format in which the study was stored.
        inherited: runs of the study that this one was begun from.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    axes, groups = sweep_of(study), grouped([*inherited, *runs])
    known, goal = len(grouped(runs)), study["metric"]["goal"]
    trials = optuna.create_study(
        direction="minimize" if goal == "min" else "maximize",
        sampler=_sampler(strategy, len(groups)),
    )
    spaces = {axis.path: distribution(axis) for axis in axes}
    trials.add_trials([told(axes, spaces, repeats, goal) for repeats in groups.values()])
    assert strategy.batch_size is not None, "the study is resolved"
    num_asked = len(grouped(run for run in runs if not run.enqueued))
    wanted = min(strategy.batch_size, strategy.num_runs - num_asked)
    specs, refused, copies = RunSpecs(study, written), 0, 0
    distinct = _known(specs, [repeats[0] for repeats in groups.values()])
    found: list[Configuration] = []
    while len(found) < wanted and refused < MOST_REFUSED and copies <= MOST_REDRAWS:
        trial = trials.ask() if copies <= MOST_OF_THE_SAMPLER else None
        if trial is None:
            params = drawn(axes, strategy.seed, known + len(found), copies + refused)
        else:
            params = _suggestion(trial, axes, spaces)
        try:
            spec = specs.of(params, 0)
        except (InvalidInputError, PathError):
            spec = None
            refused += 1
        if spec is not None and distinct.is_new(spec):
            copies = 0
            found.append(Configuration(known + len(found), params, spec))
            if trial is None:
                trials.add_trial(_running(params, axes, spaces))
            continue
        copies += spec is not None
        if trial is not None:
            trials.tell(trial, state=optuna.trial.TrialState.FAIL)
    return found


def _sampler(strategy: TpeStrategy, known: int) -> "TPESampler":
    """Return the sampler that chooses after `known` configurations."""
    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import TPESampler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # `group` is one
        return TPESampler(
            seed=seed_of(strategy.seed, known),
            n_startup_trials=strategy.num_startup,
            n_ei_candidates=strategy.num_candidates,
            multivariate=strategy.multivariate,
            group=strategy.group,
            constant_liar=strategy.constant_liar,
        )


def _suggestion(
    trial: "Trial", axes: Sequence[Axis], spaces: Mapping[str, "BaseDistribution"]
) -> Json:
    """Return the sampler's choice for each path that is varied beside those before it."""
    params: Json = {}
    for axis in axes:
        if axis.holds(params):
            params[axis.path] = value_of(axis, suggested(trial, axis.path, spaces[axis.path]))
    return params


def _running(
    params: Json, axes: Sequence[Axis], spaces: Mapping[str, "BaseDistribution"]
) -> "FrozenTrial":
    """Describe a configuration that was not the sampler's choice as one that it waits for."""
    from optuna.trial import TrialState, create_trial

    own = {axis.path: internal_of(axis, params[axis.path]) for axis in axes if axis.path in params}
    return create_trial(
        state=TrialState.RUNNING, params=own, distributions={path: spaces[path] for path in own}
    )


def _known(specs: RunSpecs, runs: Sequence[RunRecord]) -> Distinct:
    """Return what tells copies of these configurations, of which each has one run here."""
    distinct = Distinct()
    for run in runs:
        if run.inherited is None or run.inherited["is_known"]:
            distinct.is_new(specs.of(run.params, 0))
    return distinct


def seed_of(seed: int, known: int) -> int:
    """Return the seed of the sampler that chooses after `known` configurations."""
    digest = hashlib.blake2b(f"{seed}/tpe/{known}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


def distribution(axis: Axis) -> "BaseDistribution":
    """Return Optuna's distribution for a path: values by their number without an order, points by
    their number in order, ranges as they are."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    size = axis.size
    match axis.sweep:
        case SweepValues():
            return CategoricalDistribution(list(range(len(axis.sweep.values))))
        case SweepLog() if size is None:
            return FloatDistribution(*axis.sweep.log, log=True)
        case SweepLinear() if size is None:
            return FloatDistribution(*axis.sweep.linear)
        case SweepLog() | SweepLinear() | SweepIntegers():
            assert size is not None
            return IntDistribution(0, size - 1)
        case _:
            assert_never(axis.sweep)


def suggested(trial: "Trial", name: str, space: "BaseDistribution") -> Any:
    """Return the sampler's choice for a parameter of this trial."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match space:
        case CategoricalDistribution():
            return trial.suggest_categorical(name, space.choices)
        case FloatDistribution():
            return trial.suggest_float(name, space.low, space.high, log=space.log)
        case IntDistribution():
            return trial.suggest_int(name, space.low, space.high)
        case _:
            raise TypeError(f"no parameter has a {type(space).__name__}")


def value_of(axis: Axis, internal: Any) -> Any:
    """Return what stands in the spec for a value of the distribution."""
    return float(internal) if axis.size is None else axis.point(int(internal))


def internal_of(axis: Axis, value: Any) -> Any:
    """Return the inverse of `value_of`."""
    return float(value) if axis.size is None else axis.index_of(value)


def told(
    axes: Sequence[Axis],
    spaces: Mapping[str, "BaseDistribution"],
    repeats: Sequence[RunRecord],
    goal: str,
) -> "FrozenTrial":
    """Describe a configuration to Optuna as a trial.

    One that a stopper stopped is a pruned trial with its metric at the rung. One that diverged is
    as bad as can be: its neighbourhood is to be avoided. One that failed says nothing.
    """
    from optuna.trial import TrialState, create_trial

    own = repeats[0].params
    params = {axis.path: internal_of(axis, own[axis.path]) for axis in axes if axis.path in own}
    shared: dict[str, Any] = {
        "params": params, "distributions": {path: spaces[path] for path in params}
    }  # fmt: skip
    value = mean_metric(repeats)
    worst = sign_of(goal) * math.inf
    stopped = next((run.stopped for run in repeats if run.stopped is not None), None)
    if stopped is not None:
        at = {stopped["step"]: worst if value is None else value}
        return create_trial(state=TrialState.PRUNED, intermediate_values=at, **shared)
    if value is None and all(run.status == "failed" for run in repeats):
        return create_trial(state=TrialState.FAIL, **shared)
    return create_trial(value=worst if value is None else value, **shared)
