"""Which curves a picture shows, and what a band of them is."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from core.compare.comparison import compare
from core.compare.curve_bands import CELLS, MOST_OTHERS, MOST_RUNS, band, curve_plan
from tests.core.compare.studies import Json, runs, study

Floats = NDArray[np.float64]
INF = math.inf


def at(*values: float) -> tuple[Floats, Floats]:
    return np.arange(float(len(values))), np.array(values)


def test_the_middle_is_the_median_and_the_band_goes_to_the_extremes() -> None:
    found = band([at(1.0, 2.0), at(3.0, 9.0), at(2.0, 4.0)])
    assert found.step.tolist() == [0.0, 1.0]
    assert (found.middle.tolist(), found.low.tolist(), found.high.tolist()) == (
        [2.0, 4.0], [1.0, 2.0], [3.0, 9.0],
    )  # fmt: skip


def test_a_diverged_run_is_worse_than_all_others_from_there_to_the_end() -> None:
    found = band([at(1.0, 1.0, 1.0, 1.0), at(5.0, math.nan), at(3.0, 3.0, 3.0, 3.0)])
    assert found.middle.tolist() == [3.0, 3.0, 3.0, 3.0]
    assert found.high.tolist() == [5.0, INF, INF, INF]
    most = band([at(1.0, 1.0, 1.0), at(5.0, math.nan), at(5.0, INF)])
    assert most.middle.tolist() == [5.0, INF, INF]


def test_a_band_ends_where_most_runs_have_ended() -> None:
    found = band([at(*range(10)), at(1.0, 2.0), at(1.0, 2.0, 3.0)])
    assert found.step.tolist() == [0.0, 1.0, 2.0]


def test_many_rows_are_gathered_in_cells() -> None:
    step = np.arange(3_000.0)
    noisy = 5.0 + np.where(step % 2 == 0, 1.0, -1.0)
    found = band([(step, noisy)])
    assert len(found.step) == CELLS
    assert found.middle == pytest.approx(np.full(CELLS, 5.0))
    # A run with few rows among them is read off between its rows.
    sparse = band([(step, step), (np.array([0.0, 2_999.0]), np.array([0.0, 2_999.0]))])
    assert sparse.low == pytest.approx(sparse.high, abs=15.0)


def test_no_rows_are_no_band() -> None:
    assert band([]).step.size == 0
    assert band([at()]).step.size == 0
    assert band([at(math.nan)]).middle.tolist() == [INF]


def test_choices_may_have_parameters_of_their_own() -> None:
    params: list[Json] = [
        {"optimizer": {"kind": "sgd", "momentum": 0.9}, "optimizer.lr": 0.1},
        {"optimizer": {"kind": "adam"}, "optimizer.lr": 0.1},
        {"optimizer": {"kind": "adam"}, "optimizer.lr": 0.2},
    ]
    plan = curve_plan(compare(study(), runs([[0.3], [0.2], [0.1]], params), complete=True))
    assert [one.row["configuration"] for one in plan.shown] == [2, 0]
    assert plan.others == (1,)


def test_each_choice_is_shown_at_its_best_and_the_rest_in_grey() -> None:
    params = [
        {"optimizer": {"kind": kind}, "optimizer.lr": lr}
        for kind in ("sgd", "adam")
        for lr in (0.1, 0.2, 0.3)
    ]
    made = runs([[3.0, 3.1], [2.0, 2.1], [9.0, 9.0], [1.5, 1.0], [1.1, 1.2], [7.0, 8.0]], params)
    plan = curve_plan(compare(study(repeats=2), made, complete=True))
    assert [(one.label, one.runs) for one in plan.shown] == [
        ("adam, lr 0.2", (8, 9)), ("sgd, lr 0.2", (2, 3)),
    ]  # fmt: skip
    assert plan.others == (6, 0, 10, 4)
    assert plan.runs == (8, 9, 2, 3, 6, 0, 10, 4)
    assert (plan.kind, plan.column) == ("eval", "loss")


def test_one_choice_shows_its_five_best() -> None:
    made = runs([[float(value)] for value in range(100, 0, -1)])
    plan = curve_plan(compare(study(name="loss"), made, complete=True))
    assert [one.row["configuration"] for one in plan.shown] == [99, 98, 97, 96, 95]
    assert len(plan.others) == MOST_OTHERS
    assert (plan.kind, plan.column) == ("train", "loss")


def test_of_many_repeats_the_first_are_read() -> None:
    made = runs([[1.0 + i for i in range(150)]])
    plan = curve_plan(compare(study(repeats=150), made, complete=True))
    assert plan.runs == tuple(range(MOST_RUNS))
