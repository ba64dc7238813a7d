"""The next step of a study: the one entry point is `next_round`.

A plan follows from the study's spec and the stored records of its runs alone, so that one which is
repeated after a crash decides the same.
"""

from collections.abc import Sequence

from core.specs.base import Json
from core.specs.job import JobSpec
from core.specs.sizes.extent import num_steps
from core.specs.studies.further import Further, further_configurations
from core.specs.studies.halving import rungs
from core.specs.studies.runs import RunSpecs, resolved_configurations, strategy_of
from core.specs.study import (
    GridStrategy,
    RandomStrategy,
    Strategy,
    SuccessiveHalving,
    TpeStrategy,
)
from core.store.protocols.types import Round
from core.strategies.halving import decide, grouped, waits
from core.strategies.runs import Configuration, new_runs, train_tasks
from core.studies import RunRecord, StudyRecord


def next_round(study: StudyRecord, runs: Sequence[RunRecord]) -> Round | None:
    """Return the runs and tasks that come next; None: the strategy is through.

    Args:
        study: its `round` is the plan's.
        runs: what it inherited, and all that have been planned, in order of index. None of them is
            at work.
    """
    inherited = [run for run in runs if run.inherited is not None]
    runs = [run for run in runs if run.inherited is None]
    strategy = strategy_of(study.spec)
    if any(map(waits, runs)):
        stopper = strategy.stopper
        assert stopper is not None, "only a stopper lets runs pause"
        return _next_rung(study, _latest_bracket(runs, strategy), stopper)
    if isinstance(strategy, TpeStrategy):
        fresh = _next_batch(study, strategy, runs, inherited)
    else:
        fresh = _next_drawn(study, strategy, runs, inherited)
    return _new_bracket(study, fresh, strategy.stopper) if fresh else None


def _latest_bracket(runs: Sequence[RunRecord], strategy: Strategy) -> list[RunRecord]:
    first = runs[-1].bracket
    if first is None:  # of a version that did not note it
        first = 0
        if isinstance(strategy, TpeStrategy):
            first = _batch_start(len(grouped(runs)), strategy)
    return [run for run in runs if run.configuration >= first]


def _next_batch(
    study: StudyRecord,
    strategy: TpeStrategy,
    runs: Sequence[RunRecord],
    inherited: Sequence[RunRecord],
) -> list[Configuration]:
    """Return what the study was given, or else the next batch. What is short of a batch was so
    because no others were found, unless runs were added to the study since."""
    given = _further(study, runs, inherited).given
    if given:
        return _numbered(runs, given, [])
    num_asked = len(grouped(run for run in runs if not run.enqueued))
    is_short = num_asked % _batch(strategy) and not study.num_extensions
    if num_asked >= strategy.num_runs or is_short:
        return []
    from core.strategies.tpe import asked  # Optuna takes a second to import

    return asked(study.spec, strategy, runs, study.format, inherited)


def _next_drawn(
    study: StudyRecord,
    strategy: GridStrategy | RandomStrategy,
    runs: Sequence[RunRecord],
    inherited: Sequence[RunRecord],
) -> list[Configuration]:
    """Return what the study was given and has not trained, and all that its strategy has yet to
    choose; with a stopper one after the other, since those that begin together compete."""
    if not study.num_extensions and not study.spec.get("configurations") and not inherited:
        if runs:
            return []
        count = study.num_runs // study.spec["repeats"]
        return _numbered(runs, [], resolved_configurations(study.spec, study.format, count))
    found = _further(study, runs, inherited)
    drawn = [] if strategy.stopper is not None and found.given else found.drawn
    return _numbered(runs, found.given, drawn)


def _further(
    study: StudyRecord, runs: Sequence[RunRecord], inherited: Sequence[RunRecord]
) -> Further:
    if not study.spec.get("configurations") and isinstance(strategy_of(study.spec), TpeStrategy):
        return Further([], [])
    of_others = [run for run in inherited if run.inherited and run.inherited["is_known"]]
    known = [of[0].params for of in grouped([*of_others, *runs]).values()]
    num_drawn = len(grouped(run for run in runs if not run.enqueued))
    return further_configurations(study.spec, study.format, known, num_drawn)


def _numbered(
    runs: Sequence[RunRecord],
    given: Sequence[tuple[Json, JobSpec]],
    drawn: Sequence[tuple[Json, JobSpec]],
) -> list[Configuration]:
    first = len(grouped(runs))
    return [
        Configuration(number, params, spec, is_enqueued=number - first < len(given))
        for number, (params, spec) in enumerate([*given, *drawn], first)
    ]


def _batch(strategy: TpeStrategy) -> int:
    assert strategy.batch_size is not None, "the study is resolved"
    return strategy.batch_size


def _batch_start(known: int, strategy: TpeStrategy) -> int:
    """Return the first configuration of the latest batch."""
    return (known - 1) // _batch(strategy) * _batch(strategy)


def _new_bracket(
    study: StudyRecord, fresh: Sequence[Configuration], stopper: SuccessiveHalving | None
) -> Round:
    bracket = None if stopper is None else fresh[0].number
    new = new_runs(fresh, study.spec["repeats"], bracket)
    specs = {each.number: each.spec for each in fresh}
    marks = _rungs(specs, stopper)
    records = [run.record for run in new]
    stop_step = marks[0] if marks else None
    return Round(train_tasks(study, records, specs, stop_step), tuple(new))


def _next_rung(
    study: StudyRecord, bracket: Sequence[RunRecord], stopper: SuccessiveHalving
) -> Round:
    groups = grouped(bracket)
    jobs = RunSpecs(study.spec, study.format)
    specs = {number: jobs.of(of[0].params, 0) for number, of in groups.items()}
    marks = _rungs(specs, stopper)
    step = next(run.paused["step"] for run in bracket if run.paused is not None)
    at = marks.index(step)
    decided = decide(
        bracket,
        size=len(groups),
        factor=stopper.factor,
        rung=at,
        goal=study.spec["metric"]["goal"],
    )
    stop_step = marks[at + 1] if at + 1 < len(marks) else None
    tasks = train_tasks(study, decided.going_on, specs, stop_step)
    return Round(tasks, changed=tuple(decided.stopped))


def _rungs(specs: dict[int, JobSpec], stopper: SuccessiveHalving | None) -> list[int]:
    if stopper is None:
        return []
    assert stopper.min_steps is not None, "the study is resolved"
    longest = max(map(num_steps, specs.values()))
    return rungs(len(specs), stopper.min_steps, stopper.factor, longest)
