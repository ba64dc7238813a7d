"""The conditions of a sweep (`when`): what they may look at, and whether they ever hold."""

import json
import math
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, Final

from core.specs.base import Json
from core.specs.studies.sweep import Axis, depends, is_among, kept, value_at
from core.specs.study import SweepValues
from core.specs.validation.errors import FieldErrorList, shown

MOST_COMBINATIONS: Final = 5_000
_OTHER: Final = math.nan
"""Stands for the numbers of a range that no condition names: it equals none."""
_VALUES_SHOWN: Final = 5


def check_when(
    axis: Axis, axes: Sequence[Axis], before: Sequence[Axis], faults: FieldErrorList
) -> None:
    """Check that a condition looks at what another sweep decides. `before`: the axes before this
    one, which are right."""
    for path in axis.sweep.when or {}:
        param = f"sweep.{axis.path}.when.{path}"
        others = [other for other in axes if f"{path}.".startswith(f"{other.path}.")]
        if not others:
            paths = ", ".join(other.path for other in axes if other is not axis) or "none"
            faults.add(
                param, "unknown_path",
                f"{param}: no sweep sets {shown(path)}, so that it is the same in all"
                f" configurations; name a path that one sets, or a part of it (there are {paths}),"
                " or leave it out",
            )  # fmt: skip
        elif not all(other in before for other in others if other is not axis) or axis in others:
            faults.add(
                param, "conflict",
                f"{param}: {axis.path} would decide whether it is varied itself, or a sweep with a"
                " mistake does; let conditions lead from one path to another without a circle",
            )  # fmt: skip


def check_conditions(axes: Sequence[Axis], given: Sequence[Json], faults: FieldErrorList) -> None:
    """Refuse a sweep whose condition holds in no configuration; nothing is said where those that
    decide it have too many combinations to be looked at.

    Args:
        given: configurations that the study is given: what they have of a range can be named.
    """
    named = _named(axes)
    for axis in axes:
        if axis.sweep.when is None:
            continue
        deciding = _deciding(axis, axes)
        values = [_telling(each, named.get(each.path, ()), given) for each in deciding]
        if math.prod(map(len, values)) > MOST_COMBINATIONS:
            continue
        paths = [each.path for each in deciding]
        some = [
            kept(deciding, dict(zip(paths, combined, strict=True))) for combined in product(*values)
        ]
        if not any(map(axis.holds, some)) and not any(map(axis.leads_nowhere, some)):
            faults.add(
                f"sweep.{axis.path}.when", "never_holds",
                f"sweep.{axis.path}.when: {shown(axis.sweep.when)} holds in no configuration, so"
                f" that {axis.path} would never be varied; {_way_out(axis, deciding, some)}",
            )  # fmt: skip


def _named(axes: Sequence[Axis]) -> dict[str, list[Any]]:
    """Return the values that conditions name, by path of a sweep: that of the condition, or one
    that sets a part of what it looks at."""
    found: dict[str, list[Any]] = {}
    conditions = [each for axis in axes for each in (axis.sweep.when or {}).items()]
    for (path, values), axis in product(conditions, axes):
        if axis.path == path:
            found.setdefault(path, []).extend(values)
        elif _is_part(axis.path, path):
            part = axis.path.removeprefix(f"{path}.")
            found.setdefault(axis.path, []).extend(value_at(each, part) for each in values)
    return found


def _is_part(path: str, whole: str) -> bool:
    return path.startswith(f"{whole}.")


def _deciding(axis: Axis, axes: Sequence[Axis]) -> list[Axis]:
    """Return the axes that decide where this one is varied, those that decide on them included:
    those before it that set what a condition looks at, or a part of it."""
    found: list[Axis] = []
    for other in reversed(axes[: axes.index(axis)]):
        for each in (axis, *found):
            if depends(each, other) or any(
                _is_part(other.path, path) for path in each.sweep.when or ()
            ):
                found.append(other)
                break
    return found[::-1]


def _telling(axis: Axis, named: Sequence[Any], given: Sequence[Json]) -> list[Any]:
    """Return the values of an axis that a condition can tell apart: of a range those that it takes
    and a condition names, and one for all others. A number between two ends is drawn by chance
    only, and is none that could be named, unless a configuration that is given has it."""
    if isinstance(axis.sweep, SweepValues):
        return list(axis.sweep.values)
    taken = [value for value in named if _takes(axis, value, given)]
    return [*taken, _OTHER]


def _takes(axis: Axis, value: Any, given: Sequence[Json]) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if is_among(value, [params.get(axis.path) for params in given]):
        return True
    if axis.size is None:
        low, high = axis.ends()
        return bool(low == high == value)
    return bool(axis.point(axis.index_of(value)) == value)


def _way_out(axis: Axis, deciding: Sequence[Axis], some: Sequence[Json]) -> str:
    """Say what a path that decides is instead, or that no configuration has all together."""
    specs = [axis.beside(params) for params in some]
    for path, wanted in (axis.sweep.when or {}).items():
        values = [value_at(spec, path) for spec in specs]
        if any(is_among(value, wanted) for value in values):
            continue
        if any(each.path == path and each.size is None for each in deciding):
            return (
                f"draws of {path} are any numbers between two ends, and hit none in particular:"
                " give its sweep a count, or values"
            )
        listed = [_said(value, path, deciding) for value in _distinct(values)]
        more = ", …" if len(listed) > _VALUES_SHOWN else ""
        unwritten = (
            " (a default counts where it is written out, and is null else)"
            if None in values
            else ""
        )
        return f"{path} comes to {', '.join(listed[:_VALUES_SHOWN])}{more}{unwritten}"
    return "each of its parts holds somewhere, but never all together: leave one out"


def _distinct(values: Sequence[Any]) -> Iterable[Any]:
    return {json.dumps(value, sort_keys=True): value for value in values}.values()


def _said(value: Any, path: str, deciding: Sequence[Axis]) -> str:
    if value is not _OTHER:
        return shown(value)
    ends = next(axis for axis in deciding if axis.path == path).ends()
    low, high = ends[0], ends[-1]
    return f"other numbers from {low:g} to {high:g}"
