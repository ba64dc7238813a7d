"""Comparison of jobs: what differs in their specs, their metrics, their curves on one axis, and
bands of those that differ by their seed alone."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from core.compare import parameters
from core.specs.base import Json
from core.specs.direction import Goal, goal_of_stored, sign_of
from core.specs.losses import EVAL, METRICS
from core.specs.parsing.continuation import FREE

Floats = NDArray[np.float64]
Axis = Literal["step", "epoch", "time_s"]

LONGEST_VALUE: Final = 2_000
"""Characters of a value's JSON up to which it is shown: rows of inline data are not."""
_NEAR: Final = 1e-9
"""Share of an axis within which two places are one."""
_NOT_OF_THE_DESCENT: Final = tuple(FREE - {"budget", "start_from"})


@dataclass(frozen=True)
class Series:
    """A metric of one job, from its history.

    Attributes:
        final: the last row's value.
        best, best_step: of its finite rows; None without any.
    """

    final: float
    best: float | None
    best_step: int | None

    @classmethod
    def of(cls, steps: Floats, values: Floats, goal: Goal) -> "Series":
        """Look at rows, of which there is one at least. They hold each extreme and the last row,
        whatever else was left out."""
        final = float(values[-1])
        finite = np.flatnonzero(np.isfinite(values))
        if not finite.size:
            return cls(final, None, None)
        at = finite[int(np.argmin(sign_of(goal) * values[finite]))]
        return cls(final, float(values[at]), int(steps[at]))


TEST: Final = "test."


def test_series(result: Json) -> dict[str, Series]:
    """Return the metrics of a result's test: `best` is what the best weights came to, which is not
    the better of the two."""
    test = result.get("test")
    if test is None:
        return {}
    best = test["best"] or {}
    return {
        f"{TEST}{name}": Series(_float(value), _float(best.get(name)), best.get("step"))
        for name, value in test["final"].items()
        if name != "step" and not isinstance(value, list)
    }


def _float(value: Any) -> Any:
    """Return a number of a result, whose non-finite ones may be texts."""
    return None if value is None else float(value)


@dataclass(frozen=True)
class Compared:
    """A job in the comparison.

    Attributes:
        facts: `id`, `name`, `status`, `outcome`, `verdict`, `num_steps`, `train_s`.
        spec: resolved.
        series: of each metric that has rows: `loss`, `eval.loss`, `eval.accuracy`, …, and of those
            of the test, `test.loss`, …, which have none: final and best are of these weights.
        curves: of each metric, its values at the places of the common axis; NaN, with `known`
            false, where it has no row yet or none any more.
    """

    facts: Json
    spec: Json
    series: Mapping[str, Series] = field(default_factory=dict)
    curves: Mapping[str, "Curve"] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return str(self.facts["id"])


@dataclass(frozen=True)
class Curve:
    """Values at the places of an axis, as they were recorded."""

    values: Floats
    known: NDArray[np.bool_]

    @property
    def shown(self) -> list[float | None]:
        """The values; None where there is none."""
        pairs = zip(self.values.tolist(), self.known.tolist(), strict=True)
        return [value if known else None for value, known in pairs]


def goal_of_metric(name: str, spec: Json) -> Goal:
    """Return whether a metric of a job is to fall (`min`) or to rise (`max`)."""
    metric = name.removeprefix(EVAL).removeprefix("test.")
    return goal_of_stored(spec) if metric == "loss" else METRICS[metric].goal or "min"


def common_axis(lines: Sequence[Floats], marked: Sequence[Floats], points: int) -> Floats:
    """Return the places at which all curves are read: at most `points` in equal distances, from the
    first row of all to the last, and beside them each history's last row and what is `marked`.

    Args:
        lines: of each history its rows' places, rising.
        marked: places of rows that must be seen: those that are not finite.
    """
    lines = [line for line in lines if len(line)]
    if not lines:
        return np.zeros(0)
    low, high = min(line[0] for line in lines), max(line[-1] for line in lines)
    even = np.linspace(low, high, points)
    if all(float(end).is_integer() for end in (low, high)) and high - low >= points:
        even = np.round(even)
    elif all((line == np.round(line)).all() for line in lines):
        even = np.unique(np.round(even))
    exact = np.unique(np.concatenate([[line[-1] for line in lines], *marked]))
    # Of an even place and a row's that are one but for rounding, the row's is taken.
    near = np.abs(even[:, None] - exact[None]).min(axis=1) <= _NEAR * (high - low)
    axis: Floats = np.unique(np.concatenate([even[~near], exact]))
    return axis


