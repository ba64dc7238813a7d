"""Rungs, survivors and costs of successive halving, by hand and by counting."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.specs.studies.halving import SHORT_RUNG, default_min_steps, most_updates, num_kept, rungs

quick = settings(max_examples=200, deadline=None, derandomize=True, database=None)


def test_the_brackets_of_the_paper() -> None:
    """Table 1 of Li et al. 2018 (R = 81, factor 3): n and r of each rung, s = 4 and s = 3."""
    assert rungs(81, 1, 3, 81) == [1, 3, 9, 27]
    assert [num_kept(81, 3, rung) for rung in range(5)] == [81, 27, 9, 3, 1]
    assert rungs(34, 3, 3, 81) == [3, 9, 27]
    assert [num_kept(34, 3, rung) for rung in range(4)] == [34, 11, 3, 1]


def test_rungs_end_where_one_is_left_or_the_run_ends() -> None:
    assert rungs(9, 100, 3, 2000) == [100, 300]
    assert rungs(1000, 100, 3, 2000) == [100, 300, 900]
    assert rungs(1000, 100, 2, 800) == [100, 200, 400]
    assert rungs(1, 100, 3, 2000) == []
    assert rungs(2, 100, 3, 2000) == [100]
    assert rungs(9, 100, 3, 100) == []


def test_the_default_is_the_earliest_rung_that_is_not_short() -> None:
    assert default_min_steps(81, 3, 81, 1) == 27
    assert default_min_steps(27, 3, 2000, 1) == 667
    assert default_min_steps(27, 3, 2000, 100) == 700
    assert default_min_steps(1000, 2, 800, 1) == 100
    assert default_min_steps(4, 2, 10, 1) == 3  # a quarter: one of four is left for the end
    assert default_min_steps(10**6, 10, 50, 1) == 7
    assert default_min_steps(2, 2, 1, 1) == 1


@pytest.mark.parametrize("factor", [2, 3, 4, 5, 7, 8, 9, 30, 100])
@pytest.mark.parametrize("steps", [2, 3, 5, 7, 10, 81, 270, 1_999, 10**6])
@pytest.mark.parametrize("multiple", [1, 2, 3, 40, 100])
def test_no_default_is_short_or_none(factor: int, steps: int, multiple: int) -> None:
    for num in (factor, factor + 1, 27 * factor):
        first = default_min_steps(num, factor, steps, multiple)
        assert first * SHORT_RUNG >= steps
        assert first % multiple == 0
        assert first < steps or multiple >= steps


@pytest.mark.parametrize(
    ("steps", "first", "factor", "total"),
    [
        ([2000] * 9, 100, 3, 9 * 100 + 3 * 200 + 1700),
        ([50, 2000, 2000], 100, 3, 50 + 2 * 100 + 1900),
        ([10, 10, 10], 100, 3, 30),
        ([2000], 100, 3, 2000),
    ],
)
def test_updates_by_hand(steps: list[int], first: int, factor: int, total: int) -> None:
    assert most_updates(steps, first, factor) == total


@quick
@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=30), st.integers(1, 100),
    st.integers(2, 5), st.randoms(use_true_random=False),
)  # fmt: skip
def test_whoever_goes_on_no_more_updates_are_made(
    steps: list[int], first: int, factor: int, random: Random
) -> None:
    left, before, total = list(range(len(steps))), 0, 0
    marks = rungs(len(steps), first, factor, max(steps))
    for number, mark in enumerate([*marks, max(steps)]):
        random.shuffle(left)
        left = left[: num_kept(len(steps), factor, number)]
        total += sum(min(steps[i], mark) - min(steps[i], before) for i in left)
        before = mark
    assert total <= most_updates(steps, first, factor) <= sum(steps)
