"""The loss of a run against its steps, with what its diagnosis found marked on it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from core.diagnosis.marks import HUGE, Mark
from core.plots.style import BLUE, GREEN, GREY, ORANGE, RED, Floats, say_empty, whole_steps
from core.specs.base import Json

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_BADGES: Final = {"converged": GREEN, "healthy": GREEN, "undetermined": GREY}
_MARK: Final = "#6b46c1"
_MOST_LABELS: Final = 5
_ROW: Final = 0.06
"""Height of a mark's label, as a share of the axes."""

Columns = Mapping[str, Floats]


def draw_loss(
    axes: "Axes",
    columns: Columns,
    evaluation: Columns | None,
    best: Json | None,
    marks: Sequence[Mark] = (),
) -> None:
    """Draw the curve, its evaluations, its best, its rows that are not finite, and the marks."""
    step, loss = np.asarray(columns["step"]), np.asarray(columns["loss"])
    if step.size == 0:
        return say_empty(axes)
    finite = np.isfinite(loss) & (np.abs(loss) < HUGE)
    seen = [loss[finite]]
    few = "o" if finite.sum() <= 60 else ""
    label = "training loss" if evaluation is not None else "loss"
    axes.plot(step[finite], loss[finite], color=BLUE, lw=1.4, marker=few, ms=3.5, label=label)
    if evaluation is not None and np.size(evaluation["step"]):
        at, value = np.asarray(evaluation["step"]), np.asarray(evaluation["loss"])
        known = np.isfinite(value) & (np.abs(value) < HUGE)
        seen.append(value[known])
        axes.plot(
            at[known],
            value[known],
            color=ORANGE,
            lw=1.2,
            marker="o",
            ms=4,
            label="evaluation loss",
        )
    if best is not None and isinstance(best.get("loss"), (int, float)):
        _mark_best(axes, best)
    values = np.concatenate(seen)
    if _log_axis(values):
        axes.set_yscale("log")
    elif not values.size:
        axes.set_yticks([])
    _mark_nonfinite(axes, step[~finite])
    axes.set_xlabel("step")
    axes.set_ylabel("loss (log scale)" if axes.get_yscale() == "log" else "loss")
    axes.margins(x=0.02)
    whole_steps(axes)
    _mark_findings(axes, marks[:_MOST_LABELS])
    if len(axes.get_legend_handles_labels()[0]) > 1:
        # Below the picture: a long curve leaves no corner free.
        axes.figure.legend(loc="outside lower center", ncols=4)
    return None


def _mark_best(axes: "Axes", best: Json) -> None:
    axes.plot(
        [best["step"]],
        [best["loss"]],
        color=GREEN,
        marker="*",
        ms=13,
        ls="",
        zorder=5,
        label=f"best: {best['loss']:.4g} at step {best['step']:,}",
    )


def _mark_nonfinite(axes: "Axes", steps: Floats) -> None:
    for count, at in enumerate(steps[:200]):
        label = f"not finite from step {int(at):,}" if count == 0 else None
        axes.axvline(at, color=RED, lw=1.4, ls="--", label=label)


def _log_axis(values: Floats) -> bool:
    """Tell whether a curve is better read on a logarithmic axis: positive, over two decades."""
    return values.size > 1 and bool(values.min() > 0) and bool(values.max() > 50 * values.min())


def draw_verdict(axes: "Axes", diagnosis: Json) -> None:
    """Write the verdict with its confidence at the right end of the title's line."""
    verdict, confidence = diagnosis["verdict"], diagnosis.get("confidence")
    text = verdict.replace("_", " ")
    if confidence and verdict != "undetermined":
        text += f" · {confidence:.0%} sure"
    colour = _BADGES.get(verdict, RED)
    box = {"boxstyle": "round,pad=0.35", "facecolor": colour, "edgecolor": "none"}
    layout: Any = axes.figure.get_layout_engine()
    layout.set(h_pad=0.12)  # it reckons with the text, not with the box around it
    axes.text(
        1.0, 1.085, text, ha="right", va="bottom", color="white", weight="bold", bbox=box,
        transform=axes.transAxes,
    )  # fmt: skip


def _mark_findings(axes: "Axes", marks: Sequence[Mark]) -> None:
    """Shade spans and draw single steps as lines, each with its label in a row of its own at the
    top."""
    if not marks:
        return
    # The labels stand above the curve, not on it.
    low, high = axes.get_ylim()
    room = 1.0 - _ROW * len(marks) - 0.02
    if axes.get_yscale() == "log":
        lowest, highest = float(np.log10(low)), float(np.log10(high))
        axes.set_ylim(low, 10.0 ** min(250.0, lowest + (highest - lowest) / room))
    else:
        axes.set_ylim(low, low + (high - low) / room)
    left, right = axes.get_xlim()
    across = axes.get_xaxis_transform()
    shaded = set[tuple[float, float]]()
    for row, mark in enumerate(marks):
        span = (mark.first, mark.last)
        if mark.last > mark.first and span not in shaded:
            shaded.add(span)
            axes.axvspan(*span, color=_MARK, alpha=0.06, lw=0, zorder=0.5)
        axes.axvline(mark.first, color=_MARK, lw=1.1, ls=":", zorder=1.5)
        if mark.level is not None:
            axes.axhline(mark.level, color=_MARK, lw=1.1, ls=":", zorder=1.5)
        late = (mark.first - left) > 0.5 * (right - left)
        axes.annotate(
            f"{mark.label} ▸" if late else f"◂ {mark.label}",
            (mark.first, 1.0 - _ROW * (row + 0.5)),
            xycoords=across, xytext=(-3 if late else 3, 0), textcoords="offset points",
            ha="right" if late else "left", va="center", fontsize=10, color=_MARK, zorder=6,
            annotation_clip=False,
        )  # fmt: skip
