"""Every field of a job's spec can be swept: a study accepts a value at a path exactly where a job
with this value is accepted, trains that job, and else says of the path what the job would say."""

import json
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from typing import Any

import pytest

from core.errors import FieldError, InvalidInputError
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.studies.parse import parse_study
from core.specs.studies.runs import configurations, run_spec
from core.specs.studies.sweep import value_at
from core.specs.validation.limits import Limits
from tests.core.test_every_kind import BODIES

Json = dict[str, Any]
OF_THE_STUDY = {
    "labels", "webhook", "start_from", "priority", "max_attempts", "device", "diagnose",
}  # fmt: skip
"""Parts that a study has once; `test_parts_that_a_study_has_once` looks at them."""
STEPS = 12


def resolved(body: Json) -> JobSpec:
    return parse_job(json.dumps(body).encode(), Limits())


@cache
def bases() -> dict[str, Json]:
    """A resolved job for every kind of every union; an upload needs one to be there."""
    found = {}
    for name, body in sorted(BODIES.items()):
        if body["problem"].get("data", {}).get("kind") == "dataset":
            continue
        short = {**body, "budget": {"max_steps": STEPS}}
        found[name] = resolved(short).model_dump(mode="json")
    wrapped = deepcopy(found["optimizers-sgd"])
    wrapped["optimizer"]["groups"] = [{"match": "*.bias", "weight_decay": 0.1}]
    found["groups"] = resolved(wrapped).model_dump(mode="json")
    return found


def paths_in(part: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every path of a spec with its value; of a list of numbers the first place and the whole."""
    if path:
        yield path, part
    if isinstance(part, dict):
        for name, each in part.items():
            yield from paths_in(each, f"{path}.{name}" if path else name)
    elif isinstance(part, list) and part:
        yield from paths_in(part[0], f"{path}.0")


def cases() -> dict[str, tuple[str, str]]:
    """Each path once for each kind of what holds it: the base's name, and the path."""
    found: dict[str, tuple[str, str]] = {}
    for name, base in bases().items():
        for path, _ in paths_in(base):
            parent = value_at(base, path.rpartition(".")[0])
            kind = parent.get("kind", "") if isinstance(parent, dict) else ""
            if path.split(".")[0] not in OF_THE_STUDY:
                found.setdefault(f"{path} of {kind}".strip(), (name, path))
    return found


CASES = cases()


def others(value: Any) -> list[Any]:
    """Others of its type, and some that few fields take; of what has parts, the value itself."""
    match value:
        case bool():
            return [not value, "yes"]
        case int():
            return [value + 1, -1]
        case float():
            return [value / 2 + 0.01, -value - 1.0]
        case str():
            return ["nothing of the kind"]
        case None:
            return [1, 0.5]
        case _:
            return [value, None]


def put(base: Json, path: str, value: Any) -> Json:
    body = deepcopy(base)
    *parents, last = path.split(".")
    node: Any = body
    for name in parents:
        node = node[int(name)] if isinstance(node, list) else node[name]
    node[int(last) if isinstance(node, list) else last] = value
    return body


def outcome(body: Json) -> JobSpec | list[FieldError]:
    try:
        return resolved(body)
    except InvalidInputError as error:
        return error.errors


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_study_accepts_what_a_job_accepts(case: str) -> None:
    name, path = CASES[case]
    base = bases()[name]
    most = 2 if path.startswith(("optimizer.", "schedule.")) else 1
    for value in others(value_at(base, path))[:most]:
        alone = outcome(put(base, path, value))
        body = {"base": base, "sweep": {path: {"values": [value]}}}
        if isinstance(alone, JobSpec):
            spec = parse_study(json.dumps(body).encode(), Limits()).spec
            (params,) = configurations(spec)
            assert run_spec(spec, params, 0) == alone, (path, value)
            continue
        with pytest.raises(InvalidInputError) as caught:
            parse_study(json.dumps(body).encode(), Limits())
        said = caught.value.errors
        assert {error.code for error in said} == {error.code for error in alone}, (path, value)
        assert all(error.param.startswith(("sweep.", "base.")) for error in said), said


def test_nothing_of_a_spec_is_left_out() -> None:
    seen = {path.split(".")[0] for _, path in CASES.values()}
    assert seen | OF_THE_STUDY == set(JobSpec.model_fields)
    for kind in ("schedule", "optimizer", "gradient_clip", "on_divergence"):
        of_kinds = {case for case in CASES if case.startswith(f"{kind}.")}
        assert len(of_kinds) >= 3, kind


@pytest.mark.parametrize("part", sorted(OF_THE_STUDY))
def test_parts_that_a_study_has_once_are_refused_with_the_way_out(part: str) -> None:
    body = {"base": bases()["optimizers-sgd"], "sweep": {part: {"values": [None]}}}
    with pytest.raises(InvalidInputError) as caught:
        parse_study(json.dumps(body).encode(), Limits())
    (mistake,) = caught.value.errors
    assert (mistake.param, mistake.code) == (f"sweep.{part}", "not_swept")
    assert "write" in mistake.message or "leave it out" in mistake.message
