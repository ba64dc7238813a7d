"""Common style of every picture's curves: colours, and the axis of steps."""

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

BLUE, ORANGE, GREEN, RED, GREY = "#2b6cb0", "#dd6b20", "#2f855a", "#c53030", "#718096"
HUGE: Final = 1e200
"""Largest size of a value that is drawn: beyond it, axis limits and ticks overflow."""


def say_empty(axes: "Axes") -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, "no rows yet", ha="center", va="center", transform=axes.transAxes)


def whole_steps(axes: "Axes") -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
