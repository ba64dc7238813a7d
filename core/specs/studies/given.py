"""Configurations that a study is given one by one, or has from another: their values must lie
within its sweep."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, assert_never

from core.errors import FieldError
from core.formats import STORE
from core.specs.base import Json
from core.specs.job import JobSpec
from core.specs.studies.configurations import Jobs
from core.specs.studies.distinct import Distinct
from core.specs.studies.sweep import Axis
from core.specs.studies.validation import checked
from core.specs.study import Metric, SweepIntegers, SweepLinear, SweepLog, SweepValues
from core.specs.validation.errors import FieldErrorList, shown
from core.specs.validation.limits import NO_LIMITS


@dataclass(frozen=True)
class Source:
    """A study that a new one begins from.

    Attributes:
        spec: its resolved spec.
        configurations: parameters of its configurations that came to their end.
        written: the format in which it was stored.
    """

    study_id: str
    spec: Json
    configurations: Sequence[Json]
    written: int = STORE


@dataclass(frozen=True)
class Inherited:
    """A configuration of the source that fits the new sweep. `place`: among the source's;
    `is_known`: the new study would train the very same."""

    place: int
    params: Json
    is_known: bool


def given_configurations(
    asked: Sequence[Json],
    axes: Sequence[Axis],
    jobs: Jobs,
    repeats: int,
    known: Distinct,
    faults: FieldErrorList,
) -> list[tuple[Json, JobSpec]]:
    """Check configurations that are given, and return those that are no copies, with the spec of
    each one's first run.

    Args:
        known: configurations that there are; these are among them afterwards.
    """
    found = []
    for place, params in enumerate(asked):
        at = f"configurations.{place}"
        own, mistakes = settled(params, axes, at)
        spec = None
        if not mistakes:
            spec, wrong = checked(jobs, own, repeats)
            mistakes = [_laid(error, own, at) for error in wrong]
        faults.errors.extend(mistakes)
        if spec is not None and not mistakes and known.is_new(spec):
            found.append((own, spec))
    return found


def _laid(error: FieldError, params: Json, at: str) -> FieldError:
    """Lay a mistake in a configuration's spec to the path that it comes from, if it is one's."""
    of = [path for path in params if f"{error.param}.".startswith(f"{path}.")]
    param = f"{at}.{max(of, key=len)}" if of else at
    return FieldError(param, error.code, f"{param}: {error.message}")


def inherited(
    source: Source, axes: Sequence[Axis], jobs: Jobs, repeats: int, known: Distinct
) -> list[Inherited]:
    """Return the source's configurations that fit the sweep; those that would be trained the very
    same, with as many repeats, are among `known` afterwards."""
    theirs = Jobs(source.spec["base"], list(source.spec["sweep"]), NO_LIMITS, source.written)
    found = []
    for place, params in enumerate(source.configurations):
        own, mistakes = settled(params, axes, "")
        if mistakes:
            continue
        spec, wrong = checked(jobs, own, repeats)
        if spec is None or wrong:
            continue
        is_known = spec == theirs.resolved(params) and source.spec["repeats"] >= repeats
        if is_known:
            known.is_new(spec)
        found.append(Inherited(place, own, is_known))
    return found


def check_source(
    source: Source, metric: Metric, found: Sequence[Inherited], faults: FieldErrorList
) -> None:
    """Check that a study may begin from the source: it has the same metric, and configurations that
    fit."""
    param, theirs = "warm_start_from", source.spec["metric"]
    ours = metric.model_dump(mode="json")
    if any(ours[name] != theirs.get(name) for name in _COMPARED):
        said = [" ".join(str(each.get(name)) for name in _COMPARED) for each in (theirs, ours)]
        faults.add(
            param, "other_metric",
            f"{param}: the metric of {source.study_id} is {said[0]}, and this study's is {said[1]};"
            " its runs say nothing about another metric: give the same, or leave it out",
        )  # fmt: skip
    elif not source.configurations:
        faults.add(
            param, "none_fits",
            f"{param}: no configuration of {source.study_id} came to its end, so that it has"
            " nothing to hand on: leave it out",
        )  # fmt: skip
    elif not found:
        faults.add(
            param, "none_fits",
            f"{param}: none of the {len(source.configurations):,} configurations of"
            f" {source.study_id} that came to their end fits this sweep; sweep the same paths, over"
            " ranges that hold theirs, or leave it out",
        )  # fmt: skip


_COMPARED: Final = ("name", "at", "goal")
"""Fields of a metric that make it another."""


def left_out(source: Source | None, found: Sequence[Inherited]) -> Iterator[FieldError]:
    """Warn of configurations of the source that do not fit, and of those trained otherwise."""
    if source is None:
        return
    param, num = "warm_start_from", len(source.configurations)
    if len(found) < num:
        yield FieldError(
            param, "left_out",
            f"{param}: {num - len(found):,} of the {num:,} configurations of {source.study_id} do"
            " not fit this sweep and are left out",
        )  # fmt: skip
    others = sum(not each.is_known for each in found)
    if others:
        yield FieldError(
            param, "trained_otherwise",
            f"{param}: {others:,} of the {len(found):,} configurations from {source.study_id} were"
            " trained with another base or fewer repeats than here, so that their metrics may not"
            " be comparable with this study's",
        )  # fmt: skip


def settled(
    params: Mapping[str, Any], axes: Sequence[Axis], at: str
) -> tuple[Json, list[FieldError]]:
    """Return the parameters as the sweep writes them, and every mistake in them.

    Args:
        axes: of the study; one comes after those that decide whether it is varied.
        at: where the configuration stands: mistakes are told there.
    """
    faults: list[FieldError] = []
    paths = [axis.path for axis in axes]
    for path in params:
        if path not in paths:
            listed = ", ".join(paths) or "none"
            text = f"{at}.{path}: the sweep does not vary {shown(path)}; it varies {listed}"
            faults.append(FieldError(f"{at}.{path}", "unknown_path", text))
    found: Json = {}
    is_mistaken = False
    for axis in axes:
        param = f"{at}.{axis.path}"
        if axis.path in params:
            try:
                found[axis.path] = value_within(axis, params[axis.path])
            except ValueError as error:
                faults.append(FieldError(param, "not_in_sweep", f"{param} {error}"))
                is_mistaken = True
                continue
        # Of what others decide on, nothing is said where these have a mistake themselves.
        if axis.sweep.when is not None and is_mistaken:
            continue
        if (axis.path in found) == axis.holds(found):
            continue
        if axis.path in found:
            text = f"{param} is given where it is not varied (its when); leave it out"
            faults.append(FieldError(param, "not_varied", text))
        else:
            text = f"{param} is missing: give a value for each path that the sweep varies"
            is_mistaken = True
            faults.append(FieldError(param, "missing", text))
    return found, faults


def value_within(axis: Axis, value: Any) -> Any:
    """Return the value as it stands in configurations of the sweep. Raises `ValueError`, which says
    what it must be: one of the values, or a number between both ends."""
    match axis.sweep:
        case SweepValues(values=values):
            text = json.dumps(value, sort_keys=True)
            for each in values:
                if json.dumps(each, sort_keys=True) == text:
                    return each
            number = [each for each in values if _is_number(each) and _is_number(value)]
            if value in number:  # 1 for 1.0
                return number[number.index(value)]
            listed = ", ".join(map(shown, values[:5])) + (", …" if len(values) > 5 else "")
            raise ValueError(
                f"is {shown(value)}, which is none of the values of its sweep ({listed}); give one"
                " of them, or post a new study with a wider sweep"
            )
        case SweepIntegers(integers=(low, high)):
            if not _is_number(value) or value != int(value):
                raise ValueError(f"must be a whole number; {shown(value)} was given")
            return int(_between(value, low, high))
        case SweepLog(log=(low, high)) | SweepLinear(linear=(low, high)):
            if not _is_number(value):
                raise ValueError(f"must be a number; {shown(value)} was given")
            return float(_between(value, low, high))
        case _:
            assert_never(axis.sweep)


def _is_number(value: Any) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, float) and math.isfinite(value)


def _between(value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise ValueError(
            f"is {shown(value)}, outside of its sweep from {low:g} to {high:g}; give one within, or"
            " post a new study with a wider sweep"
        )
    return value
