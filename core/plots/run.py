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

from core.errors import FieldError, InvalidInputError
from core.plots.loss import draw_loss, draw_verdict
from core.plots.marks import marks_of
from core.plots.path import draw_path, path_is_possible
from core.plots.style import BLUE, Floats, Json, say_empty, whole_steps
from core.specs.functions import Expression
from core.specs.job import FunctionProblem, JobSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PLOT_FORMATS", "PLOT_KINDS", "path_is_possible", "picture", "render", "title"]

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
            maximized = getattr(model.optimizer, "maximize", False)
            marks = marks_of(diagnosis, columns, maximized=maximized)
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
    """Return the bytes of what `draw` puts on one pair of axes, in the house's style."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with _LOCK, mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH_PX / DPI, HEIGHT_PX / DPI), dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        draw(figure, axes)
        axes.set_title(heading, loc="left", color="#2d3748", parse_math=False)
        return _bytes(figure, format)


def _read(spec: Json) -> JobSpec:
    import json

    return JobSpec.model_validate_json(json.dumps(spec))


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
