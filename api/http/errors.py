"""Conversion of domain errors to a status and `application/problem+json` (RFC 9457), in one
table."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from api.http.encoding import PROBLEM_JSON, to_json
from api.http.log import PROBLEM, REQUEST_ID
from core.errors import (
    ArtifactError,
    ChangedError,
    ConflictError,
    FieldError,
    InvalidInputError,
    LimitReachedError,
    MissingScopeError,
    NoKeysError,
    NotAuthenticatedError,
    NotFoundError,
    StoreUnavailableError,
    ThalwegError,
)
from core.store.protocols.types import NoWorkerError, StorageFullError

MAX_ERRORS: Final = 100
NOTHING_HERE: Final = "Nothing is at this path; /openapi.json lists all calls."
_SHOWN: Final = 80


class BodyTooLargeError(ThalwegError):
    """The request's body is larger than `max_body_bytes`."""

    code = "body_too_large"


class UnsupportedMediaTypeError(ThalwegError):
    """The request's body is not declared as JSON."""

    code = "unsupported_media_type"


class ForeignHostError(ThalwegError):
    """The request names a host that this service does not answer to."""

    code = "foreign_host"


class ForeignOriginError(ThalwegError):
    """The request was made by a web page of another site."""

    code = "foreign_origin"


class HeadTooLargeError(ThalwegError):
    """The request line and the headers are larger than is taken."""

    code = "head_too_large"


class RequestTimeoutError(ThalwegError):
    """The request did not come in time."""

    code = "request_timeout"


class TooManyConnectionsError(ThalwegError):
    """The service holds as many connections as it can."""

    code = "too_many_connections"


class RangeNotSatisfiableError(ThalwegError):
    """The request asks for bytes behind the end of what has `size` bytes."""

    code = "range_not_satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(f"Range: nothing is there; the file has {size:,} bytes.")
        self.size = size


class RefusedUploadError(InvalidInputError):
    """An uploaded file that breaks a rule; `refusal` says where, as a data set's `error` does."""

    def __init__(self, mistake: FieldError, refusal: Mapping[str, Any]) -> None:
        super().__init__([mistake])
        self.refusal = dict(refusal)


class NotReadyError(ThalwegError):
    """A part of the service that it cannot do without is away; `checks` says which."""

    code = "not_ready"

    def __init__(self, checks: Mapping[str, str]) -> None:
        failing = [f"{name}: {word}" for name, word in checks.items() if word != "ok"]
        super().__init__("; ".join(failing))
        self.checks = dict(checks)


class MalformedRequestError(ThalwegError):
    """The request is not HTTP that this service understands."""

    code: ClassVar[str] = "malformed_request"


TABLE: Final[dict[type[ThalwegError], tuple[int, str]]] = {
    MalformedRequestError: (400, "Malformed request"),
    NotAuthenticatedError: (401, "Not authenticated"),
    MissingScopeError: (403, "Missing scope"),
    ForeignHostError: (403, "Foreign host"),
    ForeignOriginError: (403, "Foreign origin"),
    NotFoundError: (404, "Not found"),
    RequestTimeoutError: (408, "Request timeout"),
    ConflictError: (409, "Conflict"),
    ChangedError: (412, "Precondition failed"),
    BodyTooLargeError: (413, "Body too large"),
    UnsupportedMediaTypeError: (415, "Unsupported media type"),
    RangeNotSatisfiableError: (416, "Range not satisfiable"),
    InvalidInputError: (422, "Invalid request"),
    LimitReachedError: (429, "Limit reached"),
    HeadTooLargeError: (431, "Request head too large"),
    NoKeysError: (503, "No keys"),
    TooManyConnectionsError: (503, "Too many connections"),
    StorageFullError: (503, "Storage full"),
    NoWorkerError: (503, "No worker"),
    StoreUnavailableError: (503, "Store unavailable"),
    ArtifactError: (503, "Artifact store unavailable"),
    NotReadyError: (503, "Not ready"),
    ThalwegError: (500, "Internal error"),
}
"""Status and title by class of error; the nearest class in the error's ancestry counts."""

_INTERNAL: Final = "A fault in the service. Its log has the details under this request's id."


