"""Times to a target: none that did not reach it is dropped."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.compare.comparison import compare
from core.compare.targets import kaplan_meier_median
from tests.core.compare.studies import run, study

INF = math.inf


def median(times: list[float], event: list[bool]) -> float:
    return float(kaplan_meier_median(np.array([times]), np.array([event]))[0])


def test_without_censoring_it_is_the_usual_median() -> None:
    assert median([3.0, 1.0, 2.0], [True] * 3) == 2.0
    assert median([4.0, 1.0, 2.0, 3.0], [True] * 4) == 2.5


def test_runs_that_never_reach_it_count_as_infinitely_late() -> None:
    assert median([10.0, 20.0, INF], [True, True, False]) == 20.0
    assert median([10.0, INF, INF], [True, False, False]) == INF
    assert median([10.0, INF], [True, False]) == INF


def test_a_run_that_was_cut_off_is_at_risk_until_then() -> None:
    # Kaplan and Meier: at 1, S = 3/4; one is cut off at 2; at 3, S = 3/4 · 1/2 = 3/8.
    assert median([1.0, 2.0, 3.0, 9.0], [True, False, True, True]) == 3.0
    # As if it had never been there, when it was cut off before anything happened.
    assert median([0.0, 5.0, 6.0, 7.0], [False, True, True, True]) == 6.0


@given(st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=12))
def test_the_median_is_that_of_scipys_survival_function(rows: list[tuple[int, bool]]) -> None:
    times, event = [float(t) for t, _ in rows], [seen for _, seen in rows]
    found = median(times, event)
    curve = stats.ecdf(
        stats.CensoredData(
            uncensored=[t for t, seen in rows if seen], right=[t for t, seen in rows if not seen]
        )
    ).sf
    below = [t for t, s in zip(curve.quantiles, curve.probabilities, strict=True) if s <= 0.5]
    exact = [
        t for t, s in zip(curve.quantiles, curve.probabilities, strict=True) if abs(s - 0.5) < 1e-9
    ]
    if not below:
        assert found == INF
    elif not exact:
        assert found == below[0]
    else:
        # Flat at 1/2: from there to the next event.
        later = [t for t, seen in rows if seen and t > exact[0]]
        assert found == (0.5 * (exact[0] + min(later)) if later else INF)


def test_rows_without_runs_have_no_median() -> None:
    nan = math.nan
    found = kaplan_meier_median(
        np.array([[nan, nan], [5.0, nan]]), np.array([[False, False], [True, False]])
    )
    assert found.tolist() == [INF, 5.0]
    assert kaplan_meier_median(np.zeros((2, 0)), np.zeros((2, 0), dtype=bool)).tolist() == [INF] * 2


def test_the_comparison_keeps_who_did_not_reach_it() -> None:
    at = {"step": 40, "seconds": 0.25}
    made = [
        run(0, 0, repeats=5, metric=0.1, target=at),
        run(0, 1, repeats=5, metric=0.1, target={"step": 60, "seconds": 0.5}),
        # Reached it, and was thrown out later.
        run(
            0, 2, repeats=5, metric=math.nan, outcome="diverged",
            target={"step": 9, "seconds": 0.1},
        ),
        run(0, 3, repeats=5, metric=0.9),
        run(
            0, 4, repeats=5, status="cancelled", outcome=None, result=None,
            stopped={"by": "successive_halving", "step": 50, "rank": 4, "of": 9},
        ),
    ]  # fmt: skip
    row = compare(study(repeats=5, target=0.2), made, complete=True)["configurations"][0]
    # At 9, S = 4/5; at 40, 3/5; cut off at 50; at 60, 3/5 · 1/2 = 3/10.
    assert row["steps_to_target"] == {
        "by_repeat": [40, 60, 9, None, None],
        "num_reached": 3,
        "num_never": 1,
        "num_censored": 1,
        "median": 60.0,
    }
    assert row["seconds_to_target"]["by_repeat"] == [0.25, 0.5, 0.1, None, None]
    # By seconds it was cut off at 0.5, the share of time that is on record.
    assert row["seconds_to_target"]["median"] == pytest.approx(0.5)


def test_without_a_target_there_are_no_times_to_it() -> None:
    body = compare(study(), [run(0, 0, repeats=1, metric=0.1)], complete=True)
    assert body["configurations"][0]["steps_to_target"] is None
    assert body["profile"] is None
    assert "no target" in body["profile_reason"]
