"""Which rows lie in bundles with other runs', and which in chunks of their own."""

import pytest

from core.store.history.layout import HistoryLayout
from worker.reporting.spool import History
from worker.reporting.task import LEAST_ROWS, MAX_SEGMENTS, RowPlacement

TRAIN: History = (0, "train")


def placing(expected_rows: int | None = 1000, widths: int = 13) -> RowPlacement:
    layout = HistoryLayout(1, {f"series_{i}": 1 for i in range(widths)}, expected_rows)
    return RowPlacement({0: {"train": layout}})


@pytest.mark.parametrize(
    ("num_rows", "last", "expected"),
    [
        (1000 // MAX_SEGMENTS, False, True),
        (1000 // MAX_SEGMENTS - 1, False, False),
        (1, True, True),
        (0, True, False),
        (1008, True, True),
        (1009, True, False),
    ],
)
def test_a_segment_is_large_or_the_last(num_rows: int, last: bool, expected: bool) -> None:
    assert placing().makes_segment(TRAIN, 0, num_rows, last=last) is expected


@pytest.mark.parametrize(
    ("expected_rows", "widths", "num_rows", "expected"),
    [
        (1000, 13, 200, True),
        (1009, 13, 200, False),
        (1000, 14, 200, False),
        (None, 13, 200, False),
        (LEAST_ROWS, 13, LEAST_ROWS, True),
        (LEAST_ROWS, 13, LEAST_ROWS - 1, False),
    ],
)
def test_rows_on_the_way_are_bundled_where_the_whole_history_will_be_short(
    expected_rows: int | None, widths: int, num_rows: int, expected: bool
) -> None:
    it = placing(expected_rows, widths)
    assert it.makes_segment(TRAIN, 0, num_rows, last=False) is expected


def test_a_segment_follows_upon_the_one_before() -> None:
    it = placing()
    assert not it.makes_segment(TRAIN, 200, 200, last=False)
    it.written(TRAIN, 200, bundled=True)
    assert it.makes_segment(TRAIN, 200, 200, last=False)
    assert not it.makes_segment(TRAIN, 100, 200, last=False)


def test_a_history_in_chunks_stays_there_until_it_begins_anew() -> None:
    it = placing()
    it.written(TRAIN, 200, bundled=True)
    assert it.goes_to_chunks(TRAIN)
    assert it.goes_to_chunks(TRAIN), "until it was written"
    it.written(TRAIN, 210, bundled=False)
    assert not it.goes_to_chunks(TRAIN)
    assert not it.makes_segment(TRAIN, 210, 200, last=True)
    assert not it.makes_segment(TRAIN, 150, 200, last=True, anew=True)
    assert it.makes_segment(TRAIN, 0, 200, last=True, anew=True)
    it.written(TRAIN, 200, bundled=True)
    assert it.makes_segment(TRAIN, 200, 1, last=True)
