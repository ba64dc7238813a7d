"""The next step of a study: the one entry point is `next_round`.

A plan follows from the study's spec and the stored records of its runs alone, so that one which is
repeated after a crash decides the same.
"""

from collections.abc import Sequence

from core.specs.job import JobSpec
from core.specs.sizes.shapes import num_steps
from core.specs.studies.halving import rungs
from core.specs.studies.parse import RunSpecs, resolved_configurations, strategy_of
from core.specs.study import SuccessiveHalving, TpeStrategy
from core.store.protocols.types import Round
from core.strategies.halving import decide, grouped, waits
from core.strategies.runs import Configuration, new_runs, train_tasks
from core.studies import RunRecord, StudyRecord


def next_round(study: StudyRecord, runs: Sequence[RunRecord]) -> Round | None:
    """Return the runs and tasks that come next; None: the strategy is through.

    Args:
        study: its `round` is the plan's.
        runs: all that have been planned, in order of index. None of them is at work.
    """
    strategy = strategy_of(study.spec)
    known = len(grouped(runs))
    if any(map(waits, runs)):
        stopper = strategy.stopper
        assert stopper is not None, "only a stopper lets runs pause"
        first = 0
        if isinstance(strategy, TpeStrategy):
            first = _batch_start(known, strategy)
        bracket = [run for run in runs if run.configuration >= first]
        return _next_rung(study, bracket, stopper)
    if isinstance(strategy, TpeStrategy):
        if known >= strategy.num_runs or known % _batch(strategy):
            return None
        from core.strategies.tpe import asked  # Optuna takes a second to import

        fresh = asked(study.spec, strategy, runs, study.format)
    elif known:
        return None
    else:
        count = study.num_runs // study.spec["repeats"]
        found = resolved_configurations(study.spec, study.format, count)
        fresh = [Configuration(number, *each) for number, each in enumerate(found)]
    return _new_bracket(study, fresh, strategy.stopper) if fresh else None


def _batch(strategy: TpeStrategy) -> int:
    assert strategy.batch_size is not None, "the study is resolved"
    return strategy.batch_size


def _batch_start(known: int, strategy: TpeStrategy) -> int:
    """Return the first configuration of the latest batch."""
    return (known - 1) // _batch(strategy) * _batch(strategy)


def _new_bracket(
    study: StudyRecord, fresh: Sequence[Configuration], stopper: SuccessiveHalving | None
) -> Round:
    new = new_runs(fresh, study.spec["repeats"])
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
