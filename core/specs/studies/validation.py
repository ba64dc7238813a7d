"""Rules of a study that are checked before any of its configurations is looked at."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, islice, product
from typing import Any, Final

from core.errors import FieldError, InvalidInputError
from core.specs.base import Json
from core.specs.job import JobSpec
from core.specs.studies.conditions import check_when
from core.specs.studies.configurations import UPLOADS, Jobs
from core.specs.studies.sweep import Axis, PathError, axes_of, drawn, kept, num_combinations
from core.specs.study import (
    GridStrategy,
    Strategy,
    StudySpec,
    SweepIntegers,
    SweepLinear,
    SweepLog,
    SweepValues,
    TpeStrategy,
)
from core.specs.validation.errors import FieldErrorList, shown
from core.specs.validation.limits import Limits

RUNS_AT_A_TIME: Final = 32
"""The most runs in a batch of `tpe`, unless the study says so: a stack of them costs a run little,
more would not make it cheaper."""
LEAST_AT_A_TIME: Final = 4
BATCHES: Final = 60
"""Batches of `tpe`, unless the study says so: so many that it finds about as much as if each
configuration were chosen after all others (docs/figures.md)."""
MOST_PROBES: Final = 5_000
MOST_DRAWS: Final = 200
MOST_CATEGORIES: Final = 1_000

_OF_THE_STUDY: Final = {
    "labels": "labels are the study's: write them beside base",
    "webhook": "it is the study's: write it beside base",
    "name": "it is the study's: write it beside base",
    "note": "it is the study's: write it beside base",
    "start_from": "a study's runs begin at their origin: leave it out",
    "priority": "a study has one: write it in base",
    "max_attempts": "a study has one: write it in base",
    "device": "a study has one: write it in base",
    "diagnose": "runs of a study are not diagnosed: leave it out",
}
"""Parts of a job's spec that no sweep varies, with the way out."""


def check_base(base: Json, faults: FieldErrorList) -> Json:
    """Return the base without what a study's runs do not have; each such part is a mistake."""
    for name in ("labels", "webhook", "name", "note", "start_from"):
        if base.get(name) not in (None, {}):
            given = "" if name == "webhook" else f" {shown(base[name])}"  # its URL is a secret
            faults.add(
                f"base.{name}", "not_in_studies",
                f"base.{name}{given}: runs are no jobs; {_OF_THE_STUDY[name]}",
            )  # fmt: skip
    if UPLOADS in base:
        faults.add(
            f"base.{UPLOADS}", "unknown_field",
            f"base.{UPLOADS} is not a field of a job; data sets are named by problem.data.id",
        )  # fmt: skip
    if base.get("diagnose") == "full":
        faults.add(
            "base.diagnose", "not_in_studies",
            'base.diagnose "full": runs of a study are not diagnosed; leave it out, and post the'
            " run that you are interested in as a job",
        )  # fmt: skip
    wrong = {error.param.removeprefix("base.") for error in faults.errors}
    return {name: part for name, part in base.items() if name not in wrong}


def good_axes(
    asked: StudySpec, base: Json, strategy: Strategy | None, faults: FieldErrorList
) -> list[Axis]:
    """Return the sweep's paths; those with a mistake are left out. `strategy`: None where the one
    asked for is not known."""
    found: list[Axis] = []
    axes = axes_of(asked.sweep, base)
    for axis in axes:
        before = len(faults.errors)
        _check_path(axis.path, faults)
        _check_ends(axis, strategy, faults)
        check_when(axis, axes, found, faults)
        if len(faults.errors) == before:
            found.append(axis)
    return found


def check_numbers(asked: StudySpec, faults: FieldErrorList) -> None:
    """Refuse numbers that are not finite also where no configuration would have them, since a
    longer path sets another value there: no reply could show them. Where a mistake was found
    already, nothing is added."""
    places: list[tuple[str, Any]] = [("base", asked.base)]
    for path, sweep in asked.sweep.items():
        if isinstance(sweep, SweepValues):
            places.append((f"sweep.{path}.values", sweep.values))
        places.append((f"sweep.{path}.when", sweep.when))
    params = [error.param for error in faults.errors]
    for start, part in places:
        for param, value in _not_finite(start, part):
            if not any(f"{param}.".startswith(f"{known}.") for known in params):
                faults.add(
                    param, "finite_number",
                    f"{param} must be a finite number (within about ±1.8e308); {shown(value)} was"
                    " given",
                )  # fmt: skip


