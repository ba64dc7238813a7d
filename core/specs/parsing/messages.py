"""pydantic's errors in the product's words: dotted path, stable code, value given, way out."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import ErrorDetails

from core.errors import FieldError
from core.specs.base import DATA_PATTERN, Spec, fields_shown, is_whole
from core.specs.job import (
    DEVICE_PATTERN,
    JOB_PATTERN,
    LABEL_PATTERN,
    ONE_LINE_PATTERN,
    STUDY_PATTERN,
    JobSpec,
)
from core.specs.layers.kinds import NAME_PATTERN
from core.specs.parsing.way_out import (
    in_full,
    nearest_name,
    place_of_field,
    place_of_kind,
    written,
)
from core.specs.unions import NOUNS, PLAIN, SWEEP, SWEEPS, UNIONS, members, tag_of
from core.specs.validation.errors import MAX_ERRORS, counted, shown

_MISSING: Final = object()
_LONGEST_NAME: Final = 80
_LONGEST_HINT: Final = 300
_QUOTED: Final = re.compile(r"'([^']*)'")


@dataclass(frozen=True)
class _Place:
    """The place of an error in the body.

    Attributes:
        path: dotted, without the tags that pydantic puts into its locations.
        field: the last field's name (`""` for the spec itself), for `UNIONS` and `PLAIN`; `SWEEP`
            for a path of a study's sweep.
        owner: the model whose field it is, by (field, kind).
        value: what stands there in the body, or `_MISSING`.
    """

    path: str
    field: str
    owner: tuple[str, str]
    value: Any


def field_errors(
    details: list[ErrorDetails], body: Any, model: type[Spec] = JobSpec
) -> list[FieldError]:
    """Translate pydantic's errors; `body` is the JSON value that was validated as `model`."""
    locations = [detail["loc"] for detail in details]
    found: list[FieldError] = []
    for detail in details:
        place = _place(detail["loc"], body)
        if detail["type"] == "too_short" and any(
            loc != detail["loc"] and loc[: len(detail["loc"])] == detail["loc"] for loc in locations
        ):
            continue  # pydantic counts only the good items
        found.append(_pair_error(detail, place) or _translate(detail, place, model))
        if detail["loc"] and isinstance(detail["loc"][-1], int):
            found.extend(_later_mistakes(detail, place, body))
    return found


def _place(location: tuple[int | str, ...], body: Any) -> _Place:
    """Walk the body along pydantic's location.

    Inside a choice of kinds, the location holds the kind before the field; tags starting with `~`
    belong to choices told apart by their JSON type.
    """
    value, path = body, list[str]()
    field, owner = "", ("", "")
    for number, item in enumerate(location, start=1):
        if isinstance(item, str) and (item.startswith("~") or item == "[key]"):
            if field == SWEEP:
                owner = (SWEEP, item.removeprefix("~"))
            continue
        if isinstance(value, Mapping) and field in UNIONS and value.get(tag_of(field)) == item:
            owner = (field, str(item))
            field = ""
            continue
        if isinstance(value, str) and value == item and field in ("norm", "metrics"):
            owner = (field, value)
            continue
        path.append(str(item)[:_LONGEST_NAME])
        if isinstance(item, str):
            field = SWEEP if path[:-1] == ["sweep"] else item
            if field in PLAIN and number < len(location):
                owner = (field, "")
        value = _child(value, item)
    if len(path) == 1:
        owner = ("", "")
    return _Place(".".join(path), field, owner, value)


def _child(value: Any, item: int | str) -> Any:
    if isinstance(value, Mapping):
        return value.get(str(item), _MISSING)
    if isinstance(value, list) and isinstance(item, int) and item < len(value):
        return value[item]
    return _MISSING


