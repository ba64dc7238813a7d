"""Base of all spec models: frozen, strict, closed to unknown fields and non-finite numbers."""

import ast
import inspect
import json
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    TypeAdapter,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import CoreSchema

from core.specs.glossary import describe

Json = dict[str, Any]
"""An object of JSON whose members nobody lists: a body as it came, a spec as it is stored, a patch.
Where the members are known, a dataclass or a `TypedDict` says them."""

Made = TypeVar("Made", bound=BaseModel)


class Spec(BaseModel):
    """Base of all spec models.

    Strict: `"1"` is no number, and `1.5` and `true` no whole one (`1.0` is: `WHOLE`). Unknown
    fields, NaN and infinities are refused.
    Validate JSON with `model_validate_json`: lists then become the frozen tuples declared here.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        # Only the whole spec is validated as a rule; its parts' own validators can wait.
        defer_build=True,
    )

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values in the fields that `update` names, as pydantic does; a
        spec has neither fields beyond its own nor private ones, so that it takes half the time. A
        job's spec is copied part by part as it is resolved."""
        if deep:
            return super().model_copy(update=update, deep=True)
        return made(
            type(self),
            {**self.__dict__, **(update or {})},
            self.model_fields_set | (update or {}).keys(),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Json:
        """Make the JSON Schema; fields without a docstring are described by the glossary."""
        return described(cls, core_schema, handler, describe)


def made(kind: type[Made], fields: Json, given: set[str]) -> Made:
    """Make a spec of fields that were validated before, as pydantic copies a model. `given`: names
    of those that are no defaults."""
    spec = kind.__new__(kind)
    object.__setattr__(spec, "__dict__", fields)
    object.__setattr__(spec, "__pydantic_fields_set__", given)
    object.__setattr__(spec, "__pydantic_extra__", None)
    object.__setattr__(spec, "__pydantic_private__", None)
    return spec


def described(
    model: type[BaseModel],
    core_schema: CoreSchema,
    handler: GetJsonSchemaHandler,
    words_on: Callable[[str, str], str | None],
) -> Json:
    """Make a model's JSON Schema: fields are described by their docstrings, else by
    `words_on(model, field)`."""
    schema = handler(core_schema)
    docstrings = field_docstrings(model)
    for name, field in handler.resolve_ref_schema(schema).get("properties", {}).items():
        if words := docstrings.get(name) or words_on(model.__name__, name):
            field.setdefault("description", words)
    return schema


@cache
def field_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Read the docstrings behind the model's fields, its own and those of its bases, from the
    source. pydantic can do so when it makes a class: for all of them that takes each import 50 ms.
    """
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            assert isinstance(tree, ast.ClassDef)
            found |= dict(_behind_fields(tree.body))
    return found


def _behind_fields(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, after in pairwise(body):
        match field, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, inspect.cleandoc(text)
            case _:
                pass


def fields_shown(model: type[BaseModel]) -> list[str]:
    """List the fields that a caller may give, by the names that they have there: not those that the
    service writes for itself."""
    return [
        field.alias or name
        for name, field in model.model_fields.items()
        if not any(type(each).__name__ == SkipJsonSchema.__name__ for each in field.metadata)
    ]


def stored(annotation: Any, value: Any) -> Any:
    """Read a stored spec, or a part of one, from its JSON value: the one way to do so.

    Strict models take JSON's lists for tuples from JSON text only, never from Python's lists.

    Args:
        annotation: what the value is of: a model, or a union such as `Function`.
    """
    return _adapter(annotation).validate_json(json.dumps(value))


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
UnitInterval = Annotated[float, Field(ge=0, le=1)]
MAX_INT = 2**53
"""Whole numbers up to here are exact in JSON readers that use doubles."""


def is_whole(value: object) -> bool:
    """Tell whether a number of JSON is a whole one: `100` and `100.0` are the same number, which
    some languages write the second way. Beyond `MAX_INT` a float does not say which one it is."""
    if isinstance(value, float):
        return value.is_integer() and abs(value) <= MAX_INT
    return isinstance(value, int) and not isinstance(value, bool)


def _without_point(value: object) -> object:
    return int(value) if isinstance(value, float) and is_whole(value) else value


WHOLE = BeforeValidator(_without_point)
"""Stands in the annotation of every whole number, behind its bounds (so that schemas show them):
`100.0` is taken for 100."""

DATA_PATTERN = r"^data_[0-9a-hjkmnp-tv-z]{26}$"

PositiveInt = Annotated[int, Field(gt=0, le=MAX_INT), WHOLE]
NonNegativeInt = Annotated[int, Field(ge=0, le=MAX_INT), WHOLE]
Seed = Annotated[int, Field(ge=0, lt=2**63), WHOLE]
Betas = tuple[Fraction, Fraction]


def list_or_object(value: object) -> str:
    """Tag a choice between a flat list, a list of lists and an object, for `Discriminator`.

    Tags that are no `kind` start with `~`, so that `core.specs.parsing.messages` can tell them from
    fields.
    """
    if isinstance(value, (list, tuple)):
        return "~rows" if value and isinstance(value[0], (list, tuple)) else "~list"
    return "~object"
