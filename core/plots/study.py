"""Pictures of a study: its best configurations' curves as bands, and the performance profile."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from core.compare import parameters
from core.compare.curve_bands import Band, CurvePlan, Shown, band, curve_plan
from core.diagnosis.marks import HUGE
from core.errors import FieldError, InvalidInputError
from core.plots.run import PlotFormat, picture
from core.plots.style import COLOURS, GREY, STYLES, draw_key, say_empty, whole_steps
from core.specs.base import Json
from core.specs.direction import sign_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
Curves = Mapping[int, tuple[Floats, Floats]]
StudyPlotKind = Literal["curves", "profile"]

STUDY_PLOT_KINDS: Final[tuple[StudyPlotKind, ...]] = ("curves", "profile")


def render(
    kind: StudyPlotKind,
    format: PlotFormat,  # noqa: A002 (the query parameter's name)
    comparison: Json,
    curves: Curves | None = None,
) -> bytes:
    """Draw a picture of 900 × 540 pixels.

    Args:
        kind: `curves` or `profile`.
        format: `svg` or `png`.
        comparison: of the study (`core.compare.comparison.compare`).
        curves: for `curves`, by the numbers of runs the steps and values of those that
            `core.compare.curve_bands.curve_plan(comparison).runs` asks for; those without rows may
            be left out.

    Raises:
        InvalidInputError: a profile of a study that has none.
    """
    if kind == "profile" and comparison["profile"] is None:
        raise InvalidInputError(
            [
                FieldError(
                    "kind",
                    "unsupported",
                    f"kind 'profile' is not to be had: {comparison['profile_reason']} Use 'curves'",
                )
            ]
        )

    def draw(_figure: "Figure", axes: "Axes") -> None:
        if kind == "profile":
            _profile(axes, comparison["profile"])
        else:
            _curves(axes, comparison, curve_plan(comparison), curves or {})

    return picture(format, _heading(kind, comparison), draw)


def _heading(kind: StudyPlotKind, comparison: Json) -> str:
    rows = comparison["configurations"]
    repeats = len(rows[0]["values"]) if rows else 0
    size = f"{len(rows):,} configuration{'s' if len(rows) != 1 else ''}"
    size += f" × {repeats:,} repeats" if repeats > 1 else ""
    if kind == "profile":
        return f"{size} · performance profile"
    metric = comparison["metric"]
    said = f" · {_said(comparison)}" if len(rows) > 1 else ""
    return f"{size} · {metric['name']}, {metric['goal']}{said}"


def _said(comparison: Json) -> str:
    if not comparison["complete"]:
        return "not at its end"
    if comparison["winner"] is None:
        return "no clear winner"
    rows = comparison["configurations"]
    leaves = [parameters.leaves(row["params"]) for row in rows]
    paths = parameters.varying(leaves)
    at = next(i for i, row in enumerate(rows) if row["configuration"] == comparison["winner"])
    return f"winner: {parameters.label(parameters.pick(leaves[at], paths))}"


def _curves(axes: "Axes", comparison: Json, plan: CurvePlan, curves: Curves) -> None:
    bands = [(one, band([curves[run] for run in one.runs if run in curves])) for one in plan.shown]
    bands = [(one, found) for one, found in bands if found.step.size]
    greys = [band([curves[run]]) for run in plan.others if run in curves]
    greys = [found for found in greys if found.step.size]
    if not bands and not greys:
        return say_empty(axes)
    low, high = _limits(bands, greys, comparison["metric"])
    logarithmic = low > 0.0 and high > 20.0 * low
    if logarithmic:
        axes.set_yscale("log")
    room = (high / low) ** 0.05 if logarithmic else 0.05 * (high - low)
    axes.set_ylim(*((low / room, high * room) if logarithmic else (low - room, high + room)))
    for place, (one, found) in enumerate(bands):
        _draw_band(axes, found, place, _legend(one))
    for count, found in enumerate(greys):
        label = f"{len(greys):,} others, one run each" if count == 0 else None
        known = np.abs(found.middle) < HUGE
        axes.plot(
            found.step[known], found.middle[known], color="#cbd5e0", lw=0.8, zorder=1, label=label
        )
    target = comparison["metric"].get("target")
    if target is not None:
        axes.axhline(target, color=GREY, lw=1.2, ls=":", zorder=1.5, label=f"target {target:.4g}")
    axes.set_xlabel("step")
    column = comparison["metric"]["name"]
    scale = " (log scale)" if logarithmic else ""
    axes.set_ylabel(f"{column}{scale}")
    axes.margins(x=0.02)
    whole_steps(axes)
    repeats = max(len(one.runs) for one in plan.shown)
    told = "line: median of the repeats, band: least to largest" if repeats > 1 else None
    told = told and f"{told}, number: mean of the metric [95 % interval]"
    draw_key(axes, told)
    return None


def _draw_band(axes: "Axes", found: Band, place: int, label: str) -> None:
    colour = COLOURS[place % len(COLOURS)]
    middle = np.where(np.abs(found.middle) < HUGE, found.middle, np.nan)
    few = "o" if found.step.size <= 60 else ""
    axes.plot(
        found.step,
        middle,
        color=colour,
        lw=1.7,
        ls=STYLES[place % len(STYLES)],
        marker=few,
        ms=3,
        zorder=4 - 0.1 * place,
        label=label,
    )
    lost, known = np.flatnonzero(np.isinf(found.middle)), np.flatnonzero(np.isfinite(middle))
    if lost.size and known.size:
        # No more than half of the runs were finite from here on.
        at = known[-1]
        axes.plot(found.step[at], middle[at], color=colour, marker="X", ms=9, ls="", zorder=5)
    top = np.clip(found.high, -HUGE, HUGE)
    axes.fill_between(
        found.step, np.clip(found.low, -HUGE, HUGE), top, color=colour, alpha=0.16, lw=0, zorder=2
    )


def _legend(one: Shown) -> str:
    """Describe a curve: what it is, its metric, and how many of its runs were lost."""
    row = one.row
    name = one.label or f"configuration {row['configuration']}"
    if row["ci95"] is not None:
        name += f": {row['mean']:.4g} [{row['ci95'][0]:.4g}, {row['ci95'][1]:.4g}]"
    elif row["mean"] is not None:
        name += f": {row['mean']:.4g}"
    for count, what in ((row["num_diverged"], "diverged"), (row["num_failed"], "failed")):
        name += f" · {count} of {row['num_runs']} {what}" if count else ""
    return name + (" · stopped" if row["stopped"] else "")


def _limits(
    bands: list[tuple[Shown, Band]], greys: list[Band], metric: Json
) -> tuple[float, float]:
    """Return the limits of the axis: what the bands' medians and lower ends take up. A run that is
    thrown up leaves the picture rather than flatten all others."""
    seen = [np.concatenate([found.middle, found.low]) for _, found in bands]
    if not seen:
        seen = [found.middle for found in greys]
    if metric.get("target") is not None:
        seen.append(np.array([float(metric["target"])]))
    values = np.concatenate(seen)
    values = values[np.isfinite(values) & (np.abs(values) < HUGE)]
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    starts = [float(found.middle[0]) for _, found in bands if np.isfinite(found.middle[:1]).all()]
    rises = sign_of(metric["goal"]) < 0
    if starts and not rises:
        gap = max(starts) - low
        high = min(high, max(starts) + 0.5 * gap) if gap > 0.0 else high
    elif starts:
        gap = high - min(starts)
        low = max(low, min(starts) - 0.5 * gap) if gap > 0.0 else low
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _profile(axes: "Axes", profile: Json) -> None:
    lines = profile["choices"] or profile["solvers"]
    taus = np.asarray(profile["taus"], dtype=np.float64)
    lines = sorted(lines, key=lambda line: -float(line["steps"]["score"]))
    paths = parameters.varying([line["params"] for line in lines])
    for place, line in enumerate(lines[: len(COLOURS)]):
        name = parameters.label(parameters.pick(line["params"], paths)) or "as in the base"
        axes.plot(
            taus,
            line["steps"]["rho"],
            color=COLOURS[place],
            ls=STYLES[place],
            lw=1.9,
            drawstyle="steps-post",
            zorder=4 - 0.1 * place,
            label=f"{name}: {line['steps']['score']:.3f}",
            clip_on=False,
        )
    if len(lines) > len(COLOURS):
        axes.plot([], [], ls="", label=f"{len(lines) - len(COLOURS):,} more with lower scores")
    axes.set_xlim(1.0, float(taus[-1]))
    axes.set_ylim(0.0, 1.02)
    axes.set_xlabel("τ: at most so many times the steps of the fastest")
    many = profile["num_instances"]
    axes.set_ylabel(f"share of {many:,} instance{'s' if many != 1 else ''} at the target")
    draw_key(axes, "score: area under the profile")
