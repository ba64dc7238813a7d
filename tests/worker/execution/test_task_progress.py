"""The study's metric of a run, against what the rows say."""

import math
from typing import Any

import numpy as np
import pytest

from core.store.history.layout import Columns
from worker.execution.progress import MetricWatch

EVALUATION = {"step": 9, "loss": 0.7, "accuracy": 0.9}
RESULT = {"final_loss": 0.5, "best_loss": 0.1, "eval": EVALUATION}


def watch(name: str, at: str = "final", goal: str = "min") -> MetricWatch:
    return MetricWatch({"name": name, "at": at, "goal": goal, "target": None})


def rows(*values: float, series: str = "loss") -> Columns:
    return {"step": np.arange(float(len(values))), series: np.array(values)}


@pytest.mark.parametrize(
    ("name", "value"), [("loss", 0.5), ("eval.loss", 0.7), ("eval.accuracy", 0.9)]
)
def test_the_final_metric_is_in_the_result(name: str, value: float) -> None:
    assert watch(name).at_end(3, RESULT) == value
    assert watch(name).at_rung(3, 0.5, EVALUATION) == value


@pytest.mark.parametrize("name", ["loss", "eval.loss"])
def test_a_run_without_an_end_or_evaluation_has_no_metric(name: str) -> None:
    assert watch(name).at_end(3, None) is None
    assert watch(name, "best").at_end(3, RESULT) is None
    assert watch("eval.loss").at_end(3, {**RESULT, "eval": None}) is None


def test_a_loss_that_is_not_finite_stays_what_it_is() -> None:
    final = watch("loss").at_end(0, {"final_loss": math.nan, "eval": None})
    assert final is not None
    assert math.isnan(final)
    assert watch("loss").at_end(0, {"final_loss": math.inf}) == math.inf


@pytest.mark.parametrize(("goal", "found"), [("min", [1.0, 0.25]), ("max", [7.0, 9.0])])
def test_the_best_is_over_all_rows_of_each_run(goal: Any, found: list[float]) -> None:
    it = watch("loss", "best", goal)
    it.look("train", [4, 9], [3, 2], rows(3.0, 7.0, 2.0, 9.0, 0.25))
    it.look("eval", [4], [1], rows(-5.0))
    it.look("train", [9, 4], [0, 2], rows(1.0, math.nan))
    assert [it.at_end(4, RESULT), it.at_end(9, RESULT)] == found
    assert it.at_rung(4, 0.5, None) == found[0]


def test_the_best_evaluation_is_of_its_column() -> None:
    it = watch("eval.accuracy", "best", "max")
    it.look("eval", [0, 1], [2, 1], rows(0.5, 0.8, 0.3, series="accuracy"))
    it.look("train", [0], [1], rows(0.99, series="accuracy"))
    assert [it.at_end(0, RESULT), it.at_end(1, RESULT)] == [0.8, 0.3]


def test_a_run_of_nothing_but_nan_has_nan_for_its_best() -> None:
    it = watch("loss", "best")
    it.look("train", [0], [2], rows(math.nan, math.nan))
    found = it.at_end(0, RESULT)
    assert found is not None
    assert math.isnan(found)


def test_a_run_that_goes_on_keeps_its_best_so_far() -> None:
    it = watch("loss", "best")
    it.go_on(0, 0.125)
    it.look("train", [0], [1], rows(2.0))
    assert it.at_end(0, RESULT) == 0.125
    other = watch("loss", "best")
    other.go_on(0, None)
    other.look("train", [0], [1], rows(2.0))
    assert other.at_end(0, RESULT) == 2.0
