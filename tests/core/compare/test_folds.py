"""A grid over the folds of a cross-validation: the folds of a configuration are its repeats."""

from typing import Any

import pytest
from scipy import stats

from core.compare.comparison import best_configuration, compare
from core.compare.table import folded
from core.studies import RunRecord
from tests.core.compare.studies import run, study

Json = dict[str, Any]
FOLD = "problem.data.split.fold"
LOSSES = {0.1: [1.0, 5.0, 9.0], 0.2: [0.8, 4.7, 8.9], 0.3: [0.1, 9.0, 9.5]}
"""Folds differ by far more than rates; the last rate has the best fold of all, by chance."""


def runs_of(losses: dict[float, list[float]], *, nested: bool = False) -> list[RunRecord]:
    made = []
    for row, values in enumerate(losses.values()):
        for fold, value in enumerate(values):
            split: Json = {FOLD: fold}
            if nested:
                split = {"problem.data.split": {"kind": "folds", "num": 3, "fold": fold}}
            params = {"optimizer.lr": list(losses)[row], **split}
            number = 3 * row + fold
            test = {"step": 9, "loss": 2 * value, "confusion_matrix": [[3, 1], [0, 4]]}
            made.append(
                run(
                    number, 0, repeats=1, metric=value, params=params,
                    result={"num_steps": 100, "test": {"best": test, "final": test}},
                )
            )  # fmt: skip
    return made


@pytest.mark.parametrize("nested", [False, True])
def test_folds_are_repeats_and_pairs(nested: bool) -> None:
    runs = runs_of(LOSSES, nested=nested)
    body = compare(study(), runs, complete=True)
    assert body["problems"] is None
    rows = body["configurations"]
    assert [row["configuration"] for row in rows] == [3, 0, 6]
    assert [row["values"] for row in rows] == [LOSSES[0.2], LOSSES[0.1], LOSSES[0.3]]
    assert [row["num_runs"] for row in rows] == [3, 3, 3]
    assert (body["leader"], best_configuration(study(), runs)) == (3, 3)
    difference = rows[1]["difference_to_leader"]
    apart = stats.ttest_1samp([0.2, 0.3, 0.1], 0.0).confidence_interval()
    assert difference["num"] == 3
    assert difference["mean"] == pytest.approx(0.2)
    assert difference["ci95"] == pytest.approx([apart.low, apart.high])
    loss = {"loss": pytest.approx(2 * sum(LOSSES[0.2]) / 3)}
    assert rows[0]["test"] == {"num": 3, "best": loss, "final": loss}


def test_repeats_of_folds_stay_apart() -> None:
    spec = study(repeats=2)
    runs = [
        run(fold, repeat, repeats=2, metric=10.0 * fold + repeat, params={FOLD: fold})
        for fold in range(3)
        for repeat in range(2)
    ]
    (row,) = compare(spec, runs, complete=True)["configurations"]
    assert row["values"] == [0.0, 1.0, 10.0, 11.0, 20.0, 21.0]


def test_a_fold_that_is_still_missing_leaves_its_place() -> None:
    runs = [each for each in runs_of(LOSSES) if each.index != 4]
    rows = compare(study(), runs, complete=False)["configurations"]
    (row,) = (each for each in rows if each["configuration"] == 3)
    assert row["values"] == [0.8, None, 8.9]


@pytest.mark.parametrize(
    "strategy",
    [{"kind": "tpe"}, {"kind": "random"}, {"kind": "grid", "stopper": {"kind": "halving"}}],
)
def test_where_folds_are_drawn_or_stopped_they_are_problems_of_their_own(strategy: Json) -> None:
    runs = runs_of(LOSSES)
    spec = {**study(), "strategy": strategy}
    assert folded(spec, runs) == runs
    assert len(compare(spec, runs, complete=True)["problems"]) == 3


def test_runs_without_folds_are_left_as_they_are() -> None:
    runs = [run(number, 0, repeats=1, metric=1.0) for number in range(3)]
    assert folded(study(), runs) == runs
