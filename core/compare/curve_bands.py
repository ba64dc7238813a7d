"""Curves of many runs: which of them a picture shows, and each configuration's as a band."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from core.compare import parameters
from core.compare.parameters import is_choice
from core.specs.base import Json

Floats = NDArray[np.float64]

CELLS: Final = 150
MOST_SHOWN: Final = 8
MOST_TUNED: Final = 5
MOST_OTHERS: Final = 60
MOST_RUNS: Final = 100
"""Most runs of one configuration that are shown: the first ones."""


@dataclass(frozen=True)
class Shown:
    """A configuration in the picture.

    Attributes:
        label: what it is, in a few words.
        row: of the comparison.
        runs: their numbers, a repeat each.
    """

    label: str
    row: Json
    runs: tuple[int, ...]


@dataclass(frozen=True)
class CurvePlan:
    """The plan of the picture of the curves.

    Attributes:
        kind, column: the history whose rows to read, and the column beside `step`.
        shown: best first, each in a colour of its own.
        others: runs that are drawn in grey, the first repeat of each other configuration.
    """

    kind: Literal["train", "eval"]
    column: str
    shown: tuple[Shown, ...]
    others: tuple[int, ...]

    @property
    def runs(self) -> tuple[int, ...]:
        """The runs whose rows are needed."""
        return (*(run for one in self.shown for run in one.runs), *self.others)


def curve_plan(comparison: Json) -> CurvePlan:
    """Choose what to show of a study: the best configuration of each choice (what the words among
    the parameters say: an optimizer's kind), at most 8; where there is one choice only, the 5 best.
    What was inherited has no rows here.

    Args:
        comparison: `comparison.compare` of the study.
    """
    own = [row for row in comparison["configurations"] if not row["inherited"]]
    rows = sorted(own, key=lambda row: int(row["rank"]))
    leaves = [parameters.leaves(row["params"]) for row in rows]
    paths = parameters.varying(leaves)
    words = [
        parameters.key({path: one[path] for path in paths if path in one and is_choice(one[path])})
        for one in leaves
    ]
    first = {word: at for at, word in reversed(list(enumerate(words)))}
    if len(first) > 1:
        chosen = sorted(first.values())[:MOST_SHOWN]
    else:
        chosen = list(range(min(len(rows), MOST_TUNED)))
    others = [row for at, row in enumerate(rows) if at not in set(chosen)]
    name = str(comparison["metric"]["name"])
    return CurvePlan(
        kind="eval" if name.startswith("eval.") else "train",
        column=name.removeprefix("eval."),
        shown=tuple(
            Shown(
                parameters.label(parameters.pick(leaves[at], paths)),
                rows[at],
                _runs(rows[at])[:MOST_RUNS],
            )
            for at in chosen
        ),
        others=tuple(_runs(row)[0] for row in _thinned(others)),
    )


def _runs(row: Json) -> tuple[int, ...]:
    repeats = len(row["values"])
    return tuple(range(row["configuration"] * repeats, (row["configuration"] + 1) * repeats))


def _thinned(rows: Sequence[Json]) -> list[Json]:
    if len(rows) <= MOST_OTHERS:
        return list(rows)
    return [rows[at] for at in np.linspace(0, len(rows) - 1, MOST_OTHERS).astype(int)]


@dataclass(frozen=True)
class Band:
    """The band of one configuration: the median of its runs, and from their least to their
    largest."""

    step: Floats
    middle: Floats
    low: Floats
    high: Floats


def band(curves: Sequence[tuple[Floats, Floats]]) -> Band:
    """Return the median of the curves, and their extremes.

    The steps are cut into at most 150 equal cells, and a run's value in a cell is the mean of its
    rows there (batches are noisy, a picture has few columns); where it has none, it is read off
    between its neighbours. What is not finite is worse than all else, and stays so to the end:
    the band is not of the survivors alone. It ends where fewer than half of the runs go on.

    Args:
        curves: (steps, values) of each run; a run without rows does not count.
    """
    rows = [
        (np.asarray(step, dtype=np.float64), np.asarray(value, dtype=np.float64))
        for step, value in curves
        if len(step)
    ]
    if not rows:
        empty = np.zeros(0)
        return Band(empty, empty, empty, empty)
    last = max(float(step[-1]) for step, _ in rows)
    distinct = np.unique(np.concatenate([step for step, _ in rows]))
    at = distinct if len(distinct) <= CELLS else (np.arange(CELLS) + 0.5) * (last + 1.0) / CELLS
    values = np.stack([_on(at, step, value) for step, value in rows])
    there = ~np.isnan(values)
    known = there.sum(axis=0) * 2 >= len(rows)
    values, at, there = values[:, known], at[known], there[:, known]
    high = np.where(there, values, -np.inf).max(axis=0)
    low = np.where(there, values, np.inf).min(axis=0)
    return Band(at, _median(values), low, high)


def _on(at: Floats, step: Floats, value: Floats) -> Floats:
    """Return one run's values at these places: NaN before its first and after its last row,
    infinite from its first value that is not finite on."""
    value = np.where(np.isfinite(value), value, np.inf)
    lost = np.flatnonzero(np.isinf(value))
    until = step[lost[0]] if lost.size else np.inf
    step, value = step[step < until], value[step < until]
    found = np.full(len(at), np.nan)
    if step.size:
        half = 0.5 * (at[1] - at[0]) if len(at) > 1 else 0.5
        middle, mean = _in_cells(at, half, step, value) if len(at) == CELLS else (step, value)
        inside = (at >= step[0] - half) & (at <= step[-1] + half)
        found[inside] = np.interp(at[inside], middle, mean)
    found[at >= until] = np.inf
    return found


def _in_cells(at: Floats, half: float, step: Floats, value: Floats) -> tuple[Floats, Floats]:
    cell = np.clip(((step - at[0] + half) / (2.0 * half)).astype(int), 0, len(at) - 1)
    count = np.bincount(cell, minlength=len(at))
    held = np.flatnonzero(count)
    total = np.bincount(cell, weights=value, minlength=len(at))
    return at[held], total[held] / count[held]


def _median(values: Floats) -> Floats:
    """Return the median of each column, NaN left out; the middle of a finite and an infinite value
    is infinite."""
    ordered = np.sort(values, axis=0)
    num = (~np.isnan(values)).sum(axis=0)
    columns = np.arange(values.shape[1])
    lower, upper = ordered[(num - 1) // 2, columns], ordered[num // 2, columns]
    middle: Floats = np.where(lower == upper, lower, 0.5 * lower + 0.5 * upper)
    return middle
