"""The choice of rows, against what it promises."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from api.history.downsample import choose_rows


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
