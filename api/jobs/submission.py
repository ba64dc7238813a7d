"""The way from a resolved spec to a queued job, shared by all calls that make one."""

from dataclasses import asdict
from typing import Any, Final

from starlette.requests import Request

from api.jobs.origin import Origin, copied
from api.jobs.schemas import Job
from api.jobs.views import job_json, listed_job_json
from api.services import queueing
from api.services.dependencies import Json, Services, services_of
from api.services.idempotency import KEY_PARAMETER, idempotency_of
from api.services.places import Place
from api.services.queueing import Noun, accepted, marks_of
from core.ids import JOB_PREFIX, new_id, rfc3339, utc_now
from core.jobs import JobRecord
from core.specs.data import Upload
from core.specs.job import DataProblem, JobSpec
from core.specs.parsing.job import Sized
from core.specs.sizes.uploads import NO_UPLOADS, Uploads
from core.specs.validation.warnings.job import warnings_of_job
from core.specs.webhooks.url import shown_spec
from core.store.history.layout import layouts_of
from core.store.protocols.types import NewJob

ACCEPTED: Final = accepted("job", Job)
"""The `responses=` of such a call."""


def new_job(
    request: Request,
    sized: Sized,
    parent_id: str | None = None,
    uploads: Uploads = NO_UPLOADS,
) -> NewJob:
    """Make the job of a resolved spec, with what it keeps of the request that it comes from.
    `parent_id`: the job of which it is a clone, or tries a remedy; `uploads`: the data sets that it
    names, where they were looked up."""
    spec = sized.spec
    origin_id = None if spec.start_from is None else spec.start_from.job
    return NewJob(
        id=new_id(JOB_PREFIX),
        spec=shown_spec(spec.model_dump(mode="json")),
        labels=dict(spec.labels),
        created_at=rfc3339(utc_now()),
        priority=spec.priority,
        max_attempts=spec.max_attempts,
        device=spec.device,
        layouts=layouts_of(spec, sized.size),
        parent_id=parent_id or origin_id,
        name=sized.name,
        note=sized.note,
        datasets=_datasets(spec),
        memory_bytes=sized.memory_bytes,
        webhook_url=None if spec.webhook is None else spec.webhook.url,
        warnings=tuple(map(asdict, warnings_of_job(spec, sized.size, uploads))),
        **marks_of(request),
    )


def _datasets(spec: JobSpec) -> tuple[str, ...]:
    """List the data sets that a job of this spec uses."""
    problem = spec.problem
    if not isinstance(problem, DataProblem):
        return ()
    rows = problem.data.id if isinstance(problem.data, Upload) else None
    named = (rows, problem.model.initial_weights)
    return tuple(dict.fromkeys(each for each in named if each is not None))


async def accept(request: Request, job: NewJob, origin: Origin | None = None) -> Json:
    """Queue the job, and reply. `origin`: where the job starts, when its spec has a
    `start_from`."""
    services = services_of(request)
    # Two requests are the same when the resolved spec, the parent, and any name, note and URL of a
    # webhook are.
    own: tuple[str | None, ...] = () if job.name is job.note is None else (job.name, job.note)
    if job.webhook_url is not None:
        await queueing.check_signed(services)
        own = (*own, job.webhook_url)
    idempotency = idempotency_of(request, services, job.spec, job.parent_id, *own)
    if origin is None:
        created = await services.store.create(job, idempotency)
    else:
        created = await copied(services, origin, job, idempotency)
    return await queueing.accept(services, JOBS, created)


async def _show(services: Services, job: JobRecord, place: Place) -> dict[str, Any]:
    return job_json(services, job, place)


JOBS: Final = Noun[JobRecord](
    JOB_PREFIX,
    "/v1/jobs",
    lambda services: services.store,
    _show,
    listed_job_json,
    queue=lambda services: services.store,
)
"""Jobs, for the calls that they share with studies."""


__all__ = ["ACCEPTED", "JOBS", "KEY_PARAMETER", "accept", "new_job"]
