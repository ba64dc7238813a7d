"""A downsampled curve keeps what matters of it."""

import numpy as np
import pytest

from api.history.downsample import Rows, choose_rows


def select_rows(loss: np.ndarray, num_rows: int) -> Rows:
    return choose_rows([loss], num_rows)


def noisy(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count).cumsum()


@pytest.mark.parametrize("num_rows", [4, 5, 10, 11, 99, 1000, 4999])
@pytest.mark.parametrize("seed", range(5))
def test_at_most_so_many_rows_with_the_extremes_and_the_ends(num_rows: int, seed: int) -> None:
    loss = noisy(5000, seed)
    rows = select_rows(loss, num_rows)

    assert len(rows) <= num_rows
    assert np.all(np.diff(rows) > 0)
    assert {0, 4999, int(loss.argmin()), int(loss.argmax())} <= set(rows.tolist())


@pytest.mark.parametrize("num_rows", [1, 2, 3])
def test_few_rows_are_the_last_the_first_and_the_lowest(num_rows: int) -> None:
    loss = np.array([5.0, 9.0, 1.0, 7.0, 3.0])
    assert select_rows(loss, num_rows).tolist() == {1: [4], 2: [0, 4], 3: [0, 2, 4]}[num_rows]


def test_a_single_spike_anywhere_is_kept() -> None:
    for at in range(0, 10_000, 97):
        loss = np.zeros(10_000)
        loss[at] = 1.0
        assert at in select_rows(loss, 20)


def test_every_stretch_shows_its_lowest_and_highest() -> None:
    loss = noisy(1000)
    rows = select_rows(loss, 22)  # ten stretches of 100
    for start in range(0, 1000, 100):
        part = loss[start : start + 100]
        assert {start + int(part.argmin()), start + int(part.argmax())} <= set(rows.tolist())


@pytest.mark.parametrize("count", [0, 1, 7, 8])
def test_a_short_history_is_shown_whole(count: int) -> None:
    assert select_rows(noisy(count), 8).tolist() == list(range(count))


def test_every_row_that_is_not_finite_comes_on_top() -> None:
    loss = noisy(5000)
    odd = [17, 18, 2500, 4999]
    loss[odd] = [np.nan, np.inf, -np.inf, np.nan]

    rows = select_rows(loss, 10).tolist()

    assert set(odd) <= set(rows)
    assert len(rows) <= 10 + len(odd)
    finite = np.where(np.isfinite(loss), loss, 0.0)
    hidden = np.where(np.isfinite(loss), loss, np.inf)
    assert {0, 4998, int(hidden.argmin())} <= set(rows)
    assert int(np.where(np.isfinite(loss), finite, -np.inf).argmax()) in rows


def test_a_history_without_any_finite_row_is_shown_whole() -> None:
    assert select_rows(np.full(100, np.nan), 3).tolist() == list(range(100))
