"""The place where a job may start: another job's resume checkpoint, copied before the job is
queued."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Final, Literal

from api.http.log import note
from api.services.dependencies import Services
from core.artifacts.base import ArtifactStore
from core.errors import (
    ArtifactError,
    ConflictError,
    FieldError,
    InvalidInputError,
    NotFoundError,
    StoreUnavailableError,
)
from core.jobs import JobRecord
from core.specs.job import JobSpec
from core.specs.parsing.continuation import differences
from core.store.protocols.types import (
    Created,
    Idempotency,
    NewJob,
    QueueFullError,
    StorageFullError,
)

_PARAM: Final = "start_from"


class CheckpointGoneError(ConflictError):
    """The checkpoint is recorded, but no longer there, or not what was written."""

    def __init__(self, origin: "Origin") -> None:
        super().__init__("no_checkpoint", f"The checkpoint of {origin} is missing or damaged.")

    def as_refusal(self) -> InvalidInputError:
        """Return the refusal of a posted spec that names this checkpoint."""
        return _refused("step", "no_checkpoint", str(self))


@dataclass(frozen=True)
class Origin:
    """A resume checkpoint of a terminal job. `sha256` is None where it was not recorded."""

    job: JobRecord
    step: int
    path: str
    sha256: str | None

    def __str__(self) -> str:
        return f"{self.job.id} at step {self.step:,}"


def origins(job: JobRecord, wanted: int | Literal["final"] = "final") -> list[Origin]:
    """List the places where another job may start from this one, the latest first. `wanted`: the
    step of the only one to be listed.

    Raises:
        ConflictError: `not_terminal`, `diverged` or `no_checkpoint`.
    """
    if not job.terminal:
        raise ConflictError(
            "not_terminal",
            f"The job is {job.status}; it can be continued once it has ended: wait, or cancel it.",
        )
    if job.outcome == "diverged":
        raise ConflictError(
            "diverged", "The job diverged: more steps would not help; start another one."
        )
    found = {
        each["step"]: Origin(job, each["step"], each["path"], each["sha256"])
        for each in job.checkpoints
        if each["name"] == "resume"
    }
    start = job.spec.get("start_from")
    if start is not None:  # its own copy of where it began, which no attempt has reported
        path = f"checkpoints/step_{start['step']}.safetensors"
        found.setdefault(start["step"], Origin(job, start["step"], path, None))
    if not found:
        raise ConflictError(
            "no_checkpoint",
            f"The job is {job.status} and left no checkpoint to go on from; POST its spec again.",
        )
    if wanted == "final":
        return [found[step] for step in sorted(found, reverse=True)]
    if wanted not in found:
        raise ConflictError(
            "no_checkpoint",
            f"The job has no checkpoint of step {wanted} to go on from; those that there are:"
            f" {', '.join(map(str, sorted(found)))}.",
        )
    return [found[wanted]]


async def origin_of(services: Services, spec: JobSpec) -> Origin | None:
    """Find the place that a posted spec's `start_from` names; None when it has none.

    Raises:
        InvalidInputError: there is no such job or checkpoint, or the spec is not that job's.
    """
    start = spec.start_from
    if start is None:
        return None
    try:
        job = await services.store.get(start.job)
        found = {origin.step: origin for origin in origins(job)}
    except NotFoundError:
        raise _refused("job", "unknown_job", f"there is no job {start.job} (any more)") from None
    except ConflictError as error:
        raise _refused("job", error.conflict_code, str(error)) from None
    if start.step not in found:
        steps = ", ".join(str(step) for step in sorted(found))
        message = f"{start.job} has no checkpoint at step {start.step}; it has: {steps}"
        raise _refused("step", "no_checkpoint", message)
    if errors := differences(spec.model_dump(mode="json"), job.spec):
        raise InvalidInputError(errors)
    check_time(spec, found[start.step])
    return found[start.step]


def check_time(spec: JobSpec, origin: Origin) -> None:
    """Refuse a `max_seconds` that is over where the job starts. Raises `InvalidInputError`."""
    result = origin.job.result or {}
    spent, limit = result.get("train_s"), spec.budget.max_seconds
    if result.get("num_steps") != origin.step or spent is None or limit is None or spent < limit:
        return
    message = (
        f"budget.max_seconds counts from the origin, and {origin} had trained for {spent:.3g} s;"
        f" {limit:g} was given: give more"
    )
    raise InvalidInputError([FieldError("budget.max_seconds", "not_longer", message)])


async def copied(
    services: Services, origin: Origin, job: NewJob, idempotency: Idempotency | None
) -> Created:
    """Create a job that has its own copy of the checkpoint from the moment it can be claimed.

    Raises:
        CheckpointGoneError: nothing was created.
    """
    try:
        await asyncio.to_thread(_copy, services.artifacts, origin, job.id)
        created = await services.store.create(job, idempotency)
    except StoreUnavailableError as error:
        # When only the answer was lost, the job is there and needs its copy.
        if isinstance(error, QueueFullError | StorageFullError) or await _is_absent(
            services, job.id
        ):
            await _forget(services, job.id)
        raise
    except BaseException:
        await _forget(services, job.id)
        raise
    if created.replayed:
        await _forget(services, job.id)
    return created


def _copy(artifacts: ArtifactStore, origin: Origin, job_id: str) -> None:
    """Copy a checkpoint to a job; raise `CheckpointGoneError` unless it is there and its bytes are
    those that were written."""
    try:
        found = artifacts.job(origin.job.id).open(origin.path)
    except NotFoundError as error:
        raise CheckpointGoneError(origin) from error
    try:
        stored = artifacts.job(job_id).write(origin.path, found.chunks())
    finally:
        found.close()
    if origin.sha256 not in {None, stored.sha256}:
        raise CheckpointGoneError(origin)


async def _is_absent(services: Services, job_id: str) -> bool:
    try:
        await services.store.status(job_id)
    except NotFoundError:
        return True
    except StoreUnavailableError:
        pass
    return False


async def _forget(services: Services, job_id: str) -> None:
    """Remove the copy of a job that was not created after all."""
    try:
        await asyncio.to_thread(services.artifacts.job(job_id).delete_all)
    except ArtifactError as error:
        note(logging.WARNING, "A checkpoint's copy is left over", job=job_id, error=str(error))


def _refused(name: str, code: str, message: str) -> InvalidInputError:
    param = f"{_PARAM}.{name}"
    return InvalidInputError([FieldError(param, code, f"{param}: {message}")])
