"""Parts that all routes share: the services, the route class, and the reading of requests."""

import asyncio
import inspect
import re
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final, TypeVar, cast, get_origin

from fastapi import Path
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

import api.http.path_parameters  # noqa: F401  (the names of what may stand in a path)
from api.http.errors import UnsupportedMediaTypeError, query_names, unknown_parameter
from api.http.log import RequestCounts
from api.keys.gate import owner_seen
from api.services.comparisons import ComparisonCache
from api.services.dispatch import Dispatcher
from api.services.hub import EventHub, Known
from api.services.uploads import Uploads
from api.services.waiting import EndFeed
from core.artifacts.base import ArtifactStore
from core.errors import FieldError, InvalidInputError, NotFoundError
from core.ids import (
    DATA_PREFIX,
    JOB_PREFIX,
    PREDICTION_PREFIX,
    STUDY_PREFIX,
    is_id,
    pattern_of,
)
from core.settings import Settings
from core.specs.validation.limits import Limits
from core.store.owned import OwnedStore
from core.store.protocols.api import LOG, ApiStore

Result = TypeVar("Result")

_CHARSET: Final = r"charset\s*=\s*\"?([^\s;\"]+)"
MOST_VIEWS: Final = 1_000
"""Owners for whom services are kept."""
LARGE_BODY: Final = 50_000
"""Bytes from which on a body is checked in a thread, so that other requests go on."""


@dataclass(frozen=True)
class Services:
    """The services that the composition root put together."""

    settings: Settings
    store: ApiStore
    artifacts: ArtifactStore
    dispatcher: Dispatcher
    feed: EndFeed
    hub: EventHub
    uploads: Uploads
    limits: Limits = field(default_factory=Limits)
    findings: ComparisonCache = field(default_factory=ComparisonCache)
    counts: RequestCounts = field(default_factory=RequestCounts)
    owner: str | None = None
    """The owner of what these services show, `store` included; None: they show all."""
    whole: "Services | None" = None
    """The services that show all, of which these are a view."""
    views: "OrderedDict[str, Services]" = field(default_factory=OrderedDict)

    def seen_by(self, owner: str) -> "Services":
        """Return the services of one owner: to them, what others made is not there."""
        view = self.views.get(owner)
        if view is None:
            view = replace(self, store=OwnedStore(self.store, owner), owner=owner, whole=self)
            self.views[owner] = view
            while len(self.views) > MOST_VIEWS:
                self.views.popitem(last=False)
        return view

    async def look(self, names: Sequence[str]) -> Mapping[str, tuple[str, Known]]:
        """Do as `EventHub.look`; what the caller does not see is not there."""
        found = await self.hub.look(names)
        if not isinstance(self.store, OwnedStore):
            return found
        seen = [name == LOG or await self.store.sees(name) for name in names]
        nothing: tuple[str, Known] = ("gone", None)
        return {
            name: found[name] if is_seen else nothing
            for name, is_seen in zip(names, seen, strict=True)
        }

    def release(self) -> None:
        """Answer all who wait, and end all streams: the process is ending."""
        self.feed.release()
        self.hub.close()

    @property
    def root(self) -> str:
        """The beginning of every path in a reply."""
        return self.settings.root_path


def services_of(request: Request) -> Services:
    """Return the services for a request: what its key does not let it see is not in their store."""
    services = cast(Services, request.app.state.services)
    owner = owner_seen(request.scope)
    return services if owner is None else services.seen_by(owner)


