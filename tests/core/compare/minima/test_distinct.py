"""Many starts of one function: the minima that they find."""

import json
import math

import numpy as np
import pytest

from core.compare.minima.minima import distinct_minima
from core.specs.job import JobSpec
from tests.core.train.fused.harness import train_population


def test_points_within_the_radius_of_a_lower_one_are_one_minimum() -> None:
    points = [[0.0, 0.0], [0.0, 0.01], [1.0, 1.0], [0.0, -0.02], [1.0, 1.01]]
    found = distinct_minima(points, [0.0, 0.1, -1.0, 0.4, 0.0], radius=0.1)
    assert [minimum.runs for minimum in found.minima] == [(2, 4), (0, 1, 3)]
    assert [minimum.share for minimum in found.minima] == [0.4, 0.6]
    assert found.best is not None
    assert (found.best.point, found.best.value) == ((1.0, 1.0), -1.0)


def test_diverged_runs_count_as_starts_and_find_nothing() -> None:
    points = [[math.nan], [3.0], [math.inf], [5.0]]
    found = distinct_minima(points, [0.0, 1.0, math.inf, math.nan], radius=1.0)
    assert found.lost == (0, 2, 3)
    assert [minimum.share for minimum in found.minima] == [0.25]


def test_a_run_that_has_not_settled_founds_no_minimum() -> None:
    found = distinct_minima(
        [[0.0], [0.05], [7.0]], [1.0, 0.9, 0.0], settled=[True, False, False], radius=0.1
    )
    assert [minimum.runs for minimum in found.minima] == [(0, 1)]


def test_no_run_finds_no_minimum() -> None:
    assert distinct_minima(np.zeros((0, 2)), [], radius=1.0).best is None


def test_points_must_fit_the_values() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        distinct_minima([[1.0]], [1.0, 2.0], radius=1.0)


def test_himmelblaus_four_minima_are_found_from_many_starts() -> None:
    def spec(seed: int) -> JobSpec:
        start = {"kind": "uniform", "low": -5.0, "high": 5.0}
        body = {
            "problem": {"kind": "function", "function": {"kind": "himmelblau"}, "start": start},
            "optimizer": {"kind": "adam", "lr": 0.1}, "batch_size": "full", "seed": seed,
            "precision": "float64", "device": "cpu", "budget": {"max_steps": 300},
        }  # fmt: skip
        return JobSpec.model_validate_json(json.dumps(body))

    gathered = train_population([spec(seed) for seed in range(60)])
    results = [gathered.endings[run].ending.result for run in range(60)]
    found = distinct_minima(
        [result["solution"] for result in results],
        [result["value"] for result in results],
        radius=0.05,
    )
    # Himmelblau 1972: four minima of value 0.
    known = [(3.0, 2.0), (-2.805118, 3.131312), (-3.779310, -3.283186), (3.584428, -1.848126)]
    assert len(found.minima) == 4
    for minimum in found.minima:
        assert minimum.value < 1e-6
        assert min(math.dist(minimum.point, point) for point in known) < 1e-3
    assert sum(minimum.share for minimum in found.minima) == pytest.approx(1.0)
