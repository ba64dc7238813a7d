"""From a resolved spec to a queued job: what every call shares that makes one."""

import hashlib
import re
from typing import Any, Final

import orjson
from starlette.requests import Request

from api.continuing import Origin, copied
from api.dependencies import Json, Services, services_of
from api.openapi import header
from api.schemas import Job
from api.views import job_bytes
from core.errors import FieldError, InvalidInputError
from core.names import JOB_PREFIX, new_id, rfc3339, utc_now
from core.spec.job import JobSpec
from core.store.base import Idempotency, NewJob
from core.store.layouts import layouts_of

_KEY: Final = re.compile(r"[\x20-\x7e]{1,255}")
KEY_PARAMETER: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Sent again with the same spec, it returns the same job.",
    "schema": {"type": "string", "pattern": f"^{_KEY.pattern}$"},
}
ACCEPTED: Final[dict[int | str, dict[str, Any]]] = {
    202: {
        "model": Job,
        "headers": {
            "Location": header("The job's path."),
            "Retry-After": header("Seconds.", type="integer"),
            "Idempotent-Replayed": header("`true` when the key was known.", const="true"),
        },
    }
}
"""`responses=` of such a call."""


def new_job(spec: JobSpec, parent_id: str | None = None) -> NewJob:
    """The job of a resolved spec. `parent_id`: of which job it tries a remedy."""
    origin_id = None if spec.start_from is None else spec.start_from.job
    return NewJob(
        id=new_id(JOB_PREFIX),
        spec=spec.model_dump(mode="json"),
        labels=dict(spec.labels),
        created_at=rfc3339(utc_now()),
        priority=spec.priority,
        max_attempts=spec.max_attempts,
        device=spec.device,
        layouts=layouts_of(spec),
        parent_id=parent_id or origin_id,
    )


async def accept(request: Request, job: NewJob, origin: Origin | None = None) -> Json:
    """Queue it, and reply. `origin`: where the job starts, when its spec has a `start_from`."""
    services = services_of(request)
    idempotency = _idempotency(request, job, services)
    if origin is None:
        created = await services.store.create(job, idempotency)
    else:
        created = await copied(services, origin, job, idempotency)
    headers = {"Location": f"/v1/jobs/{created.job.id}", "Retry-After": "1"}
    if created.replayed:
        headers["Idempotent-Replayed"] = "true"
    else:
        services.dispatcher.announce()
    return Json(job_bytes(created.job, created.queue_position), 202, headers)


def _idempotency(request: Request, job: NewJob, services: Services) -> Idempotency | None:
    """Two bodies are the same request when they resolve to the same spec, of the same parent.

    The header is read here: declared, it would take FastAPI a tenth of the whole call.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        message = "Idempotency-Key: must be 1 to 255 printable ASCII characters."
        raise InvalidInputError([FieldError("Idempotency-Key", "malformed", message)])
    canonical = orjson.dumps([job.spec, job.parent_id], option=orjson.OPT_SORT_KEYS)
    digest = hashlib.blake2b(canonical, digest_size=16).hexdigest()
    return Idempotency(key, digest, services.settings.idempotency_ttl_s)


__all__ = ["ACCEPTED", "KEY_PARAMETER", "accept", "new_job"]
