"""A study's runs as arrays: a row a configuration, a column a repeat."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.compare import parameters
from core.specs.base import Json
from core.studies import RunRecord

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_RATES: Final = ("eval.accuracy", "eval.top_k")
"""Metrics that are shares of counted rows."""


class State(IntEnum):
    """The state of a run in the comparison."""

    MISSING = 0
    """The run is not planned (yet)."""
    PENDING = 1
    """Planned, and not at its end."""
    VALUED = 2
    """The run is at its end, with a finite metric."""
    DIVERGED = 3
    """The run is at its end by divergence, or without a finite metric."""
    FAILED = 4
    STOPPED = 5
    """The run was stopped by a stopper, before its end."""
    CANCELLED = 6


@dataclass(frozen=True)
class Table:
    """Rows are configurations in order of their numbers, columns repeats (C, R).

    Attributes:
        numbers: of the configurations.
        params: of each.
        leaves: of each (`parameters.leaves`).
        state: of each run.
        values: the metric of `VALUED` runs, else NaN.
        recorded: the metric as it was recorded, whatever became of the run; None: none.
        updates: applied, as far as the records tell.
        seconds: of training time, as far as the records tell.
        target_step, target_s: at which the target was reached; NaN: it was not.
        status: num_succeeded, num_diverged, num_failed, num_cancelled, num_stopped, num_pending
            (C,) by name.
        stopped: the first stopped run's `stopped`, of each configuration.
        tests: the mean of each metric on the rows of the test, over the `VALUED` runs that have it:
            `{"num", "best", "final"}`, of each configuration; None where none has.
        origins: `{"study_id", "configuration"}` of each that was inherited; None: the study's own.
        resolution: step of a metric that is a share of counted rows (the least distance of two of
            its values); 0 for others.
    """

    numbers: list[int]
    params: list[Json]
    leaves: list[Json]
    state: Ints
    values: Floats
    recorded: list[list[float | None]]
    updates: Ints
    seconds: Floats
    target_step: Floats
    target_s: Floats
    status: dict[str, Ints]
    stopped: list[Json | None]
    tests: list[Json | None]
    origins: list[Json | None]
    resolution: float

    @property
    def num_repeats(self) -> int:
        return int(self.state.shape[1])

    def count(self, *states: State) -> Ints:
        """Count the runs of each configuration in these states."""
        found: Ints = np.isin(self.state, states).sum(axis=1)
        return found


_FOLD: Final = "problem.data.split.fold"


def folded(study: Json, runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the runs with the folds of a cross-validation as repeats: configurations of a grid
    that differ by their fold alone are one, the first of them. The same fold is the same repeat in
    all, so that comparisons are paired by fold."""
    strategy = study.get("strategy") or {}
    if strategy.get("kind", "grid") != "grid" or strategy.get("stopper") is not None:
        return list(runs)
    inherited = [run for run in runs if run.inherited is not None]
    if inherited:  # which are no repeats of the study's own
        own = [run for run in runs if run.inherited is None]
        return [*_folded(study, inherited), *_folded(study, own)]
    return _folded(study, runs)


def _folded(study: Json, runs: Sequence[RunRecord]) -> list[RunRecord]:
    leaves = {run.configuration: parameters.leaves(run.params) for run in runs}
    folds = sorted({one[_FOLD] for one in leaves.values() if _FOLD in one})
    if len(folds) < 2:
        return list(runs)
    first: dict[str, int] = {}
    for number, one in sorted(leaves.items()):
        first.setdefault(_apart_from_fold(one), number)
    params = {run.configuration: run.params for run in runs}
    repeats = int(study.get("repeats", 1))
    found = []
    for run in runs:
        one = leaves[run.configuration]
        number = first[_apart_from_fold(one)]
        place = folds.index(one[_FOLD]) if _FOLD in one else 0
        repeat = place * repeats + run.repeat
        found.append(replace(run, configuration=number, params=params[number], repeat=repeat))
    return found


def _apart_from_fold(leaves: Json) -> str:
    return parameters.key({path: value for path, value in leaves.items() if path != _FOLD})


