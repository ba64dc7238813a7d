"""Conversion of records to the JSON that the contract shows."""

from typing import NamedTuple

from api.http.schemas import LEFT_OUT
from api.jobs.schemas import (
    Checkpoint,
    EstimateView,
    Job,
    Links,
    ListedJob,
    Progress,
    Validated,
    Verdict,
)
from api.services.dependencies import Services
from api.services.places import Place
from core.errors import FieldError
from core.jobs import HELD, JobRecord
from core.specs.base import Json
from core.specs.job import DataProblem, JobSpec
from core.specs.layers.trace import Placed
from core.specs.sizes.cost import estimate
from core.specs.sizes.shapes import layers_of
from core.specs.sizes.uploads import Uploads
from core.specs.validation.warnings.job import warnings_of_job
from core.specs.webhooks.url import shown_spec


def job_json(services: Services, job: JobRecord, place: Place) -> Json:
    """Make the contract's JSON of a job. `place`: in the queue."""
    return Job.build(
        job,
        **_computed(services, job, place),
        timeline=job.timeline.entries,
        diagnosis=job.diagnosis and diagnosis_json(job.diagnosis),
    )


def diagnosis_json(found: Json) -> Json:
    """Make the JSON of a stored diagnosis; older versions did not store where a finding lies."""
    return {
        **found,
        "findings": [{**each, "steps": each.get("steps")} for each in found["findings"]],
    }


def listed_job_json(services: Services, job: JobRecord, place: Place) -> Json:
    """Make the JSON of a job among others."""
    found = job.diagnosis
    verdict = found and Verdict.build(verdict=found["verdict"], confidence=found.get("confidence"))
    return ListedJob.build(job, **_computed(services, job, place), diagnosis=verdict)


def _computed(services: Services, job: JobRecord, place: Place) -> Json:
    path = f"{services.root}/v1/jobs/{job.id}"
    guarded = (job.spec.get("on_divergence") or {}).get("action", "stop") != "stop"
    return {
        "spec": job.current_spec,
        "priority": job.current_priority,
        "progress": progress_json(job, place),
        "warnings": [FieldError(**each) for each in job.warnings] or LEFT_OUT,
        "links": Links.build(
            self=path,
            history=f"{path}/history",
            events=f"{path}/events",
            model=f"{path}/model",
            diagnosis=f"{path}/diagnosis",
        ),
        "interventions": job.interventions if guarded else LEFT_OUT,
    }


def progress_json(job: JobRecord, place: Place) -> Json:
    """Make the JSON of a job's progress. `fraction` and `eta_s` are null where no number of steps
    bounds the run; of a job that ended `fraction` is 1."""
    step = int(job.progress.get("step") or 0)
    max_steps = job.progress.get("max_steps") or (job.spec.get("budget") or {}).get("max_steps")
    steps_per_s = job.progress.get("steps_per_s") if job.status in HELD else None
    fraction = eta_s = None
    if job.terminal:
        fraction = 1.0
    elif max_steps:
        fraction = min(1.0, step / max_steps)
        if job.status == "running" and steps_per_s:
            eta_s = max(0, max_steps - step) / steps_per_s
    return Progress.build(
        step=step,
        max_steps=max_steps,
        fraction=fraction,
        steps_per_s=steps_per_s,
        eta_s=eta_s,
        queue_position=place.position,
        waiting_for=place.waiting_for,
    )


def checkpoint_json(checkpoint: Json) -> Json:
    """Make the JSON of one saved set of weights; where it lies is the service's own affair."""
    return Checkpoint.build(checkpoint, metrics=checkpoint.get("metrics") or {})


def validated(spec: JobSpec, uploads: Uploads) -> Json:
    """Return what a job of this resolved spec would be and cost. `uploads`: the data sets that it
    names."""
    model = layers_of(spec.problem).all_layers if isinstance(spec.problem, DataProblem) else None
    return Validated.build(
        spec=shown_spec(spec.model_dump(mode="json")),
        estimate=EstimateView.build(estimate(spec)),
        warnings=warnings_of_job(spec, None, uploads) or LEFT_OUT,
        layers=LEFT_OUT if model is None else list(map(_layer, model)),
    )


class _Layer(NamedTuple):
    """The source of a `LayerView`."""

    name: str
    kind: str
    output_shape: list[int]
    num_parameters: int
    parameters: dict[str, list[int]]


def _layer(placed: Placed) -> _Layer:
    parameters = {parameter.name: list(parameter.shape) for parameter in placed.parameters}
    count = sum(parameter.numel for parameter in placed.parameters)
    return _Layer(placed.name, placed.layer.kind, list(placed.output), count, parameters)
