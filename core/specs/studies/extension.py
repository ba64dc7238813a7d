"""Added runs for a study that has not ended: `extend` and `enqueue`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from core.errors import FieldError, InvalidInputError
from core.specs.base import Json
from core.specs.parsing.body import read_as
from core.specs.sizes.uploads import Uploads
from core.specs.studies.distinct import Distinct
from core.specs.studies.given import Source
from core.specs.studies.parse import ResolvedStudy, parse_study
from core.specs.studies.runs import RunSpecs
from core.specs.study import EnqueuedConfigurations, StudyExtension
from core.specs.validation.limits import Limits

Asked = TypeVar("Asked", StudyExtension, EnqueuedConfigurations)


@dataclass(frozen=True)
class Present:
    """A study as it is now, for what is added to it.

    Attributes:
        spec: its resolved spec, as it is stored.
        posted: the same as it would be posted.
        written: the format in which it was stored.
        num_runs, max_updates: of its record.
        trained: parameters of the configurations that it has planned.
        limits, uploads, source: to read it with, as of `parse_study`.
    """

    spec: Json
    posted: Json
    written: int
    num_runs: int
    max_updates: int
    trained: Sequence[Json]
    limits: Limits
    uploads: Uploads
    source: Source | None = None


@dataclass(frozen=True)
class Extension:
    """A study's record once runs have been added. `memory_bytes`: of the largest run
    by itself."""

    spec: Json
    num_runs: int
    max_updates: int
    memory_bytes: int


def read_extension(model: type[Asked], body: bytes) -> Asked:
    """Read the body of either call.

    Raises:
        InvalidInputError: with every mistake found.
    """
    asked, _, mistakes = read_as(model, body)
    if asked is None or mistakes:
        raise InvalidInputError(mistakes)
    return asked


def extended(study: Present, num_runs: int) -> Extension | None:
    """Return the study whose strategy chooses this many configurations in all; None where it does
    already.

    Raises:
        InvalidInputError: its strategy is a grid, or chooses more; or the service allows fewer.
    """
    strategy = study.spec["strategy"]
    if strategy["kind"] == "grid":
        message = (
            f"num_runs {num_runs:,}: the strategy grid trains every combination of its sweep, and"
            " has no number of runs; enqueue configurations, or post a new study with"
            " warm_start_from and a wider sweep"
        )
        raise InvalidInputError([FieldError("num_runs", "not_for_grid", message)])
    if num_runs == strategy["num_runs"]:
        return None
    if num_runs < strategy["num_runs"]:
        message = (
            f"num_runs {num_runs:,} is less than the {strategy['num_runs']:,} configurations that"
            " the strategy chooses already; give the new number in all, or cancel the study"
        )
        raise InvalidInputError([FieldError("num_runs", "too_small", message)])
    change = {"strategy": {**strategy, "num_runs": num_runs}}
    try:
        found = _parsed(study, change)
    except InvalidInputError as error:
        renamed = [replace(each, param=_renamed(each.param)) for each in error.errors]
        raise InvalidInputError(renamed) from None
    written = _with(study, found, change)
    if written.num_runs <= study.num_runs:
        message = (
            f"num_runs {num_runs:,}: the sweep has no more configurations that are new; post a new"
            " study with warm_start_from and a wider sweep"
        )
        raise InvalidInputError([FieldError("num_runs", "no_more", message)])
    return written


def enqueued(study: Present, configurations: Sequence[Json]) -> Extension | None:
    """Return the study with these configurations besides; None where it has all of them.

    Raises:
        InvalidInputError: one is not within the sweep, or the service allows fewer runs.
    """
    earlier = study.spec.get("configurations", [])
    given = [*earlier, *configurations]
    try:
        found = _parsed(study, {"configurations": given})
    except InvalidInputError as error:
        raise InvalidInputError([_counted(each, len(earlier)) for each in error.errors]) from None
    resolved = found.spec["configurations"]
    known, specs = Distinct(), RunSpecs(study.spec, study.written)
    for params in study.trained:
        known.is_new(specs.of(params, 0))
    new = [
        params for params in resolved
        if params in earlier or known.is_new(specs.of(params, 0))
    ]  # fmt: skip
    if len(new) <= len(earlier):
        return None
    change: Json = {"configurations": new}
    written = _with(study, found if len(new) == len(resolved) else _parsed(study, change), change)
    return written if written.num_runs > study.num_runs else None


def _parsed(study: Present, change: Json) -> ResolvedStudy:
    body = json.dumps({**study.posted, **change}).encode()
    limits = replace(study.limits, stored=True)
    return parse_study(body, limits, study.uploads, study.source)


def _with(study: Present, found: ResolvedStudy, change: Json) -> Extension:
    updates = found.max_updates
    if study.spec["strategy"].get("stopper") is not None:  # what comes later competes by itself
        updates = study.max_updates + (found.num_runs - study.num_runs) * found.longest
    spec = {**study.spec, **change}
    return Extension(spec, found.num_runs, max(updates, study.max_updates), found.memory_bytes)


def _renamed(param: str) -> str:
    return param.removeprefix("strategy.")


def _counted(error: FieldError, num_earlier: int) -> FieldError:
    """Count the configurations of a mistake as they were sent."""
    first, _, rest = error.param.partition(".")
    place, _, path = rest.partition(".")
    if first != "configurations" or not place.isdigit():
        return error
    own = f"configurations.{int(place) - num_earlier}"
    at, was = f"{own}.{path}" if path else own, f"configurations.{place}"
    return FieldError(at, error.code, error.message.replace(was, own, 1))