def rows_at(line: Floats, axis: Floats) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the row that a history had reached at each place of the axis: the last one there or
    before; and where it had one, and was not over.

    Args:
        line: the places of its rows, rising.
    """
    reach = axis + _NEAR * (axis[-1] - axis[0]) if len(axis) else axis
    rows = np.searchsorted(line, reach, side="right") - 1
    known = rows >= 0
    if len(line):
        known &= axis <= line[-1]
    return np.maximum(rows, 0), known


def compare(jobs: Sequence[Compared], axis: Floats, *, baseline: str | None, x: Axis) -> Json:
    """Return the body of `GET /v1/comparison`. Its numbers may be non-finite."""
    differs, same = differing([job.spec for job in jobs])
    base = next((job for job in jobs if job.id == baseline), None)
    names = list(dict.fromkeys(name for job in jobs for name in job.series))
    curves: Json = {"x": axis.tolist()}
    for name in (each for each in names if not each.startswith(TEST)):
        curves[name] = {job.id: job.curves[name].shown for job in jobs if name in job.curves}
    return {
        "jobs": [
            {**job.facts, "differs": own, "metrics": _metrics(job, base)}
            for job, own in zip(jobs, differs, strict=True)
        ],
        "same": same,
        "baseline": baseline,
        "axis": x,
        "curves": curves,
        "groups": [
            {"jobs": [jobs[at].id for at in group], "band": band([jobs[at] for at in group])}
            for group in equal_but_for_the_seed([job.spec for job in jobs])
        ],
    }


def _metrics(job: Compared, base: Compared | None) -> Json:
    found: Json = {}
    for name, series in job.series.items():
        other = None if base is None else base.series.get(name)
        found[name] = {
            "goal": goal_of_metric(name, job.spec),
            "final": series.final,
            "best": series.best,
            "best_step": series.best_step,
            "change": None if other is None else _change(series, other),
        }
    return found


def _change(series: Series, base: Series) -> Json:
    best = None
    if series.best is not None and base.best is not None:
        best = series.best - base.best
    return {"final": series.final - base.final, "best": best}


def differing(specs: Sequence[Json]) -> tuple[list[Json], Json]:
    """Return of each spec what is not the same in all, by dotted path, and what is. Long values are
    told by their size and digest."""
    leaves = [parameters.leaves(spec) for spec in specs]
    paths = parameters.varying(leaves)
    apart = set(paths)
    same = {path: _short(value) for path, value in leaves[0].items() if path not in apart}
    return [{path: _short(one[path]) for path in paths if path in one} for one in leaves], same


def _short(value: Any) -> Any:
    if not isinstance(value, list | str) or len(value) == 0:
        return value
    text = parameters.key(value)
    if len(text) <= LONGEST_VALUE:
        return value
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"size_bytes": len(text), "sha256": digest}


def equal_but_for_the_seed(specs: Sequence[Json]) -> list[list[int]]:
    """Return the groups, of two or more, of specs that differ by `seed` alone. Fields on which no
    step depends (labels, priority and the like) may differ."""
    groups: dict[str, list[int]] = {}
    for at, spec in enumerate(specs):
        rest = {k: v for k, v in spec.items() if k != "seed" and k not in _NOT_OF_THE_DESCENT}
        groups.setdefault(parameters.key(rest), []).append(at)
    return [
        group
        for group in groups.values()
        if len(group) > 1 and len({parameters.key(specs[at].get("seed")) for at in group}) > 1
    ]


def band(jobs: Sequence[Compared]) -> Json:
    """Return the band of jobs' losses: at each place of the axis the least, the median and the
    largest of those that have a row there, None where fewer than half have. What is not finite is
    worse than all else."""
    curves = [job.curves["loss"] for job in jobs if "loss" in job.curves]
    if not curves:
        return {"low": [], "mid": [], "high": []}
    worst = sign_of(goal_of_stored(jobs[0].spec)) * math.inf
    values = np.stack([np.where(np.isfinite(c.values), c.values, worst) for c in curves])
    known = np.stack([curve.known for curve in curves])
    found: dict[str, list[float | None]] = {"low": [], "mid": [], "high": []}
    for column, mask in zip(values.T, known.T, strict=True):
        here = np.sort(column[mask])
        if 2 * len(here) < len(jobs):
            for each in found.values():
                each.append(None)
            continue
        left, right = here[(len(here) - 1) // 2], here[len(here) // 2]
        found["low"].append(float(here[0]))
        found["mid"].append(float(left if left == right else left / 2 + right / 2))
        found["high"].append(float(here[-1]))
    return dict(found)
