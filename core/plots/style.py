"""Common style of every picture's curves: colours, and the axis of steps."""

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

COLOURS: Final = (
    "#2b6cb0", "#dd6b20", "#2f855a", "#c53030", "#6b46c1", "#0987a0", "#975a16", "#d53f8c",
)  # fmt: skip
"""Colours of curves, in order."""
STYLES: Final = ("-", "-", "-", "-", "--", "--", "--", "--")
BLUE, ORANGE, GREEN, RED, GREY = "#2b6cb0", "#dd6b20", "#2f855a", "#c53030", "#718096"


_LETTERS_A_COLUMN: Final = 52
"""Letters of size 10, of which two columns fit; and the least size that can be read."""
_LEAST_LETTERS: Final = 6.0


def draw_key(axes: "Axes", title: str | None) -> None:
    """Draw the legend below the axes: two columns, whose letters shrink until the picture holds
    them."""
    longest = max((len(label) for label in axes.get_legend_handles_labels()[1]), default=0)
    size = max(_LEAST_LETTERS, min(10.0, 10.0 * _LETTERS_A_COLUMN / max(1, longest)))
    axes.figure.legend(
        loc="outside lower center", ncols=2, fontsize=size, title=title, title_fontsize=10
    )


def say_empty(axes: "Axes") -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, "no rows yet", ha="center", va="center", transform=axes.transAxes)


def whole_steps(axes: "Axes") -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
