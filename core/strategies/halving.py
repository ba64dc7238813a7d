"""Successive halving at a rung: who goes on, who stops, and why it can be said of each.

Arithmetic and sources: `core.specs.studies.halving`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.specs.direction import sign_of
from core.specs.studies.halving import num_kept
from core.studies import RunRecord


@dataclass(frozen=True)
class Rung:
    """The decision at a rung.

    Attributes:
        going_on: runs that train further.
        stopped: records of those that do not, as they are to be written.
    """

    going_on: list[RunRecord]
    stopped: list[RunRecord]


def decide(runs: Sequence[RunRecord], *, size: int, factor: int, rung: int, goal: str) -> Rung:
    """Rank the configurations that came as far and stop all but the best.

    A configuration that has ended by itself (converged, diverged, at its budget's end) keeps its
    rank and, among the best, its place, though it trains no further. At least one goes on of those
    that can.

    Args:
        runs: of the bracket, repeats together.
        size: configurations that the bracket began with.
        rung: its number, from 0: ⌊size/factor^rung⌋ came here, ⌊size/factor^(rung+1)⌋ go on.
        goal: `min` or `max`, of the study's metric.
    """
    groups = grouped(run for run in runs if run.stopped is None)
    order = sorted(groups, key=lambda number: (*rank_key(groups[number], goal), number))
    alive = {number for number in order if any(waits(run) for run in groups[number])}
    # Ended ones that an earlier rung would have stopped do not compete any more.
    places = num_kept(size, factor, rung) - len(alive)
    ended = [number for number in order if number not in alive][: max(places, 0)]
    order = [number for number in order if number in alive or number in set(ended)]
    kept = set(order[: num_kept(size, factor, rung + 1)])
    if not kept & alive:
        kept.add(next(number for number in order if number in alive))
    going_on, stopped = [], []
    for rank, number in enumerate(order, 1):
        for run in filter(waits, groups[number]):
            if number in kept:
                going_on.append(run)
            else:
                stopped.append(_stopped(run, rank, len(order)))
    return Rung(
        sorted(going_on, key=lambda run: run.index), sorted(stopped, key=lambda run: run.index)
    )


def waits(run: RunRecord) -> bool:
    """Tell whether the run has paused at a rung."""
    return not run.terminal and run.paused is not None


def grouped(runs: Iterable[RunRecord]) -> dict[int, list[RunRecord]]:
    """Group runs by configuration, in order of number."""
    found: dict[int, list[RunRecord]] = {}
    for run in runs:
        found.setdefault(run.configuration, []).append(run)
    return dict(sorted(found.items()))


def rank_key(repeats: Sequence[RunRecord], goal: str) -> tuple[bool, float]:
    """Return the key that sorts configurations, the best first: the mean over the repeats; last
    those with a repeat that has diverged, failed, or has no finite metric."""
    value = mean_metric(repeats)
    if value is None:
        return True, 0.0
    return False, sign_of(goal) * value


def mean_metric(repeats: Sequence[RunRecord]) -> float | None:
    """Return the mean metric; None where a repeat diverged, ended without a metric or with none
    that is finite."""
    values = [run.metric for run in repeats if run.outcome != "diverged"]
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if len(finite) < len(repeats):
        return None
    return math.fsum(value / len(finite) for value in finite)


def _stopped(run: RunRecord, rank: int, of: int) -> RunRecord:
    """Return the record of a run that a rung stops: it keeps what was known there."""
    paused: Mapping[str, Any] = run.paused or {}
    result = {
        "initial_loss": paused.get("initial_loss"),
        "final_loss": paused.get("loss"),
        "best_loss": (run.best or {}).get("loss"),
        "num_steps": paused.get("step"),
        "train_s": run.share_s,
        "num_parameters": None,
        "eval": paused.get("eval"),
        "test": None,
    }
    stopped = {"by": "successive_halving", "step": paused.get("step"), "rank": rank, "of": of}
    return replace(run, status="cancelled", stopped=stopped, paused=None, result=result)
