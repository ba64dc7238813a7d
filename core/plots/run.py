"""Pictures of a run: loss, learning rate, and the path over a function's contours.

matplotlib is imported on the first call only, and used through its object interface (no pyplot, no
global figure), so that any thread may draw; drawing itself goes through one lock, since the caches
of fonts and texts are shared. The same input gives the same bytes.
"""

import io
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from core.diagnosis.marks import HUGE, marks_of
from core.errors import FieldError, InvalidInputError
from core.plots.loss import draw_loss, draw_verdict
from core.plots.style import BLUE, GREY, ORANGE, RED, Floats, say_empty, whole_steps
from core.specs.base import Json, stored
from core.specs.direction import sign_of_job
from core.specs.formulas.parser import parse
from core.specs.formulas.tree import variables
from core.specs.formulas.values import dimension, domain, value_at
from core.specs.functions import Expression
from core.specs.job import FunctionProblem, JobSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Columns = Mapping[str, Floats]
PlotKind = Literal["loss", "lr", "path"]
PlotFormat = Literal["svg", "png"]

PLOT_KINDS: Final[tuple[PlotKind, ...]] = ("loss", "lr", "path")
PLOT_FORMATS: Final[tuple[PlotFormat, ...]] = ("svg", "png")

WIDTH_PX, HEIGHT_PX, DPI = 900, 540, 100
_LOCK = threading.Lock()
_STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#4a5568",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e2e8f0",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "svg.hashsalt": "thalweg",
    "svg.fonttype": "path",
}


def render(
    kind: PlotKind,
    format: PlotFormat,  # noqa: A002 (the query parameter's name)
    spec: Json | JobSpec,
    columns: Columns,
    evaluation: Columns | None = None,
    *,
    outcome: str | None = None,
    best: Json | None = None,
    diagnosis: Json | None = None,
) -> bytes:
    """Draw a picture of 900 × 540 pixels.

    Args:
        kind: `loss`, `lr`, or `path` (functions of two variables only).
        format: `svg` or `png`.
        spec: resolved, as model or JSON.
        columns: training rows, in full or a downsampled view: `step` and what the kind needs
            (`loss`; `lr`; `x` of two columns). No rows at all give a picture that says so.
        evaluation: evaluation rows (`step`, `loss`) to lay over the loss.
        outcome: the job's outcome, named in the title.
        best: the record's `{"step", "loss"}`, marked on the loss.
        diagnosis: the record's; the verdict heads the picture of the loss, and its triggered
            findings are marked where they lie (`grad_norm` in `columns` places its spikes).

    Raises:
        InvalidInputError: a path of anything but a function of two variables.
    """
    model = spec if isinstance(spec, JobSpec) else _read(spec)
    if kind == "path" and not path_is_possible(model):
        raise InvalidInputError(
            [
                FieldError(
                    "kind",
                    "unsupported",
                    "kind 'path' needs a function of two variables; use 'loss' or 'lr' here",
                )
            ]
        )

    def draw(figure: "Figure", axes: "Axes") -> None:
        if kind == "loss":
            marks = marks_of(diagnosis, columns, sign_of_job(model))
            draw_loss(axes, columns, evaluation, best, marks)
            if diagnosis is not None:
                draw_verdict(axes, diagnosis)
        elif kind == "lr":
            _lr(axes, columns)
        else:
            draw_path(figure, axes, model, columns)

    return picture(format, title(model, outcome), draw)


def picture(
    format: PlotFormat,  # noqa: A002
    heading: str,
    draw: Callable[["Figure", "Axes"], None],
) -> bytes:
    """Return the bytes of what `draw` puts on one pair of axes, in the service's style."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with _LOCK, mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH_PX / DPI, HEIGHT_PX / DPI), dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        draw(figure, axes)
        axes.set_title(heading, loc="left", color="#2d3748", parse_math=False)
        return _bytes(figure, format)


def _read(spec: Json) -> JobSpec:
    found: JobSpec = stored(JobSpec, spec)
    return found


def title(spec: JobSpec, outcome: str | None) -> str:
    """Return the picture's title."""
    problem, optimizer = spec.problem, spec.optimizer
    if isinstance(problem, FunctionProblem):
        what = problem.function.kind.replace("_", " ")
        if isinstance(problem.function, Expression):
            text = problem.function.expression
            what = text if len(text) <= 48 else text[:47] + "…"
    else:
        name = getattr(problem.data, "name", problem.data.kind)
        what = f"{name}, {problem.model.kind}"
    ending = f" · {outcome.replace('_', ' ')}" if outcome else ""
    return f"{what} · {optimizer.kind}, lr {optimizer.lr:g}{ending}"


def _bytes(figure: "Figure", format: PlotFormat) -> bytes:  # noqa: A002
    out = io.BytesIO()
    if format == "svg":
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": "Thalweg"})
    else:
        figure.savefig(out, format="png", dpi=DPI, metadata={"Software": "Thalweg"})
    return out.getvalue()


def _lr(axes: "Axes", columns: Columns) -> None:
    step, lr = np.asarray(columns["step"]), np.asarray(columns["lr"])
    finite = np.isfinite(lr)
    step, lr = step[finite], lr[finite]
    if step.size == 0:
        return say_empty(axes)
    axes.plot(step, lr, color=BLUE, lw=1.6, drawstyle="steps-post")
    # A decay by factors; a cosine or a ramp is better seen on a linear axis.
    if bool(lr.min() > 0) and bool(np.median(lr) < lr.max() / 50.0):
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, float(lr.max()) * 1.08 or 1.0)
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate")
    axes.margins(x=0.02)
    whole_steps(axes)
    return None


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
        losses = np.asarray(columns["loss"])
        _contours(figure, axes, problem, limits, losses, sign_of_job(spec))
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
    sign: float,
) -> None:
    """Draw filled contours, their levels evenly spaced in the logarithm above the lowest value
    (below the highest one, where the loss is maximized: `sign`)."""
    first, second = (np.linspace(*side, 160) for side in limits)
    grid = np.stack(np.meshgrid(first, second), axis=-1)
    values = sign * np.asarray(value_at(problem.function, grid), dtype=np.float64)
    loss = sign * loss
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
    shown = [sign * (low + np.exp(each) - offset) for each in ticks]
    bar.set_ticks(list(ticks), labels=[f"{each:.3g}" for each in shown])
    bar.set_label("loss")
    bar.outline.set_visible(False)
