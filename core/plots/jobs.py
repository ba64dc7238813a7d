"""Picture of a comparison of jobs: a metric's curves on one axis, and bands over seeds."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.compare import parameters
from core.diagnosis.marks import HUGE
from core.plots.run import PlotFormat, picture
from core.plots.style import COLOURS, STYLES, Floats, draw_key, say_empty, whole_steps
from core.specs.base import Json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_AXES: Final = {"step": "step", "epoch": "epoch", "time_s": "seconds of training"}
_MOST_NAMED: Final = 8
_GREY: Final = "#cbd5e0"
Mask = NDArray[np.bool_]


def render(
    format: PlotFormat,  # noqa: A002 (the query parameter's name)
    comparison: Json,
    metric: str,
) -> bytes:
    """Draw a picture of 900 × 540 pixels.

    Args:
        format: `svg` or `png`.
        comparison: of the jobs (`core.compare.jobs.compare`).
        metric: one of its curves.
    """
    rows = comparison["jobs"]
    heading = f"{len(rows):,} jobs · {metric}"

    def draw(_figure: "Figure", axes: "Axes") -> None:
        _draw(axes, comparison, metric)

    return picture(format, heading, draw)


def _draw(axes: "Axes", comparison: Json, metric: str) -> None:
    x = np.asarray(comparison["curves"]["x"], dtype=np.float64)
    curves = {job: _column(shown) for job, shown in comparison["curves"][metric].items()}
    finite = [curve.values[curve.drawn] for curve in curves.values()]
    seen = np.concatenate(finite) if finite else np.zeros(0)
    if not seen.size:
        return say_empty(axes)
    low, high = _limits(list(curves.values()), seen, falls=_falls(comparison, metric))
    logarithmic = low > 0.0 and high > 20.0 * low
    if logarithmic:
        axes.set_yscale("log")
    room = (high / low) ** 0.05 if logarithmic else 0.05 * (high - low)
    axes.set_ylim(*((low / room, high * room) if logarithmic else (low - room, high + room)))
    groups = comparison["groups"] if metric == "loss" else []
    of_group = {job: at for at, group in enumerate(groups) for job in group["jobs"]}
    place = 0
    for group in groups:
        _draw_group(axes, x, comparison, group, place)
        place += 1
    for row in _in_order(comparison, metric):
        if row["id"] in curves and row["id"] not in of_group:
            label = _label(row, comparison, metric)
            _draw_job(axes, x, curves[row["id"]], place, label, metric)
            place += 1
    if place > _MOST_NAMED:
        axes.plot([], [], color=_GREY, lw=1.0, label=f"{place - _MOST_NAMED:,} others")
    axes.set_xlabel(_AXES[comparison["axis"]])
    axes.set_ylabel(f"{metric} (log scale)" if logarithmic else metric)
    axes.margins(x=0.02)
    if comparison["axis"] == "step":
        whole_steps(axes)
    told = "line: median of the seeds, band: least to largest" if groups else None
    draw_key(axes, told)
    return None


def _in_order(comparison: Json, metric: str) -> list[Json]:
    """Return the jobs that have the metric in the order in which they get colours: as they are
    named; where they are too many, the baseline and those that end best."""
    rows = [row for row in comparison["jobs"] if metric in row["metrics"]]
    if len(rows) <= _MOST_NAMED:
        return rows
    sign = 1.0 if _falls(comparison, metric) else -1.0

    def rank(row: Json) -> tuple[bool, bool, float]:
        final = row["metrics"][metric]["final"]
        finite = math.isfinite(final)
        return row["id"] != comparison["baseline"], not finite, sign * final if finite else 0.0

    return sorted(rows, key=rank)


def _falls(comparison: Json, metric: str) -> bool:
    """Tell whether the metric is to fall, in the first job that has it."""
    goals = [
        job["metrics"][metric]["goal"] for job in comparison["jobs"] if metric in job["metrics"]
    ]
    return goals[:1] != ["max"]


def _limits(curves: "Sequence[_Column]", seen: Floats, *, falls: bool) -> tuple[float, float]:
    """Return the limits of the axis. A curve that goes far the wrong way leaves the picture rather
    than flatten all others."""
    low, high = float(seen.min()), float(seen.max())
    starts = [float(curve.values[curve.drawn][0]) for curve in curves if curve.drawn.any()]
    if falls and max(starts) > low:
        high = min(high, max(starts) + 0.5 * (max(starts) - low))
    elif not falls and min(starts) < high:
        low = max(low, min(starts) - 0.5 * (high - min(starts)))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


class _Column(NamedTuple):
    """Values at the places of the axis, NaN where there are none.

    Attributes:
        drawn: where they are finite.
        lost: whether one that was recorded is not.
    """

    values: Floats
    drawn: Mask
    lost: bool


def _column(shown: Sequence[float | None]) -> _Column:
    values = np.array([math.nan if value is None else value for value in shown])
    drawn = np.isfinite(values) & (np.abs(values) < HUGE)
    lost = any(value is not None and not math.isfinite(value) for value in shown)
    return _Column(values, drawn, lost)


def _draw_job(axes: "Axes", x: Floats, curve: _Column, place: int, label: str, metric: str) -> None:
    named = place < _MOST_NAMED
    colour = COLOURS[place] if named else _GREY
    few = "o" if curve.drawn.sum() <= 3 else ""
    axes.plot(
        x[curve.drawn], curve.values[curve.drawn], color=colour,
        ls=STYLES[place] if named else "-", lw=1.6 if named else 0.8, marker=few, ms=3,
        zorder=4 - 0.1 * place if named else 1, label=label if named else None,
        drawstyle="default" if metric == "loss" else "steps-post",
    )  # fmt: skip
    _mark_lost(axes, x, curve, colour)


def _mark_lost(axes: "Axes", x: Floats, curve: _Column, colour: str) -> None:
    """Mark the last finite value of a curve with rows that are not."""
    at = np.flatnonzero(curve.drawn)
    if curve.lost and at.size:
        last, (low, high) = at[-1], axes.get_ylim()
        level = min(max(float(curve.values[last]), low), high)
        axes.plot(x[last], level, color=colour, marker="X", ms=9, ls="", zorder=5, clip_on=False)


def _draw_group(axes: "Axes", x: Floats, comparison: Json, group: Json, place: int) -> None:
    named = place < _MOST_NAMED
    colour = COLOURS[place] if named else _GREY
    low, middle, high = (_column(group["band"][name]) for name in ("low", "mid", "high"))
    first = next(row for row in comparison["jobs"] if row["id"] == group["jobs"][0])
    label = f"{_name(first, comparison, without='seed')} · {len(group['jobs'])} seeds"
    axes.plot(
        x[middle.drawn], middle.values[middle.drawn], color=colour, lw=1.8,
        zorder=4 - 0.1 * place, label=label if named else None,
    )  # fmt: skip
    _mark_lost(axes, x, middle, colour)
    edge = ~np.isnan(low.values)
    bottom, top = (np.clip(each.values[edge], -HUGE, HUGE) for each in (low, high))
    axes.fill_between(x[edge], bottom, top, color=colour, alpha=0.16, lw=0, zorder=2)


def _label(row: Json, comparison: Json, metric: str) -> str:
    final = row["metrics"][metric]["final"]
    told = f"{final:.4g}" if math.isfinite(final) else "not finite"
    mark = " · baseline" if row["id"] == comparison["baseline"] else ""
    return f"{_name(row, comparison)}: {told}{mark}"


def _name(row: Json, comparison: Json, without: str = "") -> str:
    """Describe a job: its name, or else what differs and all of them have, kinds first, or else its
    id."""
    if row["name"]:
        return str(row["name"])[:60]
    shared = [
        path
        for path in row["differs"]
        if path != without and all(path in other["differs"] for other in comparison["jobs"])
    ]
    shared.sort(key=lambda path: path.rpartition(".")[2] not in ("kind", "name"))
    return parameters.label(parameters.pick(row["differs"], shared)) or str(row["id"])
