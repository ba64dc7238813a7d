"""Errors of the client. All are `ThalwegError`, and none shows a key."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_MEANT: Final = re.compile(r"did you mean ([\w.-]+)", re.IGNORECASE)
_NAMES: Final = re.compile(r"(?:its fields|one of): ([\w', .-]+)")
_MISSING: Final = object()


class ThalwegError(Exception):
    """Anything that the client raises by itself."""


class UnreachableError(ThalwegError):
    """The service did not answer, however often it was asked."""


class UnsendableError(ThalwegError, ValueError):
    """The request has values that JSON has not, or names no file that can be uploaded. It was not
    sent, or not to its end."""


class WaitTimeoutError(ThalwegError, TimeoutError):
    """Something has not ended within the time that the caller would wait."""


@dataclass(frozen=True)
class Mistake:
    """One mistake of a request.

    Attributes:
        param: the field, by its path from the root of the request (`optimizer.lr`).
        code: the kind of mistake (`unknown_field`).
        message: the field, the value given and the way out, in words.
        value: what was sent there; None where nothing was.
        suggestion: the nearest right name; None where none is near.
    """

    param: str
    code: str
    message: str
    value: Any = None
    suggestion: str | None = None

    def __str__(self) -> str:
        said = self.message
        is_secret = self.param.rpartition(".")[2] in {"url", "webhook"}
        if self.value is not None and str(self.value) not in said and not is_secret:
            said = f"{said} ({self.param} = {repr(self.value)[:60]})"
        if self.suggestion is not None and _MEANT.search(said) is None:
            said = f"{said}. Did you mean {self.suggestion}?"
        return said


class ServiceError(ThalwegError):
    """The service refused a request (RFC 9457).

    Attributes:
        status: the HTTP status.
        code: the problem's code, which is stable (`not_found`, `invalid_request`).
        detail: what is wrong, in words.
        errors: each mistake of an invalid request.
        request_id: the name of the request in the service's logs, where the reply has one.
        retry_after_s: seconds after which another try makes sense, where the reply says so.
    """

    def __init__(
        self,
        status: int,
        problem: Mapping[str, Any],
        *,
        sent: Any = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.status = status
        self.code = str(problem.get("code", "unknown"))
        self.title = str(problem.get("title", ""))
        self.detail = str(problem.get("detail", ""))
        self.errors = tuple(_mistake(each, sent) for each in problem.get("errors") or ())
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        super().__init__(self._said())

    def _said(self) -> str:
        if not self.errors:
            return f"{self.code}: {self.detail or self.title or self.status}"
        lines = [f"{self.code}:", *(f"  {each}" for each in self.errors)]
        return "\n".join(lines)


class InvalidRequestError(ServiceError):
    """The request has mistakes (422); `errors` lists all of them."""


class RefusedFileError(InvalidRequestError):
    """An uploaded file breaks a rule: nothing of it is kept.

    Attributes:
        code: the kind of mistake (`mixed_column`), in place of the problem's code.
        row: where it stands, as a spreadsheet counts: a CSV file's header is row 1; None where no
            row is to blame, as for `column` and `entry`.
        column: the column, array or tensor.
        entry: the entry of a zip.
    """

    def __init__(
        self, refusal: Mapping[str, Any], *, status: int = 422, request_id: str | None = None
    ) -> None:
        self.row: int | None = refusal.get("row")
        self.column: str | None = refusal.get("column")
        self.entry: str | None = refusal.get("entry")
        said = {"code": refusal.get("code"), "detail": refusal.get("message")}
        super().__init__(status, said, request_id=request_id)


class NotFoundError(ServiceError):
    """The id, or the path, is nobody's (404)."""


class ConflictError(ServiceError):
    """The call does not fit the state that the thing is in (409, 412)."""


class NotAllowedError(ServiceError):
    """The key is missing, unknown, or does not allow this call (401, 403)."""

    def _said(self) -> str:
        said = super()._said()
        if self.status == 401:
            said += " Give the client one: Client(key=…), --key or THALWEG_KEY."
        return said


class BusyError(ServiceError):
    """The service takes no more at present (429), or a part of it is away (503)."""


_BY_STATUS: Final[Mapping[int, type[ServiceError]]] = {
    401: NotAllowedError,
    403: NotAllowedError,
    404: NotFoundError,
    409: ConflictError,
    412: ConflictError,
    422: InvalidRequestError,
    429: BusyError,
    503: BusyError,
}


def error_of(
    status: int,
    problem: Any,
    *,
    sent: Any = None,
    request_id: str | None = None,
    retry_after_s: float | None = None,
) -> ServiceError:
    """Return the error of a reply. `problem`: its body; `sent`: what the request was."""
    if not isinstance(problem, Mapping):
        problem = {"detail": str(problem)[:500] if problem else f"HTTP status {status}"}
    if isinstance(refusal := problem.get("refusal"), Mapping):
        return RefusedFileError(refusal, status=status, request_id=request_id)
    kind = _BY_STATUS.get(status, ServiceError)
    return kind(status, problem, sent=sent, request_id=request_id, retry_after_s=retry_after_s)


def _mistake(each: Mapping[str, Any], sent: Any) -> Mistake:
    param, message = str(each.get("param", "")), str(each.get("message", ""))
    value = _value_at(sent, param)
    said = _MEANT.search(message)
    near = said[1] if said else nearest(_typed(param, value, each), _right_names(message))
    return Mistake(param, str(each.get("code", "")), message, value, near)


def _typed(param: str, value: Any, each: Mapping[str, Any]) -> str:
    """Return the word that was typed: a field's name, or a name that a field was given."""
    if each.get("code") == "unknown_field":
        return re.split(r"[.\[\]]", param.rstrip("]"))[-1]
    return value if isinstance(value, str) else ""


def _value_at(sent: Any, param: str) -> Any:
    found = sent
    for name in filter(None, re.split(r"[.\[\]]", param)):
        if isinstance(found, Mapping):
            found = found.get(name, _MISSING)
        elif isinstance(found, Sequence) and not isinstance(found, str) and name.isdigit():
            found = found[int(name)] if int(name) < len(found) else _MISSING
        else:
            return None
    return None if found is _MISSING or isinstance(found, Mapping | list) else found


def _right_names(message: str) -> list[str]:
    found = _NAMES.search(message)
    return [] if found is None else re.findall(r"[\w.-]+", re.sub(r"\bor\b", "", found[1]))


def nearest(typed: str, names: Sequence[str]) -> str | None:
    """Return the name that was probably meant: one spelled alike, one that begins alike, or one
    made of the initials (`learning_rate`: `lr`); None where none is near."""
    if not typed:
        return None
    lower = {name.lower(): name for name in reversed(names)}
    alike = difflib.get_close_matches(typed.lower(), lower, n=1, cutoff=0.7)
    if alike:
        return lower[alike[0]]
    initials = "".join(word[:1] for word in re.split(r"[_\W]+", typed.lower()))
    if len(initials) > 1 and initials in lower:
        return lower[initials]
    for name in names:
        short, long = sorted((typed, name), key=len)
        if len(short) > 2 and long.startswith(short):
            return name
    loose = difflib.get_close_matches(typed.lower(), lower, n=1, cutoff=0.6)
    return lower[loose[0]] if loose else None
