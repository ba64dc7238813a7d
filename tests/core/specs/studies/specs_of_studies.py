"""Bodies of studies for the tests."""

import json
from typing import Any

import pytest

from core.errors import FieldError, InvalidInputError
from core.specs.studies.parse import ResolvedStudy, parse_study
from core.specs.validation.limits import Limits

Json = dict[str, Any]

IRIS: Json = {
    "kind": "supervised",
    "data": {"kind": "builtin", "name": "iris"},
    "model": {"kind": "mlp", "hidden": [8]},
}
DIABETES: Json = {**IRIS, "data": {"kind": "builtin", "name": "diabetes"}}
SPHERE: Json = {"kind": "function", "function": {"kind": "sphere"}}


def job(problem: Json | None = None, **parts: Any) -> Json:
    return {"problem": IRIS if problem is None else problem, "optimizer": {"kind": "adam"}, **parts}


def study(base: Json | None = None, sweep: Json | None = None, **parts: Any) -> Json:
    return {"base": job() if base is None else base, "sweep": sweep or {}, **parts}


def parsed(body: Json, **limits: Any) -> ResolvedStudy:
    return parse_study(json.dumps(body).encode(), Limits(**limits))


def mistakes(body: Json | bytes, **limits: Any) -> list[FieldError]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(InvalidInputError) as caught:
        parse_study(raw, Limits(**limits))
    return caught.value.errors


def found(body: Json | bytes, **limits: Any) -> list[tuple[str, str]]:
    return [(mistake.param, mistake.code) for mistake in mistakes(body, **limits)]


def said(body: Json | bytes, **limits: Any) -> str:
    """The message of the one mistake that there is."""
    (mistake,) = mistakes(body, **limits)
    return mistake.message


def assert_stands_in(listed: list[Json], expected: list[Json]) -> None:
    """Both hold the same objects, in any order."""
    texts = [
        sorted(json.dumps(each, sort_keys=True) for each in some) for some in (listed, expected)
    ]
    assert texts[0] == texts[1]


def assert_posted_again_it_is_the_same(resolved: ResolvedStudy) -> None:
    again = parsed(resolved.spec)
    assert again == resolved
    assert json.dumps(again.spec) == json.dumps(resolved.spec)


def tpe(num_runs: int = 10, **fields: Any) -> Json:
    """A strategy of TPE."""
    return {"kind": "tpe", "num_runs": num_runs, **fields}
