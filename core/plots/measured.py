"""Pictures of what a full diagnosis measured: eigenvalues, and the loss around the weights."""

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from core.plots.run import PlotFormat, picture, title
from core.specs.base import Json
from core.specs.job import JobSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MeasuredKind = Literal["spectrum", "landscape"]

_BLUE, _RED, _GREY = "#2b6cb0", "#c53030", "#718096"
_LEVELS: Final = 22
_PARTS: Final[dict[MeasuredKind, str]] = {"spectrum": "spectrum", "landscape": "slice"}


def has(kind: MeasuredKind, measured: Json) -> bool:
    """Tell whether the measurement holds what this picture shows (it may have run out of time)."""
    return bool(measured.get(_PARTS[kind]))


def render(
    kind: MeasuredKind,
    format: PlotFormat,  # noqa: A002
    spec: JobSpec,
    measured: Json,
    outcome: str | None,
) -> bytes:
    """Draw a picture of 900 × 540 pixels.

    Args:
        kind: `spectrum`: Ritz values of the Hessian with the share of eigenvalues that each stands
            for; `landscape`: the loss on a plane through the weights.
        measured: a full diagnosis's `measured`; `has(kind, measured)`.
    """

    def draw(figure: "Figure", axes: "Axes") -> None:
        if kind == "spectrum":
            _spectrum(axes, measured)
        else:
            _landscape(figure, axes, measured["slice"])

    heading = f"{title(spec, outcome)} · step {measured['step']:,}"
    return picture(format, heading, draw)


def _spectrum(axes: "Axes", measured: Json) -> None:
    values = np.asarray(measured["spectrum"]["values"], dtype=np.float64)
    weights = np.asarray(measured["spectrum"]["weights"], dtype=np.float64)
    shares = np.maximum(weights, 1e-12)
    colours = [_RED if value < -measured.get("rounding", 0.0) else _BLUE for value in values]
    axes.vlines(values, 1e-12, shares, colors=colours, lw=1.6)
    axes.scatter(values, shares, c=colours, s=22, zorder=3)
    size = float(np.abs(values).max(initial=0.0)) or 1.0
    axes.set_xscale("symlog", linthresh=1e-4 * size)
    axes.set_yscale("log")
    axes.set_ylim(min(1e-6, float(shares.min())) / 2, 2.0)
    axes.axvline(0.0, color=_GREY, lw=1.0, ls=":")
    axes.set_xlabel("eigenvalue of the Hessian (Ritz values; negative ones in red)")
    axes.set_ylabel("share of the eigenvalues")


def _landscape(figure: "Figure", axes: "Axes", found: Json) -> None:
    offsets = np.asarray(found["offsets"], dtype=np.float64)
    loss = np.array([[np.nan if v is None else v for v in row] for row in found["loss"]])
    axes.grid(visible=False)
    known = loss[np.isfinite(loss)]
    if known.size and known.max() > known.min():
        low, span = float(known.min()), float(known.max() - known.min())
        offset = 1e-3 * span
        heights = np.log(loss - low + offset)
        levels = np.linspace(np.log(offset), np.log(span + offset), _LEVELS)
        levels[-1] += 1e-9 * abs(levels[-1]) + 1e-12
        filled = axes.contourf(offsets, offsets, heights, levels=levels, cmap="GnBu_r")
        bar = figure.colorbar(filled, ax=axes, pad=0.02, aspect=30)
        ticks = levels[::3]
        bar.set_ticks(list(ticks), labels=[f"{low + np.exp(t) - offset:.3g}" for t in ticks])
        bar.set_label("loss")
        bar.outline.set_visible(False)
    axes.plot(0.0, 0.0, marker="*", color=_RED, mec="white", ms=15, ls="")
    axes.set_xlabel("first direction (1: as long as the weights)")
    axes.set_ylabel("second direction")
