"""A plan of a study: which runs come next, or that there is nothing more to do.

It is decided in the worker's main process, from the study and its runs' records alone, so that a
plan that is repeated decides the same.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Final

from core.compare.comparison import best_configuration
from core.compare.table import folded
from core.errors import JobFailure
from core.jobs import Status
from core.specs.base import Json
from core.store.protocols.types import Round, TaskClaim
from core.strategies.importance import importance
from core.studies import RunRecord, StudyRecord
from worker.execution.cleanup import drop_spent
from worker.execution.context import ExecutionContext
from worker.execution.execution import Execution

log = logging.getLogger("thalweg.worker")

Decide = Callable[[StudyRecord, Sequence[RunRecord]], Round | None]
"""Function that decides, from a study and its runs (those that it inherited first), which runs and
tasks come next; None: the study has come through."""

_FAULT: Final = "A fault in the service; the worker's log has the details."


class PlanExecution(Execution):
    """Carries out a claimed plan. Used once."""

    def __init__(self, claim: TaskClaim, context: ExecutionContext, decide: Decide) -> None:
        super().__init__(claim.task.id, context, claim.study)
        self._claim = claim
        self._decide = decide

    def _carry_out(self) -> None:
        self._say_begins()
        claim, artifacts = self._claim, self._context.artifacts
        store, study_id = self._context.store.studies, claim.study.id
        runs = own = self._insist(lambda: store.runs(study_id))
        if claim.study.spec.get("warm_start_from") is not None:
            runs = [*self._insist(lambda: store.inherited(study_id)), *own]
        while True:
            round_, status, fields = self._decided(claim.study, runs)
            if round_ is not None:
                self._insist(partial(store.plan, claim, round_))
                self._ended = f"{len(round_.tasks)} tasks planned"
                if claim.task.round > 1:  # the runs went on from what the round before left
                    drop_spent(artifacts, study_id, own, claim.task.round - 1)
                return
            now = self._insist(partial(store.finish, claim, status, fields))
            if now is not None:
                break
            # Runs have been added to the study meanwhile.
            claim = replace(claim, study=self._insist(lambda: store.get(study_id)))
        self._ended = f"its study is {now}"
        if claim.task.round > 1:
            drop_spent(artifacts, study_id, own)

    def _decided(
        self, study: StudyRecord, runs: Sequence[RunRecord]
    ) -> tuple[Round | None, Status, Json]:
        """Return the round that comes next, or how the study ends, with the fields of its end."""
        try:
            round_ = self._decide(study, runs)
        except Exception as error:
            log.exception("%s: its plan failed", self._claim.task.id)
            return None, "failed", {"error": _error(error)}
        if round_ is not None:
            return round_, "running", {}
        return None, *_ending(study, runs)


def _ending(study: StudyRecord, runs: Sequence[RunRecord]) -> tuple[Status, Json]:
    """Return the status of a study that has come through, and the fields that go with it."""
    failure = failure_of([run for run in runs if run.inherited is None])
    if failure is not None:
        return "failed", {"error": failure}
    return "succeeded", {"result": result_of(study, runs)}


def failure_of(runs: Sequence[RunRecord]) -> Json | None:
    """Say why a study failed that has come through: what most of its runs failed by, if all did."""
    if not runs or any(run.status != "failed" for run in runs):
        return None
    codes = Counter((run.error or {}).get("code", "internal_error") for run in runs)
    [(code, count)] = codes.most_common(1)
    first = next(run for run in runs if (run.error or {}).get("code", "internal_error") == code)
    message = (first.error or {}).get("message", _FAULT)
    text = f"All {len(runs)} runs failed, {count} of them like run {first.index}: {message}"
    return {"code": code, "message": text, "param": None}


def result_of(study: StudyRecord, runs: Sequence[RunRecord]) -> Json:
    """Make the `result` of a study that has come through; what it inherited counts for `best` and
    `importance`.

    `best` is its leading configuration, with the mean of the metric over the runs that have one;
    None where none leads, or where there was a fault in it, which is logged and costs nothing but
    this. `num_distinct` counts the configurations, of which no two are equal; `importance` is what
    `core.strategies.importance` says.
    """
    num_distinct = len({run.configuration for run in runs if run.inherited is None})
    rest = {"num_distinct": num_distinct, "importance": _importance_of(study, runs)}
    try:
        leader = best_configuration(study.spec, runs)
    except Exception:
        log.exception("%s: its configurations could not be compared", study.id)
        leader = None
    if leader is None:
        return {"best": None, **rest}
    repeats = [run for run in folded(study.spec, runs) if run.configuration == leader]
    values = [
        run.metric
        for run in repeats
        if run.outcome != "diverged" and run.metric is not None and math.isfinite(run.metric)
    ]
    metric = fmean(values) if values else None
    best = {"configuration": leader, "params": repeats[0].params, "metric": metric}
    return {"best": best, **rest}


def _importance_of(study: StudyRecord, runs: Sequence[RunRecord]) -> Json | None:
    try:
        return importance(study.spec, folded(study.spec, runs))
    except Exception:
        log.exception("%s: the importance of its parameters could not be computed", study.id)
        return None


def _error(error: Exception) -> Json:
    if isinstance(error, JobFailure):
        return {"code": error.failure_code, "message": str(error), "param": error.param}
    return {"code": "internal_error", "message": _FAULT, "param": None}
