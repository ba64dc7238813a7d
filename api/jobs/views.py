"""Records → the JSON that the contract shows."""

from typing import Any

from api.http.encoding import strict, to_json
from core.jobs import Attempt, JobRecord

Json = dict[str, Any]


def job_json(job: JobRecord, queue_position: int | None = None, *, listed: bool = False) -> Json:
    """The contract's job.

    Args:
        queue_position: 0 is next; None unless it is queued.
        listed: among others, without its timeline.
    """
    path = f"/v1/jobs/{job.id}"
    guarded = (job.spec.get("on_divergence") or {}).get("action", "stop") != "stop"
    return {
        "id": job.id,
        "status": job.status,
        "outcome": job.outcome,
        "phase": job.phase,
        "spec": job.spec,  # resolved specs hold no number that is not finite
        "resolved": strict(job.resolved),
        "progress": progress_json(job, queue_position),
        "latest": strict(job.latest),
        "best": strict(job.best),
        "result": strict(job.result),
        "diagnosis": strict(job.diagnosis),
        "error": strict(job.error),
        "attempts": [attempt_json(attempt) for attempt in job.attempts],
        "labels": job.labels,
        "parent_id": job.parent_id,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "cancel_requested_at": job.cancel_requested_at,
        **({} if listed else {"timeline": job.timeline}),
        "links": {
            "self": path,
            "history": f"{path}/history",
            "model": f"{path}/model",
            "diagnosis": f"{path}/diagnosis",
        },
        **({"interventions": strict(list(job.interventions))} if guarded else {}),
    }


def job_bytes(job: JobRecord, queue_position: int | None = None) -> bytes:
    return to_json(job_json(job, queue_position))


def progress_json(job: JobRecord, queue_position: int | None) -> Json:
    """How far it is. `fraction` and `eta_s` are null where no number of steps bounds the run."""
    step = int(job.progress.get("step") or 0)
    max_steps = job.progress.get("max_steps") or (job.spec.get("budget") or {}).get("max_steps")
    steps_per_s = job.progress.get("steps_per_s")
    fraction = eta_s = None
    if max_steps:
        fraction = min(1.0, step / max_steps)
        if job.status == "running" and steps_per_s:
            eta_s = max(0, max_steps - step) / steps_per_s
    return {
        "step": step,
        "max_steps": max_steps,
        "fraction": fraction,
        "steps_per_s": strict(steps_per_s),
        "eta_s": strict(eta_s),
        "queue_position": queue_position if job.status == "queued" else None,
    }


def attempt_json(attempt: Attempt) -> Json:
    return {
        "number": attempt.number,
        "worker": attempt.worker,
        "device": attempt.device,
        "started_at": attempt.started_at,
        "ended_at": attempt.ended_at,
        "end": attempt.end,
    }


def checkpoint_json(checkpoint: Json) -> Json:
    """One saved set of weights; where it lies is the service's own affair."""
    return {
        "name": checkpoint["name"],
        "step": checkpoint["step"],
        "metrics": strict(checkpoint.get("metrics") or {}),
        "size_bytes": checkpoint["size_bytes"],
        "sha256": checkpoint["sha256"],
    }


def etag(job: JobRecord, queue_position: int | None = None) -> str:
    """`"7"`, or `"7.2"` for a queued job: its place changes while its record does not."""
    if job.status == "queued" and queue_position is not None:
        return f'"{job.version}.{queue_position}"'
    return f'"{job.version}"'