def _not_finite(place: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _not_finite(f"{place}.{name}", item)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _not_finite(f"{place}.{number}", item)
    elif isinstance(value, (int, float)) and not _is_finite(value):
        yield place, value


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _check_path(path: str, faults: FieldErrorList) -> None:
    param = f"sweep.{path}"
    if not all(path.split(".")):
        faults.add(
            param, "malformed",
            f"{param}: {shown(path)} is no path; write names with single dots between them, as in"
            " optimizer.lr or optimizer.betas.0",
        )  # fmt: skip
        return
    first = path.split(".", maxsplit=1)[0]
    if first in _OF_THE_STUDY:
        faults.add(
            param, "not_swept", f"{param} cannot be varied within a study; {_OF_THE_STUDY[first]}"
        )


def _check_ends(axis: Axis, strategy: Strategy | None, faults: FieldErrorList) -> None:
    param, sweep = f"sweep.{axis.path}", axis.sweep
    if isinstance(sweep, SweepValues):
        if isinstance(strategy, TpeStrategy) and len(sweep.values) > MOST_CATEGORIES:
            faults.add(
                f"{param}.values", "too_long",
                f"{param}.values has {len(sweep.values):,} values; tpe chooses among at most"
                f" {MOST_CATEGORIES:,}: give fewer, or a range (log, linear, integers)",
            )  # fmt: skip
        return
    if isinstance(sweep, SweepIntegers):
        low: float = sweep.integers[0]
        high: float = sweep.integers[1]
        name = "integers"
    else:
        low, high = sweep.log if isinstance(sweep, SweepLog) else sweep.linear
        name = "log" if isinstance(sweep, SweepLog) else "linear"
    if low > high:
        faults.add(
            f"{param}.{name}", "not_ordered",
            f"{param}.{name} must be [low, high] with low ≤ high; [{low:g}, {high:g}] was given",
        )  # fmt: skip
    elif isinstance(sweep, SweepLinear) and not math.isfinite(high - low):
        faults.add(
            f"{param}.{name}", "not_finite",
            f"{param}.{name}: the distance between {low:g} and {high:g} is not finite; bring them"
            " closer",
        )  # fmt: skip
    if isinstance(strategy, GridStrategy) and axis.size is None:
        faults.add(
            f"{param}.count", "missing",
            f"{param}.count is required by the strategy grid: how many points; or use random or"
            " tpe",
        )  # fmt: skip


def check_configuration(spec: JobSpec, repeats: int, faults: FieldErrorList) -> None:
    """Refuse what a run may not ask for although a job may; params are those of a job's spec."""
    if spec.seed + repeats - 1 >= 2**63:
        faults.add(
            "seed", "less_than",
            f"seed {spec.seed} leaves no room for {repeats:,} repeats, whose seeds are seed, seed +"
            " 1, …; give one below 2^63 − repeats",
        )  # fmt: skip
    if spec.optimizer.lr == "auto":
        faults.add(
            "optimizer.lr", "not_in_studies",
            'optimizer.lr "auto" is for single jobs; in a study sweep it, as in "optimizer.lr":'
            ' {"log": [0.0001, 1.0], "count": 16}',
        )  # fmt: skip


def checked(jobs: Jobs, params: Json, repeats: int) -> tuple[JobSpec | None, list[FieldError]]:
    """Return a configuration's resolved spec, or its mistakes; paths that lead nowhere are passed
    over."""
    faults, params, spec = FieldErrorList(), dict(params), None
    while True:
        try:
            spec = jobs.resolved(params)
            check_configuration(spec, repeats, faults)
        except PathError as error:
            faults.add(error.path, "unknown_path", str(error))
            del params[error.path]
            continue
        except InvalidInputError as error:
            faults.errors.extend(error.errors)
        return spec, faults.errors


def num_configurations(strategy: Strategy, axes: Sequence[Axis], most: int) -> int:
    """Count the configurations that the study will have, without a list of them; of a grid with
    conditions at most `most`."""
    if isinstance(strategy, GridStrategy):
        return num_combinations(axes, most)
    return strategy.num_runs


def check_num_runs(
    asked: StudySpec, axes: Sequence[Axis], limits: Limits, faults: FieldErrorList
) -> None:
    """Check the number of runs against the limit, before any list of them is made."""
    count = num_configurations(asked.strategy, axes, limits.max_study_runs + 1)
    if count * asked.repeats <= limits.max_study_runs:
        return
    limit = f"this service allows {limits.max_study_runs:,} runs a study"
    times = f" with {asked.repeats:,} repeats each" if asked.repeats > 1 else ""
    runs = f", {count * asked.repeats:,} runs" if asked.repeats > 1 else ""
    if asked.repeats > limits.max_study_runs or (count == 1 and asked.repeats > 1):
        faults.add(
            "repeats", "too_many_runs",
            f"repeats {asked.repeats:,} of {_configurations(count)} are"
            f" {count * asked.repeats:,} runs; {limit}: lower repeats",
        )  # fmt: skip
    elif isinstance(asked.strategy, GridStrategy):
        sizes = " · ".join(f"{axis.path} {axis.size:,}" for axis in axes[:10])
        faults.add(
            "sweep", "too_many_runs",
            f"sweep has {count:,} combinations ({sizes}){times}{runs}; {limit}: lower the counts,"
            f' or use the strategy {{"kind": "random", "num_runs":'
            f" {max(1, limits.max_study_runs // asked.repeats)}}}",
        )  # fmt: skip
    else:
        faults.add(
            "strategy.num_runs", "too_many_runs",
            f"strategy.num_runs is {count:,}{times}{runs}; {limit}: lower it to"
            f" {max(1, limits.max_study_runs // asked.repeats):,}",
        )  # fmt: skip


def _configurations(count: int) -> str:
    return "one configuration" if count == 1 else f"{count:,} configurations"


def batch_size(strategy: TpeStrategy, repeats: int) -> int:
    """Return the number of configurations that tpe chooses at a time, written out.

    A batch that a stopper thins out has two rungs where it may.
    """
    if strategy.batch_size is not None:
        return strategy.batch_size
    most = max(LEAST_AT_A_TIME, RUNS_AT_A_TIME // repeats)
    least = LEAST_AT_A_TIME
    if strategy.stopper is not None:
        least = max(least, min(strategy.stopper.factor**2, most))
    return min(strategy.num_runs, max(least, min(strategy.num_runs // BATCHES, most)))


def probes(axes: Sequence[Axis], most: int = MOST_PROBES) -> list[Json]:
    """List configurations in which mistakes show, where all of them cannot be listed: every value
    and every end of a range in all combinations, or in pairs if those are too many."""
    ends = {axis.path: axis.ends() for axis in axes}
    if math.prod(len(values) for values in ends.values()) <= most:
        whole: Iterator[Json] = (
            dict(zip(ends, values, strict=True)) for values in product(*ends.values())
        )
    else:
        whole = islice(_pairs(ends), most)
    if all(axis.sweep.when is None for axis in axes):
        return list(whole)
    found = (kept(axes, params) for params in whole)
    return list({json.dumps(params, sort_keys=True): params for params in found}.values())


def draws(axes: Sequence[Axis], strategy: TpeStrategy) -> list[Json]:
    """List what a random search would draw first: mistakes that show between the ends of ranges."""
    return [
        drawn(axes, strategy.seed, number) for number in range(min(strategy.num_runs, MOST_DRAWS))
    ]


def _pairs(ends: Mapping[str, list[Any]]) -> Iterator[Json]:
    first = {path: values[0] for path, values in ends.items()}
    yield first
    for path, values in ends.items():
        for value in values[1:]:
            yield {**first, path: value}
    for (one, values), (other, others) in combinations(ends.items(), 2):
        for value, another in product(values[1:], others[1:]):
            yield {**first, one: value, other: another}