def _translate(detail: ErrorDetails, place: _Place, model: type[Spec]) -> FieldError:
    kind, context = detail["type"], detail.get("ctx", {})
    name = place.path or "the body"
    given = _given(place, kind)
    if place.field == SWEEP and "[key]" not in detail["loc"]:
        return FieldError(place.path, "unknown_sweep", f"{name} {_SWEEP_FORMS}{given}")
    if _CODES.get(kind) == "object_type":
        return FieldError(
            place.path, "object_type", f"{name} must be an object{_in_full(place)}{given}"
        )
    if kind == "missing":
        example = f", such as {_example(place.field)}" if place.field in UNIONS else ""
        return FieldError(place.path, "missing", f"{name} is required{example}")
    if kind == "extra_forbidden":
        return FieldError(place.path, "unknown_field", _unknown_field(place, model))
    if kind == "union_tag_invalid":
        param = f"{place.path}.{tag_of(place.field)}"
        return FieldError(param, "unknown_kind", _unknown_kind(place, context))
    if kind == "union_tag_not_found":
        kinds = _listed(members(place.field)) if place.field in UNIONS else ""
        param = f"{place.path}.{tag_of(place.field)}"
        message = f"{param} is required; one of: {kinds}{_write(place.field, place.value)}"
        return FieldError(param, "missing", message)
    if "~auto" in detail["loc"] or ("~rate" in detail["loc"] and kind != "finite_number"):
        code = "float_type" if "~auto" in detail["loc"] else kind
        return FieldError(place.path, code, f'{name} must be a number above 0, or "auto"{given}')
    if kind == "float_type" and place.field == "lr" and place.value == "auto":
        return FieldError(place.path, "not_available", _no_range_test(place))
    if "~word" in detail["loc"]:
        return FieldError(
            place.path, "int_type", f'{name} must be a whole number above 0, or "full"{given}'
        )
    if kind == "literal_error":
        hint = _meant_value(place, str(context["expected"]))
        return FieldError(
            place.path,
            "unknown_value",
            f"{name} must be one of: {context['expected']}{given}{hint}",
        )
    if "[key]" in detail["loc"]:
        name, given = f"the name {shown(detail['input'])} in {name.split('.')[0]}", ""
    rule = _RULES.get(kind)
    text = rule(context) if rule else detail["msg"][0].lower() + detail["msg"][1:]
    return FieldError(place.path, _CODES.get(kind, kind), f"{name} {text}{given}")


def _given(place: _Place, kind: str) -> str:
    """Say what was given, and of a job's id in the place of weights how those become a data set."""
    if _is_unshown(place):
        return ""
    is_id = kind == "string_pattern_mismatch" and place.field == "initial_weights"
    return f"; {shown(place.value)} was given{_WEIGHTS_OF_A_JOB if is_id else ''}"


def _is_unshown(place: _Place) -> bool:
    """Tell whether nothing was given, or what may be a secret: the URL of a webhook."""
    return place.value is _MISSING or place.path in {"webhook", "webhook.url", "url"}


def _pair_error(detail: ErrorDetails, place: _Place) -> FieldError | None:
    """Translate what is wrong with a field of layers that takes a number for both axes, or one
    each; None: it is something else."""
    given = "" if place.value is _MISSING else f"; {shown(place.value)} was given"
    if "~same" in detail["loc"]:
        text = f'{place.path} must be a whole number, a list of two, or "same"{given}'
        return FieldError(place.path, "unknown_value", text)
    missing = detail["type"] == "missing" and place.path.rsplit(".", 1)[-1].isdigit()
    if place.field in PAIRS and (missing or detail["type"] in ("tuple_type", "too_long")):
        text = f"{place.path} must be a whole number, or a list of two{given}"
        return FieldError(place.path, "list_type", text)
    return None


_NOUN_OF: Final = {
    "then": "schedule",
    "schedules": "schedule",
    "layers": "layer",
    "shortcut": "layer",
    "branches": "layer",
    "metrics": "metric",
}
"""The noun for a field that holds several of a kind."""

_PATTERNS: Final[dict[str, str]] = {
    NAME_PATTERN: "must be a letter or _, then up to 62 letters, digits and _",
    DEVICE_PATTERN: "must be auto, cpu, cuda or cuda:N",
    JOB_PATTERN: "must be a job's id: job_ and 26 characters",
    ONE_LINE_PATTERN: "must be one line, without control characters",
    STUDY_PATTERN: "must be a study's id: study_ and 26 characters",
    DATA_PATTERN: "must be a data set's id: data_ and 26 characters",
    LABEL_PATTERN: "must be 1 to 63 letters, digits and . _ / -",
}

