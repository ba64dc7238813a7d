"""Numbers of data that the precision of a job cannot hold: such a job fails at its start, and says
which number it is."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from core.errors import JobFailure
from core.train.data.rows import Rows

_DATA: Final = "problem.data"


def check_features(
    values: Tensor, rows: Rows, index: NDArray[np.int64], *, standardize: bool
) -> Tensor:
    """Return features, once they are found to be finite as they are trained on, in their precision.

    Args:
        values: the rows `index` of `rows`, standardized where that is asked for, and cast.

    Raises:
        JobFailure: with the row, the column, the number and the way out of one that is not.
    """
    if (place := _first_infinite(values)) is None:
        return values
    row, column = int(index[place[0]]), place[1]
    raise _failure(
        f"{_DATA}.features",
        f"column {rows.feature_names[column]!r}",
        rows.number(row),
        float(rows.features[row, column]),
        values,
        "standardize",
        scaled=standardize,
    )


def check_targets(values: Tensor, rows: Rows, index: NDArray[np.int64], *, scaled: bool) -> Tensor:
    """Return targets, as `check_features` does features; `scaled`: they are standardized."""
    if (place := _first_infinite(values)) is None:
        return values
    row, column = int(index[place[0]]), place[1]
    if rows.target_names:
        param, name = f"{_DATA}.target", f"column {', '.join(map(repr, rows.target_names))}"
    else:
        param, name = f"{_DATA}.targets", f"target {column}"
    raise _failure(
        param,
        name,
        rows.number(row),
        float(rows.targets[row, column]),
        values,
        "scale_targets",
        scaled=scaled,
    )


def _first_infinite(values: Tensor) -> tuple[int, int] | None:
    """Return the row and column of the first number that is not finite; None: there is none. Their
    range is looked at first, without a copy of their size."""
    if not values.numel():
        return None
    if all(math.isfinite(end.item()) for end in values.aminmax()):
        return None
    row, column = (~values.isfinite()).nonzero()[0].tolist()
    return row, column


def _failure(
    param: str, name: str, row: int, value: float, values: Tensor, option: str, *, scaled: bool
) -> JobFailure:
    precision = str(values.dtype).removeprefix("torch.")
    ways = [] if scaled else [f"set {option}"]
    if precision != "float64":
        ways.append('use the precision "float64"')
    ways.append("mend the number, or scale the data" if not scaled else "mend or leave out the row")
    by = ", standardized by the rows for training," if scaled else ""
    return JobFailure(
        "data_unavailable",
        f"{param}: {name} is {value:g} in row {row:,} (counted from 0), which{by} does not fit"
        f" {precision}: {', or '.join(ways)}.",
        param,
    )
