"""A job that goes on where another stopped: the other's resolved spec with a longer budget."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Tag

from core.errors import FieldError, InvalidInputError
from core.specs.base import Json, NonNegativeInt, Spec
from core.specs.job import Budget, JobSpec, StartFrom
from core.specs.parsing.body import read_as
from core.specs.parsing.job import parse_job
from core.specs.validation.errors import MAX_ERRORS, shown
from core.specs.validation.limits import Limits

FREE: Final = frozenset(
    {"budget", "start_from", "labels", "priority", "max_attempts", "diagnose", "webhook"}
)
"""Fields of a spec that no step depends on: they may differ from those of the job continued."""


def _tag(value: object) -> str:
    return "~word" if isinstance(value, str) else "~number"


class Continuation(Spec):
    """The body of `POST /v1/jobs/{id}/continue`."""

    budget: Budget
    """Budget that replaces the job's own. It counts from the origin: to do 500 more updates after
    1,000, `max_steps` is 1,500."""
    checkpoint: Annotated[
        Annotated[Literal["final"], Tag("~word")] | Annotated[NonNegativeInt, Tag("~number")],
        Discriminator(_tag),
    ] = "final"
    """The place to go on from: the latest, or a kept checkpoint by its step."""


def parse_continuation(body: bytes) -> Continuation:
    """Read the body of the call.

    Raises:
        InvalidInputError: with every mistake found.
    """
    asked, value, mistakes = read_as(Continuation, body)
    errors = [_renamed(error, value) for error in mistakes]
    if asked is not None and asked.budget == Budget():
        message = "budget names no limit; give max_steps, max_epochs or max_seconds"
        errors.append(FieldError("budget", "missing", message))
    if errors:
        raise InvalidInputError(errors)
    assert asked is not None
    return asked


def _renamed(error: FieldError, value: Any) -> FieldError:
    """Put the reader's error into the words of this call."""
    if error.param == "checkpoint" and isinstance(value, dict):
        message = (
            "checkpoint must be final, or the step of a kept checkpoint (other weights have no"
            f" optimizer's state to go on with); {shown(value.get('checkpoint'))} was given"
        )
        return FieldError("checkpoint", "unknown_value", message)
    if error.code != "unknown_field" or "." in error.param:
        return error
    message = (
        f"{error.param} cannot be changed by continuing; the fields here are budget and checkpoint"
    )
    return FieldError(error.param, error.code, message)


def continued(parent: Json, asked: Continuation, start: StartFrom, limits: Limits) -> JobSpec:
    """Return the resolved spec of the job that goes on from `start`.

    Args:
        parent: the resolved spec of that job. Lengths that followed from its budget (a cosine's
            `T_max`) stay what they are.

    Raises:
        InvalidInputError: the budget ends where the checkpoint stands, or is beyond the limits.
    """
    spec = {
        **parent,
        "budget": asked.budget.model_dump(mode="json"),
        "start_from": start.model_dump(mode="json"),
    }
    return parse_job(json.dumps(spec).encode(), replace(limits, stored=True))


def differences(spec: Json, parent: Json) -> list[FieldError]:
    """List where a spec with `start_from` differs from that of the job which it names; both
    resolved."""
    found: list[FieldError] = []
    for name in spec.keys() | parent.keys():
        if name in FREE:
            continue
        for path, given, was in _differing(name, spec.get(name), parent.get(name)):
            message = (
                f"{path} is {shown(was)} in the job that start_from names, and must stay so;"
                f" {shown(given)} was given: leave it, or leave start_from out"
            )
            found.append(FieldError(path, "differs_from_start", message))
    return sorted(found, key=lambda error: error.param)[:MAX_ERRORS]


def _differing(path: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the paths of the smallest parts that differ, and both values."""
    if one == other:
        return
    both = isinstance(one, Mapping) and isinstance(other, Mapping)
    if not both or one.get("kind") != other.get("kind"):
        yield path, one, other
        return
    for name in {**one, **other}:
        yield from _differing(f"{path}.{name}", one.get(name), other.get(name))
