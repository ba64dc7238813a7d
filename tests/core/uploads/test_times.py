"""The order of a column's times is counted while it is written, however it is cut."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core.specs.columns.times import Times
from core.uploads.times import Steps

DAY = 86_400.0
DAYS = np.arange(30) * DAY
NAN = np.nan


def times_of(values: NDArray[Any], size: int = 1_000) -> Times:
    steps = Steps()
    for start in range(0, len(values), size):
        assert steps.add(values[start : start + size]) is not None
    found: Times = steps.found["times"]
    return found


def test_even_times_have_nothing_odd() -> None:
    assert times_of(DAYS) == Times(29, DAY, 0, None, 0, None, 0, None, 0.0)


@pytest.mark.parametrize("num", [0, 1])
def test_no_step_at_all(num: int) -> None:
    assert times_of(DAYS[:num]) == Times(0, 0.0, 0, None, 0, None, 0, None, 0.0)


def test_what_is_odd_is_counted_with_its_first_row() -> None:
    values = DAYS.copy()
    values[10] = values[9]  # the same again, then two days to row 11
    values[20:] -= 5 * DAY  # four days back
    values[25:] += 20 * DAY
    found = times_of(values)
    assert (found.num_steps, found.usual_s) == (29, DAY)
    assert (found.num_back, found.first_back) == (1, 20)
    assert (found.num_same, found.first_same) == (1, 10)
    assert (found.num_uneven, found.first_uneven, found.uneven_s) == (2, 11, 2 * DAY)


def test_missing_times_are_passed_over_and_their_rows_counted() -> None:
    values = np.insert(DAYS, 5, [NAN, NAN])
    values[20] += 0.9 * DAY
    found = times_of(values)
    assert (found.num_steps, found.num_uneven, found.first_uneven) == (29, 2, 20)
    nothing = times_of(np.full(4, NAN))
    assert (nothing.num_steps, nothing.num_back) == (0, 0)


def test_months_and_weekdays_are_even() -> None:
    months = np.arange("2020-01", "2025-01", dtype="datetime64[M]").astype("datetime64[s]")
    assert times_of(months.astype(np.float64)).num_uneven == 0
    days = np.arange("2024-01-01", "2024-12-31", dtype="datetime64[D]")
    weekdays = days[np.is_busday(days)].astype("datetime64[s]").astype(np.float64)
    assert times_of(weekdays).num_uneven == 0
    holes = np.delete(weekdays, slice(100, 105))  # a week that is missing
    found = times_of(holes)
    assert (found.num_uneven, found.first_uneven, found.uneven_s) == (1, 100, 10 * DAY)


def test_the_latest_first() -> None:
    found = times_of(DAYS[::-1].copy())
    assert (found.num_steps, found.num_back, found.first_back) == (29, 29, 1)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 29])
def test_pieces_make_no_difference(size: int) -> None:
    draw = np.random.default_rng(0)
    values = np.cumsum(draw.choice([-1.0, 0.0, 1.0, 1.0, 1.0, 9.0], 60)) * 3_600
    values[draw.random(60) < 0.2] = NAN
    whole = times_of(values)
    assert times_of(values, size) == whole
    steps = [b - a for a, b in pairwise(values[~np.isnan(values)].tolist())]
    assert whole.num_back == sum(step < 0 for step in steps)
    assert whole.num_same == sum(step == 0 for step in steps)