_WEIGHTS_OF_A_JOB: Final = (
    "; to begin with a job's weights, upload what GET /v1/jobs/{id}/model gives"
    " (application/x-safetensors)"
)

PAIRS: Final = frozenset(
    {"kernel_size", "stride", "padding", "output_padding", "dilation", "output_size"}
)
"""Fields of layers that take a number for both axes, or one each."""

_SWEEP_FORMS: Final = (
    'must be one of {"values": […]}, {"log": [low, high], "count": n},'
    ' {"linear": [low, high], "count": n} and {"integers": [low, high]}'
)

_Rule = Callable[[Mapping[str, Any]], str]

_RULES: Final[dict[str, _Rule]] = {
    "greater_than": lambda c: f"must be greater than {c['gt']:g}",
    "greater_than_equal": lambda c: f"must be at least {_number(c['ge'])}",
    "less_than": lambda c: f"must be less than {_number(c['lt'])}",
    "less_than_equal": lambda c: f"must be at most {_number(c['le'])}",
    "finite_number": lambda _: "must be a finite number (within about ±1.8e308)",
    "float_type": lambda _: "must be a number",
    "int_type": lambda _: "must be a whole number, written without quotes",
    "bool_type": lambda _: "must be true or false",
    "string_type": lambda _: "must be a string",
    "tuple_type": lambda _: "must be a list",
    "dict_type": lambda _: "must be an object",
    "model_type": lambda _: "must be an object",
    "model_attributes_type": lambda _: "must be an object",
    "none_required": lambda _: "must be null (it is not available yet)",
    "too_short": lambda c: f"must have at least {counted(c['min_length'], 'item')}",
    "too_long": lambda c: f"must have at most {counted(c['max_length'], 'item')}",
    "string_too_short": lambda c: f"must have at least {counted(c['min_length'], 'character')}",
    "string_too_long": lambda c: f"must have at most {counted(c['max_length'], 'character')}",
    "string_pattern_mismatch": lambda c: _PATTERNS.get(c["pattern"], f"must match {c['pattern']}"),
}

_CODES: Final = {
    "model_attributes_type": "object_type",
    "model_type": "object_type",
    "dict_type": "object_type",
    "tuple_type": "list_type",
}


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _unknown_field(place: _Place, root: type[Spec]) -> str:
    owner, kind = place.owner
    if owner == SWEEP:
        model: type[Spec] | None = SWEEPS.get(kind)
    elif owner in UNIONS:
        model = members(owner).get(kind)
    else:
        model = PLAIN.get(owner) if owner else root
    if model is None:
        return f"{place.path} is not a known field"
    fields = [field for field in fields_shown(model) if field != tag_of(owner)]
    where = f"of {kind or owner or NOUNS.get(root, 'this call')}"
    wanted = place.path.rsplit(".", 1)[-1]
    elsewhere = None if owner else place_of_field(root, wanted)
    hint = "" if elsewhere else _did_you_mean(wanted, fields)
    way_out = f"; it is written as {elsewhere}" if elsewhere else ""
    known = _listed(fields) or "none"
    return f"{place.path} is not a field {where}{hint}{way_out}; its fields: {known}"


def _unknown_kind(place: _Place, context: Mapping[str, Any]) -> str:
    given = str(context.get("tag"))
    kinds = list(members(place.field)) if place.field in UNIONS else []
    noun = _NOUN_OF.get(place.field, place.field)
    param = f"{place.path}.{tag_of(place.field)}"
    hint = _did_you_mean(given, kinds)
    way_out = "" if hint else _write(place.field, place.value)
    if not (hint or way_out) and (elsewhere := place_of_kind(place.field, given)):
        way_out = f"; it has its place in {elsewhere}"
    in_body: Any = _child(place.value, tag_of(place.field))  # the tag is text: "None" for null
    as_given = given if in_body is _MISSING else in_body
    name = f"{param}: {shown(as_given)}"
    return f"{name} is no {noun} here{hint}; one of: {_listed(kinds)}{way_out}"


