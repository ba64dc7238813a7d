"""Requests to a trainer: a closed set of frozen types. `run` is a number that no other work of this
trainer has. `worker.trainer.protocol` says how messages travel."""

from dataclasses import dataclass

from core.messages.parts import Kind
from core.specs.base import Json
from core.uses.record import UseKind


@dataclass(frozen=True)
class TrainJob:
    """Train a job: its reports follow, the last of them `Ending` or `Failed`.

    Attributes:
        spec: resolved, but for what is "auto", which is settled first.
        artifacts: where the artifact store is.
        device: where to train.
        resume: go on after the latest usable checkpoint; without any, from the beginning.
        stored_rows: rows of each history that have arrived in the store: a checkpoint that
            presumes more is not used. None: all of them.
    """

    job_id: str
    spec: Json
    artifacts: str
    device: str
    resume: bool
    stored_rows: dict[Kind, int] | None
    run: int


@dataclass(frozen=True)
class TrainTask:
    """Train the runs of a study's task, whose models are alike: their reports follow, the last of
    them `TaskEnding` or `Failed`. Runs are named by their indices in the study.

    Attributes:
        stem: what the names of the task's artifacts begin with.
        stop_step: after so many updates, runs that have not ended pause; None: none does.
        resume: go on from the task's latest checkpoint; without any, from the beginning.
        stored_rows: by run, the rows of each history that have arrived: a checkpoint that presumes
            more is not used. None: all of them.
        base, configurations: of the resolved study, and the parameters of each.
        format: in which the study was stored (`core.formats`).
        runs: `[index in the study, place in configurations, seed]` each.
        sources: by run, the artifact with the state that a paused run goes on from.
        target: the study's metric, where it has a target: `name`, `goal`, `target`.
    """

    study_id: str
    stem: str
    artifacts: str
    device: str
    stop_step: int | None
    resume: bool
    stored_rows: dict[int, dict[Kind, int]] | None
    base: Json
    format: int
    configurations: list[Json]
    runs: list[list[int]]
    sources: dict[int, str]
    target: Json | None
    run: int


@dataclass(frozen=True)
class Measure:
    """Measure what a full diagnosis wants to know of a job's weights, in a share of `train_s`: the
    answer is `Measured` or `Failed`."""

    job_id: str
    spec: Json
    artifacts: str
    device: str
    checkpoint: str
    train_s: float
    run: int


@dataclass(frozen=True)
class TrySteps:
    """Take the first steps of specs that remedies make of a job's: the answer is `Measured`, its
    `first_steps` what `core.train.measure.trial_steps.first_steps` returns, or `Failed`."""

    job_id: str
    specs: list[Json]
    device: str
    run: int
    uploads: str = ""
    """Location of the artifact store, which has the data sets that the specs name."""


@dataclass(frozen=True)
class UseWeights:
    """Predict rows, or export a model: the answer is `Measured`, its `size_bytes` those of the
    artifact that was written and the rest what the use's record says of it, or `Failed`.

    Attributes:
        job_id: of the use (`core.uses.record.UseRecord`), whose artifacts these are.
        weights, model, rows: as of that record.
    """

    job_id: str
    kind: UseKind
    weights: Json
    model: Json
    rows: Json | None
    artifacts: str
    device: str
    run: int


@dataclass(frozen=True)
class Cancel:
    """Stop the run between two steps; for a run that has ended it means nothing."""

    run: int


@dataclass(frozen=True)
class HandOver:
    """Stop the run as `Cancel` does, and leave a checkpoint for another worker to go on from."""

    run: int


@dataclass(frozen=True)
class KeepCheckpoint:
    """Leave a checkpoint at the next step, which stays: the answer to the request of this number.
    The run goes on."""

    run: int
    number: int


Work = TrainJob | TrainTask | Measure | TrySteps | UseWeights
Order = Cancel | HandOver | KeepCheckpoint
Request = Work | Order
