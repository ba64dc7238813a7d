"""The diagnosis of a job, made where its history is; what is measured of weights comes from the
trainer."""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from core.errors import NotFoundError, StaleAttemptError, StoreUnavailableError
from core.jobs import JobRecord, Outcome
from core.messages.requests import Measure, TrySteps
from core.specs.base import Json
from core.specs.job import JobSpec
from core.store.history.layout import Columns, HistoryKind
from core.store.protocols.worker import WorkerStore
from worker.reporting.job import JobRows

if TYPE_CHECKING:  # the rules are imported with the first diagnosis: 2 MiB less at rest
    from core.diagnosis.remedies.attempt import TryFirstSteps

# The request to the trainer to measure weights, and the time that it may take.
LIMIT_S: Final = 300.0
"""Seconds after which a measurement is taken to hang: it bounds its own time."""
LONG_RUN_S: Final = 15.0
"""Seconds of training that a diagnosis asked for later counts at least: whoever asks for it wants
to know, so its share of the training time is that of a run of at least this long."""


def question(
    job: JobRecord, *, artifacts: str, device: str, checkpoint: str, train_s: float, run: int
) -> Measure:
    """Make the request for the trainer."""
    return Measure(
        job_id=job.id,
        spec=job.spec,
        artifacts=artifacts,
        device=device,
        checkpoint=checkpoint,
        train_s=train_s,
        run=run,
    )


def trial(
    job: JobRecord, specs: Sequence[JobSpec], *, artifacts: str, device: str, run: int
) -> TrySteps:
    """Make the request to take the first steps of remedies."""
    several = [spec.model_dump(mode="json") for spec in specs]
    return TrySteps(job.id, several, device, run, uploads=artifacts)


log = logging.getLogger("thalweg.worker")

ReadHistory = Callable[[HistoryKind], Columns | None]
_UNDETERMINED: Final[Json] = {
    "verdict": "undetermined",
    "confidence": 0.0,
    "findings": [],
    "remedies": [],
}


@dataclass(frozen=True)
class Run:
    """The knowledge of a descent that a diagnosis needs.

    Attributes:
        history: reads a history's rows; None where there are none. It raises what the store does.
        examined: what was found in the data when they were loaded; None: nothing yet.
    """

    job: JobRecord
    outcome: Outcome | None
    result: Json | None
    history: ReadHistory
    examined: Json | None = None

    @property
    def spec(self) -> JobSpec:
        # From JSON: a spec is strict, and takes a list for a tuple from JSON only.
        return JobSpec.model_validate_json(json.dumps(self.job.spec))


def diagnosis(
    run: Run,
    measured: Json | None = None,
    parent: Callable[[], Run] | None = None,
    take: "TryFirstSteps | None" = None,
) -> Json:
    """Make the record's `diagnosis`.

    A fault in it is logged and written down as `undetermined`, and never fails the job. What the
    store raises is passed on.

    Args:
        measured: of the weights; a diagnosis that is not of the last step's sees no later rows.
        parent: for a job that tries a remedy, the run that the remedy is for (`NotFoundError`: it
            has been deleted).
        take: takes the first steps of models in the trainer; None: remedies are offered untried.
    """
    train, evaluation = run.history("train") or {}, run.history("eval")
    outcome = run.outcome
    if measured is not None and is_before_the_end(run, measured):
        outcome = None
        train = _until(train, measured["step"])
        evaluation = None if evaluation is None else _until(evaluation, measured["step"])
    try:
        from core.diagnosis.diagnose import diagnose

        spec = run.spec
        found = diagnose(spec, outcome, run.result, train, evaluation, measured, take, run.examined)
    except Exception:
        log.exception("%s: the diagnosis failed", run.job.id)
        return dict(_UNDETERMINED)
    if parent is None:
        return found
    return {**found, **_compared(run, found, parent)}