def _no_range_test(place: _Place) -> str:
    """Say why "auto" is refused for the optimizers that take a number only."""
    return (
        f'{place.path}: "auto" is not available for {place.owner[1]}, whose steps find a length of'
        " their own, so that a range test of the rate would say nothing; give a number above 0"
    )


_OBJECTS: Final = {
    "labels": '{"team": "vision"}',
    "sweep": '{"optimizer.lr": {"log": [0.0001, 1.0], "count": 16}}',
    "base": '{"problem": …, "optimizer": …}: the spec of a job',
}
"""Examples of objects whose names are free, by field."""


def _in_full(place: _Place) -> str:
    """Say what an object would be: what the value given means, or an example."""
    if meant := _write(place.field, place.value):
        return meant.replace("; ", ": ", 1)
    if place.field in UNIONS:
        item = place.path.rsplit(".", 1)[-1].isdigit()
        return f" such as {_example(place.field, item=item)}"
    if place.field in _OBJECTS:
        return f" such as {_OBJECTS[place.field]}"
    if place.field in PLAIN:
        return f" with the fields {_listed(PLAIN[place.field].model_fields)}"
    return ""


def _example(field: str, *, item: bool = False) -> str:
    """Write an example of the field, or of an item of it."""
    one = in_full(field, next(iter(members(field))))
    lists = {"layers": [one], "shortcut": [one], "branches": [[one]], "metrics": [one]}
    return json.dumps(one if item else lists.get(field, one))


def _write(field: str, given: Any) -> str:
    meant = written(field, given)
    try:
        text = "" if meant is None else f"; write {json.dumps(meant)}"
    except (ValueError, RecursionError):
        return ""
    return text if len(text) <= _LONGEST_HINT else ""


def _meant_value(place: _Place, expected: str) -> str:
    """Return the hint for a word that is none of the words expected."""
    words = _QUOTED.findall(expected)
    given = place.value.get("kind") if isinstance(place.value, Mapping) else place.value
    if not isinstance(given, str):
        return ""
    if given in words:
        return f'; write "{given}"'
    if place.owner == ("data", "builtin") and (meant := _write("data", given)):
        return f"{meant} as problem.data"
    return _did_you_mean(given, words)


def _did_you_mean(word: str, words: list[str]) -> str:
    meant = nearest_name(word[:_LONGEST_NAME], words)
    return f" (did you mean {meant}?)" if meant else ""


def _listed(words: Any) -> str:
    return ", ".join(words)


def _later_mistakes(detail: ErrorDetails, place: _Place, body: Any) -> Iterator[FieldError]:
    """Yield the mistakes after the first in lists of numbers, where pydantic stops
    (`fail_fast`)."""
    if detail["type"] not in ("float_type", "finite_number", "int_type"):
        return
    head, _, _ = place.path.rpartition(".")
    parent = head.rsplit(".", 1)[-1]
    root = head.rpartition(".")[0] if parent.isdigit() else head
    whole: Any = body
    for item in root.split("."):
        whole = _child(whole, int(item) if item.isdigit() and isinstance(whole, list) else item)
    found = 0
    for path, value in _scalars(whole, root):
        if _is_number(value, whole_only=detail["type"] == "int_type"):
            continue
        found += 1
        if found > 1:  # the first is pydantic's own
            yield FieldError(
                path,
                detail["type"],
                f"{path} {_RULES[detail['type']]({})}; {shown(value)} was given",
            )
        if found > MAX_ERRORS:
            return


def _scalars(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, list):
        yield path, value
        return
    for index, item in enumerate(value):
        yield from _scalars(item, f"{path}.{index}")


def _is_number(value: Any, *, whole_only: bool) -> bool:
    if isinstance(value, bool):
        return False
    if whole_only:
        return is_whole(value)
    return isinstance(value, int) or (isinstance(value, float) and abs(value) < float("inf"))
