"""Parts of which replies of every kind are made; and errors."""

from collections.abc import Callable, Iterable
from functools import cache
from operator import attrgetter, itemgetter
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from api.http.document.glossary import describe
from api.http.encoding import strict
from core.ids import JOB_PREFIX, STUDY_PREFIX, pattern_of
from core.jobs import Event
from core.specs.base import Json, described
from core.specs.sizes.uploads import as_posted

Number = float | Literal["NaN", "Infinity", "-Infinity"]
"""A number; one that is not finite is a string."""
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
JobId = Annotated[str, Field(pattern=pattern_of(JOB_PREFIX))]
StudyId = Annotated[str, Field(pattern=pattern_of(STUDY_PREFIX))]
Counter = Annotated[int, Field(ge=0)]
WaitingFor = Literal["no_worker", "device", "queue", "limit"]


LEFT_OUT: Final = object()
"""The value of a field that a reply does not have this time."""


class View(BaseModel):
    """A reply, described once: the document shows the class, and `build` makes its JSON."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Json:
        """Make the JSON Schema; fields without a docstring are described by the glossary."""
        return described(cls, core_schema, handler, describe)

    @classmethod
    def build(cls, source: object = None, /, **computed: Any) -> Json:
        """Make the reply of this class, its fields in their order: those in `computed`, and the
        others as `source` (a record, or a mapping) has them under the same names.

        Numbers that are not finite become words. Nothing is validated: a reply is on the hot path,
        and `tests/api/http/test_openapi.py` holds replies and document together.
        """
        plan = _plan(cls, tuple(computed), isinstance(source, dict))
        body = computed
        if not plan.all_computed:
            body = plan.empty.copy()
            body.update(zip(plan.taken, plan.take(source)))  # noqa: B905 (as many by its making)
            body.update(computed)
        for name, make in plan.makers:
            value = body[name]
            if value is not None and value is not LEFT_OUT:
                body[name] = make(value)
        for name in plan.optional:
            if body[name] is LEFT_OUT:
                del body[name]
        return body


class _Plan(NamedTuple):
    """The way in which replies of a view are made, where the same fields are computed.

    Attributes:
        all_computed: nothing is taken, and what is computed comes in the order of the fields.
        empty: all fields, in order.
        taken: names of those that `take` takes from the source.
        optional: those that are computed and may be left out.
        makers: what makes JSON of a field, where it is not JSON already.
    """

    all_computed: bool
    empty: Json
    taken: tuple[str, ...]
    take: Callable[[Any], Iterable[Any]]
    optional: tuple[str, ...]
    makers: tuple[tuple[str, Callable[[Any], Any]], ...]


@cache
def _plan(view: type[View], computed: tuple[str, ...], mapping: bool) -> _Plan:
    fields = view.model_fields
    if strangers := set(computed) - fields.keys():
        raise TypeError(f"{view.__name__} has no {sorted(strangers)}")
    makers = ((name, _maker(field.annotation)) for name, field in fields.items())
    taken = tuple(name for name in fields if name not in computed)
    return _Plan(
        computed == tuple(fields),
        dict.fromkeys(fields),
        taken,
        _taker(taken, mapping),
        tuple(n for n in computed if not fields[n].is_required()),
        tuple((name, make) for name, make in makers if make is not None),
    )


def _taker(names: tuple[str, ...], mapping: bool) -> Callable[[Any], Iterable[Any]]:
    if not names:
        return lambda source: ()
    take: Callable[[Any], Any] = itemgetter(*names) if mapping else attrgetter(*names)
    return take if len(names) > 1 else lambda source: (take(source),)


def _maker(annotation: Any) -> Callable[[Any], Any] | None:
    parts = get_args(annotation)
    origin = get_origin(annotation)
    if origin is Annotated:
        return _maker(parts[0])
    if origin is list and (view := _closed(parts[0])) is not None:
        return _list_maker(view)
    if origin is Literal or annotation in {str, int, bool, NoneType}:
        return None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not issubclass(annotation, View):
            return as_posted  # a resolved spec, which holds no number that is not finite
        view = _closed(annotation)
        return strict if view is None else _made(view)
    if origin in {Union, UnionType}:
        makers = [maker for part in parts if (maker := _maker(part)) is not None]
        return makers[0] if len(makers) == 1 else strict if makers else None
    if origin in {list, dict} and all(_maker(part) is None for part in parts):
        return None
    return strict


def _list_maker(view: type[View]) -> Callable[[Any], Any]:
    plan = _plan(view, (), mapping=False)
    names, take = plan.taken, plan.take
    if plan.makers:
        return lambda several: [view.build(each) for each in several]
    return lambda several: [dict(zip(names, take(each))) for each in several]  # noqa: B905


def _closed(annotation: Any) -> type[View] | None:
    """Return the view if the annotation is one without fields that it does not name."""
    if not (isinstance(annotation, type) and issubclass(annotation, View)):
        return None
    return annotation if annotation.model_config.get("extra") == "forbid" else None


def _made(view: type[View]) -> Callable[[Any], Any]:
    """Make JSON of a value of the view. A dictionary was made by `build` already, or is one as it
    was stored."""
    return lambda value: value if isinstance(value, dict) else view.build(value)


class TimelineEntryView(View):
    """An event of a timeline, and its time."""

    at: Time
    event: Event
    """The kind of the event. Where a timeline would be too long, `omitted` stands for what went out
    of its middle."""
    detail: str | None
    """The worker, the queue, the name of the phase, the status at the end, and so on."""


class UsageView(View):
    """Resources that a job or study has used; null: not measured."""

    device_s: float | None
    """Seconds for which attempts have held a device (a CPU, too), of those that have ended."""
    cpu_s: float | None
    """Processor time of the processes that trained, of attempts that came to an answer."""
    peak_memory_bytes: int | None
    """The most that the training process held, on a GPU with its memory there; of several attempts
    or tasks the largest. Null where it was not measured."""
    stored_bytes: int | None
    """Weights and checkpoints that are kept, and rows: of a job as of its last checkpoint, or its
    end; of a study as of its tasks that have ended."""


class Mistake(View):
    param: str
    """Dotted path of the field, or the parameter's name; empty for the body as a whole."""
    code: str
    message: str


class RefusalView(View):
    """The reason why a file was refused, and the place of it where one is known."""

    code: str
    message: str
    row: int | None
    """The row as a spreadsheet counts: the first one, of a CSV file its header, is row 1."""
    column: str | None
    entry: str | None
    """The entry of a zip."""


class Problem(View):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    """The stable code of the problem, in snake_case."""
    request_id: str | None
    """The id of the request, as in the reply's `X-Request-Id` and in the log."""
    errors: list[Mistake] = []
    """All mistakes of the request, with a 422."""
    refusal: RefusalView | None = None
    """The place of the mistake in an uploaded file that was refused, with a 422."""
    checks: dict[str, str] = {}
    """Each part and `ok` or what is wrong, with 503 from /readyz."""


class Page(View):
    has_more: bool
    next_cursor: str | None