def tabulate(study: Json, runs: Sequence[RunRecord]) -> Table:
    """Return the table of these runs. Configurations without a record do not appear."""
    numbers = sorted({run.configuration for run in runs})
    place = {number: row for row, number in enumerate(numbers)}
    repeats = max([int(study.get("repeats", 1)), *(run.repeat + 1 for run in runs)])
    shape = len(numbers), repeats
    params: list[Json] = [{} for _ in numbers]
    recorded: list[list[float | None]] = [[None] * repeats for _ in numbers]
    stopped: list[Json | None] = [None] * len(numbers)
    state, updates = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    values, seconds, steps, reached = (np.full(shape, np.nan) for _ in range(4))
    status = {name: np.zeros(len(numbers), dtype=np.int64) for name in _STATUS}
    tests: list[list[Json]] = [[] for _ in numbers]
    origins: list[Json | None] = [None] * len(numbers)
    for run in runs:
        row, column = place[run.configuration], run.repeat
        if run.inherited is not None:
            origins[row] = {name: run.inherited[name] for name in ("study_id", "configuration")}
        params[row] = run.params
        recorded[row][column] = run.metric
        stands = _state(run)
        state[row, column] = stands
        if stands is State.VALUED:
            values[row, column] = run.metric
            if test := (run.result or {}).get("test"):
                tests[row].append(test)
        updates[row, column] = _updates(run)
        seconds[row, column] = math.nan if run.share_s is None else run.share_s
        if run.target is not None:
            steps[row, column], reached[row, column] = run.target["step"], run.target["seconds"]
        stopped[row] = stopped[row] or run.stopped
        for name in _counted(run):
            status[name][row] += 1
    leaves = [parameters.leaves(each) for each in params]
    metric = str(study["metric"].get("name"))
    return Table(
        numbers, params, leaves, state, values, recorded, updates, seconds, steps, reached, status,
        stopped, list(map(_mean_test, tests)), origins,
        _resolution(values) if metric in _RATES else 0.0,
    )  # fmt: skip


def _is_metric(name: str, value: object) -> bool:
    """Tell a metric from the step of its weights, and from a confusion matrix."""
    return name != "step" and not isinstance(value, list)


def _mean_test(tests: Sequence[Json]) -> Json | None:
    if not tests:
        return None
    found: Json = {"num": len(tests)}
    for which in ("best", "final"):
        each = [test[which] for test in tests if test[which] is not None]
        names = [name for name, value in each[0].items() if _is_metric(name, value)] if each else []
        found[which] = {name: sum(test[name] for test in each) / len(each) for name in names}
    return found


_STATUS: Final = (
    "num_succeeded", "num_diverged", "num_failed", "num_cancelled", "num_stopped", "num_pending",
)  # fmt: skip


def _state(run: RunRecord) -> State:
    if run.status == "failed":
        return State.FAILED
    if run.status == "cancelled":
        return State.CANCELLED if run.stopped is None else State.STOPPED
    if run.status != "succeeded":
        return State.PENDING
    if run.outcome == "diverged" or run.metric is None or not math.isfinite(run.metric):
        return State.DIVERGED
    return State.VALUED


def _counted(run: RunRecord) -> list[str]:
    """Name the counts that a run adds to, by status, as the study's record counts: of the succeeded
    some diverged, of the cancelled some were stopped."""
    if not run.terminal:
        return ["num_pending"]
    names = [f"num_{run.status}"]
    if run.outcome == "diverged":
        names.append("num_diverged")
    if run.stopped is not None:
        names.append("num_stopped")
    return names


def _updates(run: RunRecord) -> int:
    if run.result is not None:
        return int(run.result["num_steps"])
    known = run.stopped or run.paused
    return 0 if known is None else int(known["step"])


def _resolution(values: Floats) -> float:
    """Return the least distance between two different values."""
    distinct = np.unique(values[np.isfinite(values)])
    gaps = np.diff(distinct)
    gaps = gaps[gaps > 1e-9]
    return float(gaps.min()) if gaps.size else 0.0
