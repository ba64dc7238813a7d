"""Rows of a series as the windows that a model of forecasts takes."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from core.errors import FieldError, InvalidInputError
from core.uses.cells import Feature
from core.uses.coding import Coded, Coder, Float, columns_in

Windows = Literal["last", "all"]
"""The windows of a series that are predicted: the last one, or each."""


def series_coder(metadata: Mapping[str, str], window: int, horizon: int, num_outputs: int) -> Coder:
    """Read the coding of a series' rows from the metadata of weights: a row's features, then its
    targets, which are known up to the row."""
    named = json.loads(metadata["feature_names"])
    names = [name.removesuffix("[0]") for name in named[-(len(named) // window) :]]
    count = num_outputs // horizon
    inputs, targets = names[:-count], names[-count:]
    about = json.loads(metadata.get("preprocessing", "{}"))
    columns = columns_in(about) if about else tuple(map(Feature, inputs))
    in_file = about.get("targets", ())
    if len(in_file) == 1 and count > 1:  # a column of arrays
        own: tuple[Feature, ...] = (Feature(in_file[0], shape=(count,)),)
    else:
        own = tuple(map(Feature, targets))
    after = range(1, horizon + 1)
    outputs = tuple(f"{name}[{time}]" for time in after for name in targets)
    return Coder((*columns, *own), (), "values", None, num_outputs, outputs=outputs)


def count_windows(num_rows: int, window: int, which: Windows, param: str) -> int:
    """Count the windows that are predicted of so many rows.

    Raises:
        InvalidInputError: there are too few for one.
    """
    if num_rows < window:
        message = (
            f"{param}: has {num_rows:,} rows, and this model sees {window:,} to tell what comes"
            f" after them: give the last {window:,} or more, in the order of time"
        )
        raise InvalidInputError([FieldError(param, "too_few_rows", message)])
    return 1 if which == "last" else num_rows - window + 1


def windows_of(coded: Coded, window: int, horizon: int, num_outputs: int, which: Windows) -> Coded:
    """Cut coded rows into windows: a view, windows × `window` × numbers.

    Of all of them the labels are the targets that follow in the rows themselves, `num_outputs` a
    window; NaN, where they end before.
    """
    rows, labels = coded.matrix, coded.labels
    if which == "last":
        rows = rows[-window:]
    elif labels is None:
        labels = _following(rows[window:, -(num_outputs // horizon) :], horizon)
    windows = sliding_window_view(rows, window, axis=0).transpose(0, 2, 1)
    return replace(coded, matrix=windows, labels=labels)


def _following(targets: Float, horizon: int) -> Float:
    """Return, for each place in time and the end, the `horizon` rows from it on, flat."""
    missing = np.full((horizon, targets.shape[1]), np.nan)
    windows = sliding_window_view(np.concatenate([targets, missing]), horizon, axis=0)
    return windows.transpose(0, 2, 1).reshape(len(windows), -1)
