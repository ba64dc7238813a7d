"""Ranges of the precisions in which models and functions are computed, and rows as they are held
against them."""

import sys
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

FLOAT32_MAX: Final = 3.4028235e38
LARGEST_INPUT: Final[dict[str, float]] = {
    "float32": FLOAT32_MAX,
    "bfloat16": 3.3895314e38,  # to which autocast rounds what goes into a layer
    "float64": sys.float_info.max,
}
"""The largest number that a feature may be, by precision."""
LARGEST_TARGET: Final[dict[str, float]] = {**LARGEST_INPUT, "bfloat16": FLOAT32_MAX}
"""The largest number that a target may be: losses are computed in float32 beside bfloat16, too."""

SPACING: Final[dict[str, float]] = {
    "float32": 2.0**-23,
    "bfloat16": 2.0**-23,  # weights are float32 beside it
    "float64": 2.0**-52,
}
"""Distance from 1 to the next number of the weights, by precision (`torch.finfo(…).eps`)."""


def standardized(values: Float, mean: Float, scale: Float) -> Float:
    """Return (values − mean) / scale, finite wherever that is, though a difference may not be."""
    try:
        with np.errstate(over="raise"):
            return (values - mean) / scale
    except FloatingPointError:
        with np.errstate(over="ignore", invalid="ignore"):
            found = (values - mean) / scale
            return np.where(np.isinf(found), values / scale - mean / scale, found)


def first_beyond(values: NDArray[Any], largest: float) -> tuple[int, int] | None:
    """Return the row and column of the first number whose size is over `largest`; None: there is
    none. NaN is not one."""
    with np.errstate(invalid="ignore"):
        if not values.size or np.fmax.reduce(np.abs(values), axis=None) <= largest:
            return None
        rows, columns = np.nonzero(np.abs(values) > largest)
    return (int(rows[0]), int(columns[0])) if len(rows) else None
