"""The OpenAPI document: FastAPI's, completed with what the routes do by hand."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.http.schemas import Problem
from core.specs.parsing.change import RecordChange
from core.specs.parsing.clone import JobClone, StudyClone
from core.specs.parsing.continuation import Continuation
from core.specs.parsing.dataset import DatasetPatch
from core.specs.parsing.diagnosis import DiagnosisRequest
from core.specs.parsing.points import FunctionPoints
from core.specs.parsing.prediction import PredictionRequest
from core.specs.parsing.webhook import WebhookTrial
from core.specs.study import EnqueuedConfigurations, StudyExtension

_REF = "#/components/schemas/{model}"

PROBLEMS = {
    400: "This is no HTTP that the service understands, or a header came twice.",
    401: "A key is needed (`Authorization: Bearer thw_…`), or this one is not taken.",
    403: "The key lacks a scope; or, without keys, a foreign Host or Origin.",
    404: "Nothing has this id.",
    408: "The request did not come in time.",
    409: "The call does not fit the job's state.",
    412: "It has changed since the ETag in `If-Match`.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    416: "Nothing is at the bytes that `Range` asks for.",
    429: "The key has come to one of its limits; come back after `Retry-After` seconds.",
    422: "Invalid: `errors` lists every mistake.",
    431: "The request line and the headers are too large.",
    500: "A fault in the service.",
    503: "Redis or the artifact store is away, or there are too many connections; come back after"
    " `Retry-After` seconds.",
}
OF_EVERY_CALL = (400, 401, 403, 408, 422, 429, 431, 500, 503)
"""Statuses of refusals that any call may get."""
_RETRY_AFTER = {
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 0}}
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the `responses=` of a route: these refusals, and those that every call may give."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*statuses, *OF_EVERY_CALL}):
        found[status] = {
            "description": PROBLEMS[status],
            "content": {
                "application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}}
            },
        }
        if status in {429, 503}:
            found[status]["headers"] = _RETRY_AFTER
    return found


def header(description: str, **schema: Any) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string", **schema}}


def request_body(*models: str, also: tuple[str, ...] = ()) -> dict[str, Any]:
    """Describe the `openapi_extra=` of a route that reads its body itself: one of these models.
    `also`: media types beside application/json."""
    refs = [{"$ref": _REF.format(model=model)} for model in models]
    schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
    content = {media_type: {"schema": schema} for media_type in ("application/json", *also)}
    return {"requestBody": {"required": True, "content": content}}


def document(app: FastAPI, root: str = "") -> dict[str, Any]:
    """Build the whole document. `root`: the path under which a proxy shows the service."""
    from api.http.document.components import plain  # imported late: only this call needs it

    made = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
        servers=[{"url": root}] if root else None,
        separate_input_output_schemas=False,
    )
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    own = (
        Problem, Continuation, DiagnosisRequest, FunctionPoints, PredictionRequest, RecordChange,
        WebhookTrial,
    )  # fmt: skip
    posted = (JobClone, StudyClone, StudyExtension, EnqueuedConfigurations, DatasetPatch)
    for model in (*own, *posted, *app.state.models):
        schema = model.model_json_schema(ref_template=_REF)
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
    for path, operations in made["paths"].items():
        if not (path.startswith("/v1") or path == "/metrics"):  # these need no key
            for operation in operations.values():
                operation["responses"].pop("401", None)
                operation["responses"].pop("429", None)
    made["components"]["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key of `thalweg keys create`.",
        }
    }
    made["security"] = [{"key": []}, {}]
    return plain(made)