def problem(
    scope: Scope,
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> Response:
    """Make a problem document; `members` are added to it."""
    scope[PROBLEM] = code
    raw = scope.get("raw_path") or b""
    root = str(scope.get("root_path", ""))
    if not raw.startswith(root.encode()):
        raw = root.encode() + raw
    body = _sound(
        {
            "type": f"urn:thalweg:problem:{code}",
            "title": title,
            "status": status,
            "detail": detail,
            # The path is percent-encoded as it came, so that it is harmless. Long ones are cut.
            "instance": raw.split(b"?")[0].decode("latin-1")[:500],
            "code": code,
            "request_id": scope.get(REQUEST_ID),
            **members,
        }
    )
    return Response(
        to_json(body),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        media_type=PROBLEM_JSON,
    )


def _sound(value: Any) -> Any:
    """Return `value` with its texts in UTF-8: half a surrogate pair, quoted from a request, is in
    none."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {key: _sound(item) for key, item in value.items()}
    return [_sound(item) for item in value] if isinstance(value, list) else value


def of_error(scope: Scope, error: ThalwegError) -> Response:
    """Make the problem document of a domain error."""
    status, title = next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)
    code, detail = error.code, str(error)
    headers: dict[str, str] = {}
    members: dict[str, Any] = {}
    if isinstance(error, ConflictError):
        code = error.conflict_code
    elif isinstance(error, InvalidInputError):
        members["errors"] = [
            {"param": each.param, "code": each.code, "message": each.message}
            for each in error.errors
        ]
        detail = _summary(error.errors)
        if isinstance(error, RefusedUploadError):
            members["refusal"] = error.refusal
    elif isinstance(error, StoreUnavailableError | LimitReachedError):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    elif isinstance(error, RangeNotSatisfiableError):
        headers["Content-Range"] = f"bytes */{error.size}"
    elif isinstance(error, NotReadyError):
        members["checks"] = error.checks
    elif isinstance(error, NotAuthenticatedError):
        more = ', error="invalid_token"' if error.was_given else ""
        headers["WWW-Authenticate"] = f'Bearer realm="thalweg"{more}'
    elif isinstance(error, MissingScopeError):
        challenge = f'Bearer realm="thalweg", error="insufficient_scope", scope="{error.scope}"'
        headers["WWW-Authenticate"] = challenge
    if status == 500:
        return internal_error(scope)
    if status == 503:
        headers.setdefault("Retry-After", "1")
    return problem(scope, status, code, title, detail, headers=headers, **members)


def internal_error(scope: Scope) -> Response:
    """Answer every fault with the same words: its cause is for the log."""
    return problem(scope, 500, "internal_error", "Internal error", _INTERNAL)


def install(app: FastAPI) -> None:
    """Let every error of the app leave as a problem document."""
    app.add_exception_handler(ThalwegError, _on_domain_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_parameters)
    app.add_exception_handler(HTTPException, _on_http_exception)


async def _on_domain_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ThalwegError)
    return of_error(request.scope, error)


async def _on_invalid_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    mistakes = [_field_error(request, item) for item in error.errors()]
    return of_error(request.scope, InvalidInputError(mistakes[:MAX_ERRORS]))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Answer what the framework itself refuses: no such path, no such method, and rarer things."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        missing = NotFoundError(NOTHING_HERE)
        return of_error(request.scope, missing)
    if error.status_code == 405:
        allow = ", ".join(allowed_methods(request.app.routes, request.scope))
        detail = f"This path does not take {request.method[:16]}; it takes {allow}."
        return problem(
            request.scope,
            405,
            "method_not_allowed",
            "Method not allowed",
            detail,
            headers={"Allow": allow},
        )
    if error.status_code >= 500:
        return internal_error(request.scope)
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "_")
    return problem(request.scope, error.status_code, code, phrase, f"{phrase}.")


def allowed_methods(routes: Sequence[BaseRoute], scope: Scope) -> list[str]:
    """List all methods of a path, whichever routes hold them (Starlette names one route's only)."""
    methods: set[str] = set()
    for route in routes:
        if route.matches(scope)[0] is not Match.NONE:
            methods |= set(getattr(route, "methods", None) or ())
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def _summary(errors: Sequence[FieldError]) -> str:
    if len(errors) == 1:
        return errors[0].message
    return f"{len(errors)} mistakes; the first: {errors[0].message}" if errors else "Invalid."


def _field_error(request: Request, item: Mapping[str, Any]) -> FieldError:
    """Say in pydantic's words what is wrong with one parameter, with its name and the value
    given."""
    where, *path = item["loc"]
    param = str(path[0])[:_SHOWN] if path else str(where)
    code = str(item["type"])
    if code == "extra_forbidden":
        return unknown_parameter(param, query_names(request.scope["route"]))
    if code == "missing":
        return FieldError(param, code, f"{param}: is required.")
    if code == "too_long":  # of a list: each of its items is a parameter of this name
        most, number = item["ctx"]["max_length"], item["ctx"]["actual_length"]
        message = f"{param}: may be given at most {most} times; it was given {number} times."
        return FieldError(param, code, message)
    said = str(item["msg"])
    for beginning in ("Value error, ", "Input ", "String "):
        said = said.removeprefix(beginning)
    given = item["input"] if isinstance(item["input"], str) else ""
    return FieldError(param, code, f"{param}: {said}; given {given[:_SHOWN]!r}.")


def unknown_parameter(name: str, known: Sequence[str]) -> FieldError:
    """Make the refusal of a query parameter that a call does not take."""
    takes = f"it takes {', '.join(known)}" if known else "it takes none"
    message = f"{name[:_SHOWN]!r} is no query parameter of this call; {takes}."
    return FieldError(name[:_SHOWN], "unknown_parameter", message)


def query_names(route: Any) -> list[str]:
    """List the names of the query parameters that a route declares."""
    names: list[str] = []
    for field in route.dependant.query_params:
        fields = getattr(field.field_info.annotation, "model_fields", {field.alias: None})
        names += [getattr(each, "alias", None) or name for name, each in fields.items()]
    return names
