"""Jobs side by side: differences, metrics, axes and bands, worked by hand."""

import math
from typing import Any

import numpy as np
import pytest

from core.compare.jobs import (
    Compared,
    Curve,
    Series,
    band,
    common_axis,
    compare,
    differing,
    equal_but_for_the_seed,
    goal_of_metric,
    rows_at,
)
from core.specs.base import Json

NAN, INF = math.nan, math.inf


def spec(lr: float = 0.1, seed: int = 0, **more: Any) -> Json:
    return {"optimizer": {"kind": "sgd", "lr": lr}, "seed": seed, "labels": {}, **more}


def column(*values: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(values, dtype=np.float64)


def curve(*values: float | None) -> Curve:
    known = np.array([value is not None for value in values])
    return Curve(column(*(NAN if value is None else value for value in values)), known)


@pytest.mark.parametrize(
    ("goal", "values", "expected"),
    [
        ("min", (3.0, 1.0, 2.0, 1.0), Series(1.0, 1.0, 20)),
        ("max", (3.0, 1.0, 2.0, 3.0), Series(3.0, 3.0, 0)),
        ("min", (3.0, 1.0, NAN), Series(NAN, 1.0, 20)),
        ("min", (3.0, -INF, INF), Series(INF, 3.0, 0)),
        ("max", (NAN,), Series(NAN, None, None)),
    ],
)
def test_best_is_the_first_best_of_the_finite_rows(
    goal: Any, values: tuple[float, ...], expected: Series
) -> None:
    steps = column(0, 20, 40, 60)[: len(values)]
    assert repr(Series.of(steps, column(*values), goal)) == repr(expected)


def test_each_metric_has_its_own_direction() -> None:
    climbing = {"optimizer": {"kind": "sgd", "maximize": True}}
    assert goal_of_metric("loss", spec()) == "min"
    assert goal_of_metric("loss", climbing) == goal_of_metric("eval.loss", climbing) == "max"
    assert goal_of_metric("eval.accuracy", climbing) == "max"
    assert goal_of_metric("eval.mae", climbing) == "min"


def test_an_axis_has_even_places_every_end_and_what_is_marked() -> None:
    one, other = column(0, 10, 20, 30, 40), column(0, 100)
    axis = common_axis([one, other], [column(10), column()], 5)
    assert axis.tolist() == [0, 10, 25, 40, 50, 75, 100]
    # Steps are whole; of few of them each comes once.
    assert common_axis([column(0, 1, 2)], [], 10).tolist() == [0, 1, 2]
    assert common_axis([column(0, 0.5)], [], 3).tolist() == [0, 0.25, 0.5]
    assert common_axis([column(7)], [column()], 200).tolist() == [7]
    assert common_axis([column(), column()], [], 5).tolist() == []


def test_a_place_shows_the_last_row_before_it() -> None:
    rows, known = rows_at(column(10, 20, 30), column(5, 10, 15, 20, 30, 31))
    assert known.tolist() == [False, True, True, True, True, False]
    assert rows[known].tolist() == [0, 0, 1, 2]
    assert not rows_at(column(), column(1, 2))[1].any()


def test_only_what_differs_is_told_by_path() -> None:
    apart, same = differing(
        [
            spec(0.1, problem={"kind": "function", "dim": 2}),
            spec(0.2, problem={"kind": "function"}),
        ]
    )
    assert apart == [{"optimizer.lr": 0.1, "problem.dim": 2}, {"optimizer.lr": 0.2}]
    assert same == {"optimizer.kind": "sgd", "seed": 0, "problem.kind": "function"}


def test_long_values_are_told_by_size_and_digest() -> None:
    rows = [[float(number)] for number in range(2_000)]
    apart, same = differing([spec(features=rows), spec(features=rows)])
    assert apart == [{}, {}]
    assert same["features"].keys() == {"size_bytes", "sha256"}
    apart, _ = differing([spec(features=rows), spec(features=rows[1:])])
    assert apart[0]["features"]["sha256"] != apart[1]["features"]["sha256"]


def test_groups_differ_by_their_seed_alone() -> None:
    specs = [
        spec(0.1, 0),
        spec(0.2, 0),
        spec(0.1, 1, labels={"run": "b"}, priority=9),
        spec(0.1, 2),
        spec(0.2, 0, labels={"run": "c"}),
        spec(0.3, 0),
    ]
    # The two at 0.2 have one seed: they are the same job twice, which tells nothing of seeds.
    assert equal_but_for_the_seed(specs) == [[0, 2, 3]]


def jobs_with(*curves: Curve, maximize: bool = False) -> list[Compared]:
    of = spec()
    of["optimizer"]["maximize"] = maximize
    return [Compared({"id": f"job_{at}"}, of, {}, {"loss": one}) for at, one in enumerate(curves)]


def test_a_band_is_least_median_and_largest() -> None:
    jobs = jobs_with(curve(1, 4, 3, 9), curve(3, 2, None, None), curve(2, 6, 5, None))
    assert band(jobs) == {
        "low": [1, 2, 3, None],
        "mid": [2, 4, 4, None],
        "high": [3, 6, 5, None],
    }


def test_what_is_not_finite_is_worse_than_all_else_in_a_band() -> None:
    curves = (curve(1.0, NAN), curve(2.0, 5.0), curve(3.0, INF))
    assert band(jobs_with(*curves)) == {"low": [1, 5], "mid": [2, INF], "high": [3, INF]}
    up = band(jobs_with(*curves, maximize=True))
    assert up == {"low": [1, -INF], "mid": [2, -INF], "high": [3, 5]}
    assert band([Compared({"id": "job_0"}, spec())]) == {"low": [], "mid": [], "high": []}


def test_changes_are_from_the_baseline() -> None:
    one = Compared(
        {"id": "job_a"},
        spec(0.1),
        {"loss": Series(2.0, 1.5, 7), "eval.accuracy": Series(0.5, 0.75, 3)},
        {"loss": curve(3.0, 2.0)},
    )
    other = Compared(
        {"id": "job_b"}, spec(0.2), {"loss": Series(INF, None, None)}, {"loss": curve(INF, None)}
    )
    body = compare([one, other], column(0, 10), baseline="job_a", x="step")
    first, second = (job["metrics"] for job in body["jobs"])
    assert first["loss"]["change"] == {"final": 0.0, "best": 0.0}
    assert second["loss"]["change"] == {"final": INF, "best": None}
    assert body["curves"] == {
        "x": [0, 10],
        "loss": {"job_a": [3.0, 2.0], "job_b": [INF, None]},
        "eval.accuracy": {},
    }
    backwards = compare([one, other], column(0, 10), baseline="job_b", x="step")
    assert backwards["jobs"][0]["metrics"]["eval.accuracy"]["change"] is None
    alone = compare([one, other], column(0, 10), baseline=None, x="step")
    assert {each["change"] for job in alone["jobs"] for each in job["metrics"].values()} == {None}
