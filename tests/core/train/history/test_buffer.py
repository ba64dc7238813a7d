"""The row buffer: which rows stay, and at which index."""

from typing import Any

import numpy as np

from core.train.history.buffer import RowBuffer


def put(rows: RowBuffer, *steps: int) -> None:
    for step in steps:
        rows.put(step, step / 10, 0.1, 1.0, None)


def taken(rows: RowBuffer) -> tuple[int, list[Any]]:
    batch = rows.take()
    assert batch is not None
    return batch[0], batch[1]["step"].tolist()


def test_rows_leave_once_and_in_order() -> None:
    rows = RowBuffer(1, None)
    put(rows, 0, 1, 2)
    assert taken(rows) == (0, [0.0, 1.0, 2.0])
    assert rows.take() is None
    put(rows, 3)
    assert taken(rows) == (3, [3.0])


def test_only_multiples_stay_and_the_last_row() -> None:
    rows = RowBuffer(5, None)
    put(rows, *range(13))
    rows.keep_last()
    assert taken(rows) == (0, [0.0, 5.0, 10.0, 12.0])


def test_a_last_row_that_is_a_multiple_is_there_once() -> None:
    rows = RowBuffer(5, None)
    put(rows, *range(11))
    rows.keep_last()
    assert taken(rows) == (0, [0.0, 5.0, 10.0])


def test_the_last_row_is_kept_across_a_batch_that_left_before_it_was_known_to_be_last() -> None:
    rows = RowBuffer(5, None)
    put(rows, *range(8))
    assert taken(rows) == (0, [0.0, 5.0])
    rows.keep_last()
    assert taken(rows) == (2, [7.0])


def test_rows_that_left_do_not_change_afterwards() -> None:
    rows = RowBuffer(1, 2)
    rows.put(0, 1.0, 0.1, 2.0, np.array([3.0, 4.0]))
    batch = rows.take()
    rows.put(1, 9.0, 9.0, 9.0, np.array([9.0, 9.0]))
    assert batch is not None
    assert {name: column.tolist() for name, column in batch[1].items()} == {
        "step": [0.0],
        "loss": [1.0],
        "lr": [0.1],
        "grad_norm": [2.0],
        "x": [[3.0, 4.0]],
    }


def test_wide_rows_fill_the_buffer_before_it_grows_large() -> None:
    rows = RowBuffer(1, 100_000)
    point = np.zeros(100_000)
    count = 0
    while not rows.full:
        rows.put(count, 0.0, 0.0, 0.0, point)
        count += 1
    assert 1 <= count <= 6


def test_a_resumed_buffer_goes_on_at_the_right_index_with_the_row_that_may_be_last() -> None:
    before = RowBuffer(5, None)
    put(before, *range(8))
    before.take()
    after = RowBuffer(5, None)
    after.resume(8, before.loose_row())
    after.keep_last()
    assert taken(after) == (2, [7.0])
    again = RowBuffer(5, None)
    again.resume(8, before.loose_row())
    put(again, 8, 9, 10)
    assert taken(again) == (2, [10.0])


def test_rows_count_from_the_first_step_of_the_history() -> None:
    rows = RowBuffer(5, None, first_step=7)
    put(rows, *range(7, 14))
    rows.keep_last()
    assert taken(rows) == (0, [7.0, 12.0, 13.0])