def stored_run(store: WorkerStore, job_id: str) -> Run:
    """Describe a run that has ended, its rows read now. Raises `NotFoundError`."""
    job = store.get(job_id)
    rows = {kind: store.read_columns(job_id, kind) for kind in ("train", "eval")}
    return Run(job, job.outcome, job.result, lambda kind: rows[kind] or None)


def is_before_the_end(run: Run, measured: Json) -> bool:
    """Tell whether other updates followed the weights that were measured."""
    steps = (run.result or {}).get("num_steps")
    return steps is not None and measured["step"] < steps


def _until(columns: Columns, step: int) -> Columns:
    """Return the rows up to that of `step`, whose loss is that of the weights after `step`
    updates."""
    if not columns:
        return columns
    stop = int(np.searchsorted(columns["step"], step, side="right"))
    return {name: column[:stop] for name, column in columns.items()}


def tries_a_remedy(job: JobRecord) -> bool:
    """Tell whether the job may be compared with its parent: it is the parent's remedy, applied, or
    a clone. (One that goes on says where it starts.)"""
    return job.parent_id is not None and job.spec.get("start_from") is None


def _compared(run: Run, found: Json, read_parent: Callable[[], Run]) -> Json:
    """Return the fields that a child's diagnosis has on top."""
    from core.diagnosis.remedies.effect import compare

    try:
        parent = read_parent()
        if (why := _not_comparable(run.job, parent.job)) is not None:
            return {"compared_to_parent": None, "not_compared": why}
        before = _facts(parent, parent.job.diagnosis)
        return {"compared_to_parent": compare(before, _facts(run, found))}
    except NotFoundError:
        why = f"The parent job {run.job.parent_id} has been deleted."
    except (StaleAttemptError, StoreUnavailableError):
        raise
    except Exception:
        log.exception("%s: it could not be compared to its parent", run.job.id)
        why = "A fault in the service."
    return {"compared_to_parent": None, "not_compared": why}


def _not_comparable(job: JobRecord, parent: JobRecord) -> str | None:
    """Say why two jobs' results are not of the same thing; None: they are."""
    if not parent.terminal:
        return f"The parent job {parent.id} had not ended."
    for name in ("kind", "data", "loss", "function"):
        if job.spec["problem"].get(name) != parent.spec["problem"].get(name):
            return f"problem.{name} is another one than the parent's."
    return None


def _facts(run: Run, found: Json | None) -> Json:
    from core.diagnosis.remedies.effect import facts

    train, evaluation = run.history("train") or {}, run.history("eval")
    return facts(run.spec, run.outcome, run.result, train, evaluation, found)


EVERY_S: Final = 2.0
SHARE: Final = 0.005
"""Largest share of the time that goes into it (a look at 400,000 rows takes 3 ms)."""


class LiveDiagnosis:
    """Writes the record's `diagnosis` every now and then, marked `live`, from the rows at hand.

    Where not all rows are at hand (a resumed attempt, a very long run) there is none: reading them
    back would cost more than it tells.
    """

    def __init__(
        self,
        job: JobRecord,
        recorder: JobRows,
        *,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job = job
        self._recorder = recorder
        self._every_s = every_s
        self._clock = clock
        self._due = clock() + every_s if job.spec.get("diagnose") != "off" else float("inf")

    def look(self, initial_loss: float | None = None, examined: Json | None = None) -> None:
        """Diagnose the rows that have come, if it is time. `initial_loss`: where the run began;
        `examined`: see `Run`."""
        began = self._clock()
        if began < self._due:
            return
        if not self._recorder.history("train"):
            self._due = float("inf")
            return
        known = None if initial_loss is None else {"initial_loss": initial_loss}
        found = diagnosis(Run(self._job, None, known, self._recorder.history, examined))
        self._recorder.set(diagnosis={**found, "live": True})
        now = self._clock()
        self._due = now + max(self._every_s, (now - began) / SHARE)
