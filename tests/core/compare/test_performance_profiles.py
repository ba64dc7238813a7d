"""Performance profiles and scores, worked by hand."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from core.compare.comparison import compare
from core.compare.performance_profiles import TAUS, profile, ratios, score
from core.studies import RunRecord
from tests.core.compare.studies import run, study

INF = math.inf

TIMES = np.array(
    [
        # Problems:  1,   2,   3,    4,   5 (which nobody solves)
        [10.0, 20.0, 30.0, INF, INF],
        [20.0, 10.0, 30.0, 40.0, INF],
        [15.0, 45.0, INF, 10.0, INF],
    ]
)


def test_ratios_are_to_the_fastest_on_each_problem() -> None:
    assert ratios(TIMES).tolist() == [
        [1.0, 2.0, 1.0, INF, INF],
        [2.0, 1.0, 1.0, 4.0, INF],
        [1.5, 4.5, INF, 1.0, INF],
    ]


def test_the_profile_is_the_share_of_all_problems() -> None:
    found = profile(ratios(TIMES), np.array([1.0, 1.5, 2.0, 4.0, 100.0]))
    assert found == pytest.approx(
        np.array([[2, 2, 3, 3, 3], [2, 2, 3, 4, 4], [1, 2, 2, 2, 3]]) / 5.0
    )


def test_the_score_is_the_area_under_it_up_to_4() -> None:
    # (4 − r)/3 of each problem: (1 + 2/3 + 1)/5, (2/3 + 1 + 1 + 0)/5, (2.5/3 + 0 + 1)/5.
    assert score(ratios(TIMES)) == pytest.approx([8 / 15, 8 / 15, 11 / 30])


def test_more_than_4_times_the_best_counts_as_never() -> None:
    assert score(np.array([[4.0], [4.1], [INF]])).tolist() == [0.0, 0.0, 0.0]


@given(st.lists(st.floats(1.0, 9.0), min_size=1, max_size=8))
def test_the_closed_form_is_the_integral(one: list[float]) -> None:
    found = np.array([one])
    taus = np.linspace(1.0, 4.0, 3_001)
    area = integrate.trapezoid(profile(found, taus)[0], taus) / 3.0
    assert score(found)[0] == pytest.approx(area, abs=1e-3)


@given(st.floats(1e-3, 1e3))
def test_the_unit_of_time_does_not_matter(factor: float) -> None:
    assert ratios(TIMES * factor) == pytest.approx(ratios(TIMES))


def racing(steps: dict[tuple[str, float, int], list[int | None]]) -> list[RunRecord]:
    """By optimizer, rate and dim: the steps of each repeat."""
    made = []
    for configuration, ((kind, lr, dim), row) in enumerate(steps.items()):
        params: dict[str, Any] = {
            "optimizer": {"kind": kind},
            "optimizer.lr": lr,
            "problem.function.dim": dim,
        }
        for repeat, step in enumerate(row):
            target = None if step is None else {"step": step, "seconds": step / 100.0}
            fields = {"metric": 0.5, "params": params, "target": target}
            made.append(run(configuration, repeat, repeats=len(row), **fields))
    return made


FUNCTION = {"kind": "function", "function": {"kind": "sphere", "dim": 2}}
RACE = racing(
    {
        ("sgd", 0.1, 2): [10, 20],
        ("sgd", 0.2, 2): [30, None],
        ("adam", 0.1, 2): [20, 20],
        ("adam", 0.2, 2): [15, 40],
        ("sgd", 0.1, 9): [None, None],
        ("sgd", 0.2, 9): [100, 90],
        ("adam", 0.1, 9): [50, 90],
        ("adam", 0.2, 9): [80, None],
    }
)


def test_solvers_are_settings_and_instances_are_problems_with_repeats() -> None:
    found = compare(study(repeats=2, target=0.1, problem=FUNCTION), RACE, complete=True)["profile"]
    assert (found["num_problems"], found["num_instances"], found["num_solvers"]) == (2, 4, 4)
    lines = {(one["params"]["optimizer.kind"], one["params"]["optimizer.lr"]): one
             for one in found["solvers"]}  # fmt: skip
    # Best on the four instances: 10, 20, 50, 90.
    assert lines["adam", 0.1]["configurations"] == [2, 6]
    assert lines["adam", 0.1]["steps"]["score"] == pytest.approx((2 / 3 + 1 + 1 + 1) / 4)
    assert lines["sgd", 0.1]["steps"]["score"] == pytest.approx((1 + 1) / 4)
    assert lines["sgd", 0.2]["steps"]["score"] == pytest.approx((1 / 3 + 0 + 2 / 3 + 1) / 4)
    assert lines["sgd", 0.2]["num_solved"] == 3
    assert [one["steps"]["score"] for one in found["solvers"]] == sorted(
        (one["steps"]["score"] for one in found["solvers"]), reverse=True
    )
    assert lines["adam", 0.1]["seconds"] == lines["adam", 0.1]["steps"]


def test_a_choice_races_with_its_best_setting_on_each_problem() -> None:
    found = compare(study(repeats=2, target=0.1, problem=FUNCTION), RACE, complete=True)["profile"]
    adam, sgd = found["choices"]
    # Medians of adam in 2 dimensions: 20, 27.5; in 9: 70, never. Of sgd: 15, never; never, 95.
    assert (adam["params"], adam["configurations"]) == ({"optimizer.kind": "adam"}, [2, 6])
    assert (sgd["params"], sgd["configurations"]) == ({"optimizer.kind": "sgd"}, [0, 5])
    # Between these two the best are 10, 20, 50, 90.
    assert sgd["steps"]["score"] == pytest.approx((1 + 1 + 2 / 3 + 1) / 4)
    assert found["taus"] == list(TAUS)
    # From the fastest on two instances of four, by τ = 2 on all.
    rho = dict(zip(found["taus"], adam["steps"]["rho"], strict=True))
    assert (rho[1.0], rho[1.95], rho[2.0], rho[4.0]) == (0.75, 0.75, 1.0, 1.0)


def test_a_target_that_held_at_the_start_is_no_division_by_zero() -> None:
    made = racing({("sgd", 0.1, 2): [0], ("adam", 0.1, 2): [3]})
    found = compare(study(target=0.1, problem=FUNCTION), made, complete=True)["profile"]
    scores = {one["params"]["optimizer.kind"]: one["steps"]["score"] for one in found["choices"]}
    assert scores == pytest.approx({"sgd": 1.0, "adam": 1 / 3})


def test_one_solver_has_no_profile() -> None:
    made = racing({("sgd", 0.1, 2): [10], ("sgd", 0.1, 9): [20]})
    body = compare(study(target=0.1, problem=FUNCTION), made, complete=True)
    assert body["profile"] is None
    assert "not two solvers" in body["profile_reason"]


def test_settings_that_met_other_problems_are_not_profiled_against_each_other() -> None:
    made = racing(
        {("sgd", 0.11, 2): [10], ("sgd", 0.12, 9): [9], ("adam", 0.13, 2): [5],
         ("adam", 0.14, 9): [7]}
    )  # fmt: skip
    found = compare(study(target=0.1, problem=FUNCTION), made, complete=True)["profile"]
    assert found["solvers"] == []
    assert [one["configurations"] for one in found["choices"]] == [[2, 3], [0, 1]]
