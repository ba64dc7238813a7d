"""The choice of rows, against what it promises."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from api.history.downsample import (
    Extremes,
    Stretches,
    choose_rows,
    merged,
    num_points_left,
)


@given(
    hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(width=32)),
    st.integers(1, 50),
)
def test_rows_rise_keep_what_is_not_finite_and_stay_within_bounds(
    column: "np.ndarray[tuple[int], np.dtype[np.float64]]", num_points: int
) -> None:
    rows = choose_rows([column], num_points)
    broken = set(np.flatnonzero(~np.isfinite(column)).tolist())
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert broken <= set(rows.tolist())
    assert len(rows) <= num_points + len(broken)
    assert rows[-1] == len(column) - 1
    finite = column[np.isfinite(column)]
    if num_points >= 4 and len(finite):
        kept = column[rows]
        kept = kept[np.isfinite(kept)]
        assert (kept.min(), kept.max()) == (finite.min(), finite.max())


def test_the_other_series_keep_their_extremes_and_what_is_not_finite() -> None:
    loss, lr, grad_norm = np.linspace(1, 0, 1000), np.full(1000, 0.1), np.ones(1000)
    lr[501] = 5.0
    lr[502] = -5.0
    grad_norm[[7, 700]] = [np.inf, np.nan]
    rows = choose_rows([loss, lr, grad_norm], 10)
    assert {0, 7, 501, 502, 700, 999} <= set(rows.tolist())
    assert len(rows) <= 12


Column = np.ndarray[tuple[int], np.dtype[np.float64]]


def by_hand(columns: list[Column], num_points: int) -> list[int]:
    """The choice as its words say it, row by row."""
    extremes: list[int] = []
    broken: set[int] = set()
    for column in columns[1:]:
        finite = [row for row, value in enumerate(column) if np.isfinite(value)]
        broken |= set(range(len(column))) - set(finite)
        if finite:
            extremes += [min(finite, key=column.__getitem__), max(finite, key=column.__getitem__)]
    extremes = list(dict.fromkeys(extremes))[: max(0, num_points - 4)]
    first, room = columns[0], num_points - len(extremes)
    finite = [row for row, value in enumerate(first) if np.isfinite(value)]
    broken |= set(range(len(first))) - set(finite)
    chosen = set(finite)
    if len(finite) > room:
        chosen = {finite[-1]} | ({finite[0]} if room > 1 else set())
        if room >= 3:
            length = -(-len(finite) // max(1, (room - 2) // 2))
            for start in range(0, len(finite), length):
                part = finite[start : start + length]
                chosen.add(min(part, key=first.__getitem__))
                if room > 3:
                    chosen.add(max(part, key=first.__getitem__))
    return sorted(chosen | broken | set(extremes))


@st.composite
def cut_columns(draw: st.DrawFn) -> tuple[list[Column], list[int]]:
    """Series of equal length, with ties and what is not finite, and where they are cut."""
    length = draw(st.integers(1, 120))
    odd = st.sampled_from([0.0, 1.0, -1.0, 2.0, np.nan, np.inf, -np.inf])
    elements = st.one_of(st.floats(-3, 3, width=16), odd)
    columns = draw(
        st.lists(hnp.arrays(np.float64, length, elements=elements), min_size=1, max_size=3)
    )
    cuts = draw(st.lists(st.integers(0, length), max_size=6))
    return columns, sorted({0, length, *cuts})


@given(cut_columns(), st.integers(1, 40))
def test_in_blocks_the_same_rows_are_chosen_as_in_one_and_by_hand(
    cut: tuple[list[Column], list[int]], num_points: int
) -> None:
    columns, cuts = cut
    blocks = list(itertools.pairwise(cuts))
    found = [Extremes() for _ in columns]
    for each, column in zip(found, columns, strict=True):
        for first, stop in blocks:
            each.add(first, column[first:stop])
    room = num_points_left(found[1:], num_points)
    stretches = Stretches(found[0].num_finite, room)
    for first, stop in blocks:
        stretches.add(first, columns[0][first:stop])
    rows = merged(stretches.rows(), found[1:], num_points).tolist()
    assert rows == choose_rows(columns, num_points).tolist()
    assert rows == by_hand(columns, num_points)
