"""Work that a trainer does for its worker: train a job or a task, measure or use weights, get
warm."""

import json
import math
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Final, assert_never

import orjson

from core.artifacts.base import ArtifactStore
from core.artifacts.build import open_artifacts
from core.artifacts.memory import MemoryStore
from core.artifacts.weights import WeightsPlace
from core.errors import JobFailure, NotFoundError
from core.formats import STORE
from core.ids import JOB_PREFIX, STUDY_PREFIX, new_id
from core.messages.reports import (
    Ending,
    JobReport,
    Measured,
    PhaseBegun,
    Settled,
    TaskEnding,
    TaskReport,
)
from core.messages.requests import Measure, TrainJob, TrainTask, TrySteps, UseWeights
from core.settings import Settings
from core.specs.base import Json
from core.specs.job import JobSpec
from core.specs.parsing.job import Limits, parse_job
from core.specs.validation.auto_lr import is_settled
from core.train.events import Control, Emit, JobControl, StopRequest
from core.uses.model import ModelFacts
from core.uses.record import ONNX_NAME

if TYPE_CHECKING:
    from core.train.checkpoint.writer import WriterThreads

SLICE_SHARE: Final = 0.15
"""Share of a full diagnosis's time for the picture of the loss around the weights."""
SLICE_LEAST_S: Final = 0.25

WARM_UP: Final[tuple[Json, ...]] = (
    {
        "problem": {"kind": "function", "function": {"kind": "rosenbrock", "dim": 2}},
        "optimizer": {"kind": "adam"},
        "budget": {"max_steps": 2},
    },
    {
        "problem": {
            "kind": "supervised",
            "data": {"kind": "synthetic", "generator": {"kind": "blobs", "num_samples": 100}},
            "model": {"kind": "mlp", "hidden": [8]},
        },
        "optimizer": {"kind": "adam"},
        "budget": {"max_steps": 2},
    },
)
WARM_UP_REST: Final[Json] = {
    "problem": {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "digits"},
        "model": {"kind": "mlp", "hidden": [8]},
    },
    "optimizer": {"kind": "adam"},
    "budget": {"max_steps": 2},
}
"""A job that needs scikit-learn, whose import takes as long as all else but torch."""


@cache
def artifact_store(location: str) -> ArtifactStore:
    """Open the artifact store once per process: an object store's connections stay open between
    jobs."""
    return open_artifacts(location)


@cache
def _writer_threads() -> "WriterThreads":
    """Start the threads that write a job's files once per process."""
    from core.train.checkpoint.writer import WriterThreads

    return WriterThreads()


def train_job(job: TrainJob, emit: Emit[JobReport], control: JobControl) -> Ending:
    """Train a job. What is "auto" in its spec is settled first."""
    return _train_job(job, artifact_store(job.artifacts), emit, control)


def _train_job(
    job: TrainJob, store: ArtifactStore, emit: Emit[JobReport], control: JobControl
) -> Ending:
    from core.train.data.uploaded import exact_rows, uploads_from
    from core.train.loop import run

    # From JSON: a spec is strict, and takes a list for a tuple from JSON only.
    posted = JobSpec.model_validate_json(orjson.dumps(job.spec))
    with uploads_from(store):
        spec = exact_rows(posted)
        if not is_settled(spec):
            settled = _settled(spec, job.device, emit, control)
            if settled is None:
                cancelled = control.stop_requested == "cancel"
                return Ending("cancelled" if cancelled else "handed_over", None, {}, None)
            spec = settled
        elif spec is not posted:
            emit(Settled(spec.model_dump(mode="json"), {}))
        return run(
            spec,
            artifacts=store.job(job.job_id),
            emit=emit,
            control=control,
            resume=job.resume,
            stored_rows=job.stored_rows,
            device=job.device,
            asked=control,
            threads=_writer_threads(),
        )


def _settled(spec: JobSpec, device: str, emit: Emit[JobReport], control: Control) -> JobSpec | None:
    """Return the spec with its learning rate found; None: asked to stop meanwhile. Whoever tries
    again finds the same."""
    from core.train.auto_lr.race import race
    from core.train.auto_lr.settle import settle

    emit(PhaseBegun("tuning"))
    found = settle(spec, race, control=control, device=device)
    if found is None:
        return None
    emit(Settled(found.spec.model_dump(mode="json"), found.resolved))
    return found.spec


def train_task(task: TrainTask, emit: Emit[TaskReport], control: Control) -> TaskEnding:
    """Train the runs of a study's task."""
    return _train_task(task, artifact_store(task.artifacts), emit, control)


def _train_task(
    task: TrainTask, store: ArtifactStore, emit: Emit[TaskReport], control: Control
) -> TaskEnding:
    from core.train.data.uploaded import uploads_from
    from core.train.fused.task import run_task

    with uploads_from(store):
        return run_task(task, store.job(task.study_id), emit, control)


