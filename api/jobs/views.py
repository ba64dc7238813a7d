"""Conversion of records to the JSON that the contract shows."""

from api.http.schemas import LEFT_OUT
from api.jobs.schemas import Checkpoint, Job, Links, ListedJob, Progress, Verdict
from api.services.dependencies import Services
from api.services.places import Place
from core.jobs import JobRecord
from core.specs.base import Json


def job_json(services: Services, job: JobRecord, place: Place) -> Json:
    """Make the contract's JSON of a job. `place`: in the queue."""
    return Job.build(job, **_computed(services, job, place), timeline=job.timeline.entries)


def listed_job_json(services: Services, job: JobRecord, place: Place) -> Json:
    """Make the JSON of a job among others."""
    found = job.diagnosis
    verdict = found and Verdict.build(verdict=found["verdict"], confidence=found.get("confidence"))
    return ListedJob.build(job, **_computed(services, job, place), diagnosis=verdict)


def _computed(services: Services, job: JobRecord, place: Place) -> Json:
    path = f"{services.root}/v1/jobs/{job.id}"
    guarded = (job.spec.get("on_divergence") or {}).get("action", "stop") != "stop"
    return {
        "progress": progress_json(job, place),
        "links": Links.build(
            self=path,
            history=f"{path}/history",
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
    steps_per_s = job.progress.get("steps_per_s")
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