class Json(JSONResponse):
    """A reply whose bytes are ready: `Json(content=b"{…}")`."""

    def __init__(
        self,
        content: bytes = b"null",
        status_code: int = 200,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(content, status_code, {"Cache-Control": "no-cache", **(headers or {})})

    def render(self, content: Any) -> bytes:
        assert isinstance(content, bytes)
        return content


class Route(APIRoute):
    """A route that refuses unknown and repeated query parameters, and answers HEAD as GET. What
    does not end as its path does is passed on at a glance.

    A function of the request alone is called directly: without FastAPI's solving of parameters, and
    without the exit stacks and the second catching of exceptions that these need. That was a tenth
    of a job's submission.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self._end = path.rpartition("}")[2]
        if _takes_request_alone(self) and options.get("max_body_size") is None:
            self.app = _answering(self.get_route_handler())

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = self.endpoint if _takes_request_alone(self) else super().get_route_handler()
        known = query_names(self)
        lists = _list_names(self)

        async def strict(request: Request) -> Response:
            if request.scope["query_string"]:
                _refuse_strangers(request, known, lists)
            return await handler(request)

        return strict

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        # There are many routes, and they are tried one after the other.
        if not scope["path"].endswith(self._end):
            return Match.NONE, {}
        match, child_scope = super().matches(scope)
        if match is Match.PARTIAL and self._is_head(scope):
            match = Match.FULL
        return match, child_scope

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in (self.methods or ()) or self._is_head(scope):
            await self.app(scope, receive, send)
        else:
            await super().handle(scope, receive, send)  # a 405

    def _is_head(self, scope: Scope) -> bool:
        return scope.get("method") == "HEAD" and "GET" in (self.methods or ())


def _answering(handler: Callable[[Request], Coroutine[Any, Any, Response]]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await handler(Request(scope, receive, send))
        await response(scope, receive, send)

    return app


def _takes_request_alone(route: APIRoute) -> bool:
    signature = inspect.signature(route.endpoint)
    kinds = [parameter.annotation for parameter in signature.parameters.values()]
    return kinds == [Request] and signature.return_annotation is Response


def _list_names(route: APIRoute) -> frozenset[str]:
    names = set()
    for param in route.dependant.query_params:
        model = param.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            for name, info in model.model_fields.items():
                if get_origin(info.annotation) is list:
                    names.add(name)
    return frozenset(names)


def _refuse_strangers(request: Request, known: list[str], lists: frozenset[str]) -> None:
    """Refuse query parameters that the call does not take. A query model names its strangers
    itself, together with its other mistakes."""
    mistakes = []
    seen = set()
    for name, _ in request.query_params.multi_items():
        if name not in known:
            if not known:
                mistakes.append(unknown_parameter(name, known))
        elif name in seen and name not in lists:
            message = f"{name}: is given more than once; give it once."
            mistakes.append(FieldError(name, "repeated", message))
        seen.add(name)
    if mistakes:
        raise InvalidInputError(mistakes[:100])


def _id_path(noun: str) -> Any:
    return Path(
        description=f"`{noun}_` and 26 characters.",
        json_schema_extra={"pattern": pattern_of(noun)},
    )


JobIdPath = Annotated[str, _id_path(JOB_PREFIX)]
StudyIdPath = Annotated[str, _id_path(STUDY_PREFIX)]
DataIdPath = Annotated[str, _id_path(DATA_PREFIX)]
PredictionIdPath = Annotated[str, _id_path(PREDICTION_PREFIX)]
RunIndexPath = Annotated[int, Path(ge=0, description="`index` of the run.")]


def known_id(id_: str, noun: str) -> str:
    """Return `id_` if it may be one with the prefix `noun`. Raises `NotFoundError`: what has not
    the form names nothing."""
    if not is_id(id_, noun):
        raise NotFoundError(f"No {noun} has this id: a {noun}'s id is {noun}_ and 26 characters.")
    return id_


def known_form(job_id: str) -> str:
    """Check the id of a job as `known_id` does."""
    return known_id(job_id, JOB_PREFIX)


def known_study(study_id: str) -> str:
    """Check the id of a study as `known_id` does."""
    return known_id(study_id, STUDY_PREFIX)


async def json_body(request: Request, *also: str) -> bytes:
    """Return the body of a call that takes JSON, whole. Raises `UnsupportedMediaTypeError`.

    Args:
        also: other media types of JSON that it takes.
    """
    declared = request.headers.get("content-type", "")
    media_type, _, parameters = declared.partition(";")
    if media_type.strip().lower() not in {"application/json", *also}:
        raise UnsupportedMediaTypeError(
            "This call takes JSON: send the header Content-Type: application/json."
        )
    charset = parameters and re.search(_CHARSET, parameters, re.IGNORECASE)
    if charset and charset[1].lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise UnsupportedMediaTypeError("JSON is UTF-8: leave the charset out.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaTypeError("Bodies are taken as they are: send no Content-Encoding.")
    return await _whole_body(request)


async def _whole_body(request: Request) -> bytes:
    """Do what `request.body()` does, without its generator and its copy for a second caller."""
    pieces, more = [], True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(pieces)


async def no_body(request: Request) -> None:
    """Refuse a body where the call has no field to put into one (`{}` is none)."""
    async for chunk in request.stream():
        if chunk.strip() not in {b"", b"{}"}:
            message = "This call takes no body."
            raise InvalidInputError([FieldError("", "unexpected_body", message)])


async def in_thread_if_large(size: int, function: Callable[..., Result], *arguments: Any) -> Result:
    """Call `function` here, or in a thread where `size` says that it takes long."""
    if size > LARGE_BODY:
        return await asyncio.to_thread(function, *arguments)
    return function(*arguments)
