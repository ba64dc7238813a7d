"""The path of a point in the plane, over the function's contours."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from core.plots.style import GREY, HUGE, ORANGE, RED, Floats, say_empty
from core.specs.formulas.parser import parse, variables
from core.specs.formulas.values import dimension, domain, value_at
from core.specs.functions import Expression
from core.specs.job import FunctionProblem, JobSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def path_is_possible(spec: JobSpec) -> bool:
    """Tell whether a path can be drawn over contours: functions of two variables."""
    problem = spec.problem
    return isinstance(problem, FunctionProblem) and dimension(problem.function) == 2


def draw_path(figure: "Figure", axes: "Axes", spec: JobSpec, columns: Mapping[str, Floats]) -> None:
    problem = spec.problem
    assert isinstance(problem, FunctionProblem)
    points = np.asarray(columns["x"], dtype=np.float64).reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) == 0:
        return say_empty(axes)
    rotated = getattr(problem.function, "rotation_seed", None) is not None
    shown, limits, cut = _frame(points, problem)
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])
    if not rotated:
        _contours(figure, axes, problem, limits, np.asarray(columns["loss"]))
    few = "o" if len(shown) <= 200 else ""
    axes.plot(shown[:, 0], shown[:, 1], color=ORANGE, lw=1.4, marker=few, ms=3, zorder=4)
    axes.plot(*shown[0], marker="o", color=GREY, mec="white", ms=9, ls="", zorder=5, label="start")
    label = "last point shown" if cut else "end"
    axes.plot(*shown[-1], marker="*", color=RED, mec="white", ms=15, ls="", zorder=6, label=label)
    names = ("x1", "x2")
    if isinstance(problem.function, Expression):
        names = variables(parse(problem.function.expression))  # type: ignore[assignment]
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.grid(visible=False)
    legend = axes.legend(loc="upper right", frameon=True, framealpha=0.85, edgecolor="none")
    legend.set_zorder(7)
    return None


def _frame(
    points: Floats, problem: FunctionProblem
) -> tuple[Floats, tuple[tuple[float, float], tuple[float, float]], bool]:
    """Return the points worth showing, the picture's limits, and whether a runaway end was left
    out."""
    home = np.abs(points[: max(2, len(points) // 20)]).max(initial=1.0)
    intervals = domain(problem.function)
    if intervals is not None:
        home = max(home, float(np.abs(np.array(intervals)).max()))
    far = np.flatnonzero(np.abs(points).max(axis=1) > 20.0 * home)
    cut = bool(far.size)
    if cut:
        points = points[: max(1, int(far[0]))]
    low, high = points.min(axis=0), points.max(axis=0)
    if intervals is not None:
        # A little of the surroundings, but never so much that a short path is lost in them.
        box = np.array(intervals)
        room = 0.25 * (high - low) + 0.02 * (box[:, 1] - box[:, 0])
    else:
        room = 0.25 * (high - low) + 0.1 * max(1e-3, float((high - low).max()))
    # Neither side thinner than a third of the other, so that the path can be followed.
    spans = high - low + 2.0 * room
    room += np.maximum(0.0, (spans.max() / 3.0 - spans) / 2.0)
    low, high = low - room, high + room
    return points, ((float(low[0]), float(high[0])), (float(low[1]), float(high[1]))), cut


def _contours(
    figure: "Figure",
    axes: "Axes",
    problem: FunctionProblem,
    limits: tuple[tuple[float, float], tuple[float, float]],
    loss: Floats,
) -> None:
    """Draw filled contours, their levels evenly spaced in the logarithm above the lowest value."""
    first, second = (np.linspace(*side, 160) for side in limits)
    grid = np.stack(np.meshgrid(first, second), axis=-1)
    values = np.asarray(value_at(problem.function, grid), dtype=np.float64)
    values = np.where(np.abs(values) < HUGE, values, np.nan)
    known = values[np.isfinite(values)]
    if known.size == 0 or known.max() <= known.min():
        return
    low = min(float(known.min()), float(np.nanmin(loss)) if np.isfinite(loss).any() else np.inf)
    span = float(known.max()) - low
    offset = max(1e-3 * span, 1e-300)
    heights = np.log(np.maximum(values - low, 0.0) + offset)
    levels = np.linspace(np.log(offset), np.log(span + offset), 22)
    levels[-1] += 1e-9 * abs(levels[-1]) + 1e-12
    filled = axes.contourf(first, second, heights, levels=levels, cmap="GnBu_r", alpha=0.9)
    axes.contour(first, second, heights, levels=levels, colors="white", linewidths=0.4, alpha=0.6)
    bar = figure.colorbar(filled, ax=axes, pad=0.02, aspect=30)
    ticks = levels[::3]
    bar.set_ticks(list(ticks), labels=[f"{low + np.exp(each) - offset:.3g}" for each in ticks])
    bar.set_label("loss")
    bar.outline.set_visible(False)
