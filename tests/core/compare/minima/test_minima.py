"""The minima that the runs of a function found."""

import math
from typing import Any

import numpy as np
import pytest

from core.compare.comparison import compare
from core.compare.minima.minima import distinct_minima, minima
from core.specs.base import stored
from core.specs.formulas.values import value_at
from core.specs.functions import Function
from core.studies import RunRecord
from tests.core.compare.studies import run, study

HIMMELBLAU = {"kind": "function", "function": {"kind": "himmelblau"}}
KNOWN = [(3.0, 2.0), (-2.805118, 3.131312), (-3.779310, -3.283186), (3.584428, -1.848126)]


def ended(points: list[Any], values: list[float], **fields: Any) -> list[RunRecord]:
    return [
        run(0, repeat, repeats=len(points), metric=value, **fields,
            result={"num_steps": 9, "solution": point, "value": value})
        for repeat, (point, value) in enumerate(zip(points, values, strict=True))
    ]  # fmt: skip


def himmelblau(points: list[tuple[float, float]]) -> list[RunRecord]:
    x = np.array(points)
    values = (x[:, 0] ** 2 + x[:, 1] - 11) ** 2 + (x[:, 0] + x[:, 1] ** 2 - 7) ** 2
    return ended([list(point) for point in points], values.tolist())


def test_himmelblaus_four_minima_and_one_that_is_still_on_its_way() -> None:
    near = [(x + 1e-4 * i, y - 2e-4 * i) for x, y in KNOWN for i in range(2)]
    found = minima(HIMMELBLAU, himmelblau([*near, (0.5, 1.0)]))
    assert found is not None
    assert (found["num_starts"], found["num_minima"], found["num_unsettled"]) == (9, 4, 1)
    assert found["radius"] == pytest.approx([0.01, 0.01])
    for one in found["minima"]:
        assert (one["share"], one["num_runs"]) == (2 / 9, 2)
        assert min(math.dist(one["point"], point) for point in KNOWN) < 1e-3
    assert found["minima"][0]["value"] <= found["minima"][1]["value"]
    assert found["minima"][0]["best_run"] % 2 == 0


def test_a_study_of_a_function_says_what_its_starts_found() -> None:
    made = himmelblau([*KNOWN, KNOWN[0], (100.0, 100.0)])
    lost = {"num_steps": 9, "solution": [math.nan] * 2, "value": math.nan}
    made[5] = run(0, 5, repeats=6, outcome="diverged", metric=math.nan, result=lost)
    body = compare(study(repeats=6, name="loss", problem=HIMMELBLAU), made, complete=True)
    found = body["minima"]
    assert (found["num_minima"], found["num_lost"], found["num_starts"]) == (4, 1, 6)
    assert sorted(one["share"] for one in found["minima"]) == pytest.approx([1 / 6] * 3 + [1 / 3])
    assert compare(study(), [run(0, 0, repeats=1, metric=1.0)], complete=True)["minima"] is None


def test_named_coordinates_keep_their_names() -> None:
    problem = {
        "kind": "function",
        "function": {"kind": "expression", "expression": "(a - 1)**2 + b**2"},
        "start": {"kind": "uniform", "low": -5.0, "high": 5.0},
    }
    found = minima(problem, ended([{"a": 1.0, "b": 0.0}, {"a": 1.001, "b": 0.0}], [0.0, 1e-6]))
    assert found is not None
    assert found["minima"] == [
        {"point": {"a": 1.0, "b": 0.0}, "value": 0.0, "share": 1.0, "num_runs": 2, "best_run": 0}
    ]


def test_at_a_bound_a_run_has_settled_though_the_function_falls_beyond() -> None:
    problem = {
        "kind": "function",
        "function": {"kind": "expression", "expression": "x + y**2"},
        "bounds": [-1.0, 1.0],
    }
    found = minima(problem, ended([{"x": -1.0, "y": 0.0}], [-1.0]))
    assert found is not None
    assert (found["num_minima"], found["num_unsettled"]) == (1, 0)


def test_runs_that_climb_find_maxima_highest_first() -> None:
    problem = {
        "kind": "function",
        "function": {"kind": "expression", "expression": "-(x**2 - 1)**2 + 0.1*x"},
        "bounds": [-3.0, 3.0],
    }
    tops = [-0.9872, 1.0123]
    values = [-((x**2 - 1) ** 2) + 0.1 * x for x in tops]
    found = minima(problem, ended([{"x": x} for x in tops], values), "max")
    assert found is not None
    assert [one["point"]["x"] for one in found["minima"]] == [1.0123, -0.9872]


def test_without_an_end_there_are_no_minima() -> None:
    assert minima(HIMMELBLAU, [run(0, 0, repeats=1, status="running")]) is None
    failed = minima(HIMMELBLAU, [run(0, 0, repeats=1, status="failed")])
    assert failed is not None
    assert (failed["num_lost"], failed["minima"]) == (1, [])


def test_a_thousand_starts_of_rastrigin_fall_into_its_grid_of_minima() -> None:
    problem = {"kind": "function", "function": {"kind": "rastrigin", "dim": 2}}
    rng = np.random.default_rng(3)
    # Its minima lie near the whole numbers: Newton's method finds each from there.
    x = np.rint(rng.uniform(-2.0, 2.0, size=(1_000, 2)))
    grid = {tuple(point) for point in x.tolist()}
    for _ in range(20):
        x -= (2 * x + 20 * math.pi * np.sin(2 * math.pi * x)) / (
            2 + 40 * math.pi**2 * np.cos(2 * math.pi * x)
        )
    function = stored(Function, problem["function"])
    found = minima(problem, ended(x.tolist(), value_at(function, x).tolist()))
    assert found is not None
    assert (found["num_minima"], found["num_unsettled"]) == (len(grid), 0)
    assert found["minima"][0]["point"] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert sum(one["share"] for one in found["minima"]) == pytest.approx(1.0)


def test_neighbours_are_found_wherever_they_lie_in_line() -> None:
    """The search along one coordinate takes all that a search of all pairs takes."""
    rng = np.random.default_rng(4)
    points, values = rng.uniform(size=(400, 3)), rng.uniform(size=400)
    found = distinct_minima(points, values.tolist(), radius=0.15)
    left, expected = np.ones(400, dtype=bool), []
    for at in np.argsort(values, kind="stable"):
        if left[at]:
            near = left & (np.linalg.norm(points - points[at], axis=1) <= 0.15)
            left &= ~near
            expected.append(tuple(np.flatnonzero(near).tolist()))
    assert [one.runs for one in found.minima] == expected