def measure(asked: Measure, control: Control) -> Measured:
    """Measure weights for a full diagnosis. Asked to stop, it begins nothing new."""
    from core.train.data.uploaded import uploads_from
    from core.train.measure.measure import budget_for, measure_checkpoint
    from core.train.measure.slice import slice_checkpoint

    def clock() -> float:
        return math.inf if control.stop_requested else perf_counter()

    spec = JobSpec.model_validate_json(json.dumps(asked.spec))
    store = artifact_store(asked.artifacts)
    artifacts = store.job(asked.job_id)
    budget_s = budget_for(asked.train_s)
    try:
        with uploads_from(store):
            found = measure_checkpoint(
                spec,
                artifacts,
                asked.checkpoint,
                device=asked.device,
                budget_s=(1 - SLICE_SHARE) * budget_s,
                clock=clock,
            )
            found["slice"] = slice_checkpoint(
                spec,
                artifacts,
                asked.checkpoint,
                device=asked.device,
                budget_s=max(SLICE_LEAST_S, SLICE_SHARE * budget_s),
                clock=clock,
            )
            return Measured(found)
    except NotFoundError as error:
        message = f"The weights of the checkpoint {asked.checkpoint} are not there any more."
        raise JobFailure("data_unavailable", message) from error


def try_steps(asked: TrySteps) -> Measured:
    """Take the first steps of some runs."""
    from core.train.data.uploaded import uploads_from
    from core.train.measure.measure import strict
    from core.train.measure.trial_steps import first_steps

    specs = [JobSpec.model_validate_json(json.dumps(spec)) for spec in asked.specs]
    with uploads_from(artifact_store(asked.uploads)):
        return Measured({"first_steps": strict(first_steps(specs, device=asked.device))})


def use_weights(asked: UseWeights, control: Control) -> Measured:
    """Predict rows with weights, or write them as another library takes them."""
    from core.train.devices import pick_device
    from core.train.inference.model import TrainedModel

    store = artifact_store(asked.artifacts)
    facts = ModelFacts.model_validate_json(json.dumps(asked.model))
    place = WeightsPlace.from_json(asked.weights)
    on_cpu = asked.kind == "onnx"  # the file is the same wherever it is made
    device = pick_device("cpu" if on_cpu else asked.device)
    model = TrainedModel.load(store, place, facts, device)
    match asked.kind:
        case "predict":
            from core.train.inference.predict import predict

            assert asked.rows is not None
            return Measured(predict(model, store, asked.job_id, asked.rows, control))
        case "onnx":
            from core.train.inference.onnx import export_onnx

            data = export_onnx(model)
            stored = store.job(asked.job_id).write(ONNX_NAME, [data])
            return Measured({"size_bytes": stored.size_bytes, "sha256": stored.sha256})
        case _:
            assert_never(asked.kind)


class _NeverStop:
    """A control that never asks."""

    stop_requested: StopRequest | None = None
    dropped: tuple[int, ...] = ()
    keep = 0


def _nobody(report: JobReport | TaskReport) -> None:
    """Take a report, and do nothing with it."""


def warm_up(device: str) -> None:
    """Train a little of each kind, by itself and as two runs of a study, so that nobody pays for
    what torch imports and allocates at first use. Raises what a job on this machine would."""
    for body in WARM_UP:
        spec = parse_job(json.dumps(body).encode(), Limits.of(Settings())).model_dump(mode="json")
        _train_for_warmth(spec, device)


def warm_up_rest() -> None:
    """Train a little of what is asked for at times, and takes long to import."""
    spec = parse_job(json.dumps(WARM_UP_REST).encode(), Limits.of(Settings()))
    _train_for_warmth(spec.model_dump(mode="json"), "cpu")


def _train_for_warmth(spec: Json, device: str) -> None:
    # A trainer may be killed at any moment, and its temporary files would stay for ever.
    store, nowhere = MemoryStore(), ""
    job = TrainJob(
        job_id=new_id(JOB_PREFIX),
        spec=spec,
        artifacts=nowhere,
        device=device,
        resume=False,
        stored_rows=None,
        run=0,
    )
    _train_job(job, store, _nobody, _NeverStop())
    task = TrainTask(
        study_id=new_id(STUDY_PREFIX),
        stem="0_1",
        artifacts=nowhere,
        device=device,
        stop_step=None,
        resume=False,
        stored_rows=None,
        base=spec,
        format=STORE,
        configurations=[{}],
        runs=[[0, 0, 0], [1, 0, 1]],
        sources={},
        target=None,
        run=0,
    )
    _train_task(task, store, _nobody, _NeverStop())
