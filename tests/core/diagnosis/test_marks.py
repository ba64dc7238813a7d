"""Places of findings: what a picture of the loss marks, and the `steps` of a diagnosis."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core.diagnosis.diagnose import diagnose
from core.diagnosis.marks import _PLACES, Mark, marks_of, steps_of
from core.diagnosis.rules.table import RULES
from tests.core.diagnosis.runs import (
    TEN,
    X_SQUARED,
    curve,
    diagnosis,
    digits_job,
    function_job,
    gd,
    sgd,
    x_squared,
)


def columns(loss: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    return {"step": np.arange(float(loss.size)), "loss": loss}


def diagnosed(verdict: str, *findings: tuple[str, dict[str, float]]) -> dict[str, Any]:
    found = [
        {"rule": rule, "status": "triggered", "evidence": numbers} for rule, numbers in findings
    ]
    return {"verdict": verdict, "findings": found}


FALLING = columns(np.geomspace(10.0, 1e-4, 50))


def places(loss: list[float], rule: str, **numbers: float) -> list[tuple[float, float]]:
    rows = columns(np.array(loss)) | {"grad_norm": np.abs(np.array(loss))}
    marks = marks_of(diagnosed("healthy", (rule, numbers)), rows)
    assert {mark.rule for mark in marks} <= {rule}
    return [(mark.first, mark.last) for mark in marks]


INF = float("inf")


@pytest.mark.parametrize(
    ("rule", "loss", "expected"),
    [
        ("diverged", [4, 3, 2, 3, 4, 9, 40, INF], (4, 6)),
        ("loss_growing", [4, 3, 2, 3, 4, 9], (2, 5)),
        ("plateau", [9, 6, 2, 2, 2, 2, 2, 2], (2, 7)),
        ("noise_limited", [9, 6, 2, 2, 2, 2, 2, 2], (2, 7)),
        ("gradients_oppose", [4, 3, 4, 3, 4, 3], (3, 5)),
        ("cycling", [4, 3, 4, 3, 4, 3], (3, 5)),
        ("bouncing", [4, 30, 20, 20], (1, 1)),
        ("bouncing", [4, 2, 4, 2], (2, 3)),
        ("stationary", [4, 2, 1, 1], (3, 3)),
        ("negative_curvature", [4, 2, 1, 1], (3, 3)),
        ("gradient_spikes", [4, 2, 90, 1, 1], (2, 2)),
        ("exploding_start", [4, 2, 1, 1], (0, 0)),
        ("undefined_gradient", [4, 2, 1, INF], (2, 2)),
        ("undefined_update", [4, 2, 1, 1, INF, INF], (3, 3)),
        ("ringing", [4, 1, 3, 1, 2, 1], (3, 5)),
        ("equal_units", [4, 2, 1, 1], (0, 0)),
        ("held_by_clipping", [4, 4, 4, 3], (2, 3)),
        ("held_by_decay", [4, 2, 2, 2], (2, 3)),
    ],
)
def test_a_finding_is_marked_where_it_lies(
    rule: str, loss: list[float], expected: tuple[float, float]
) -> None:
    assert places(loss, rule) == [expected]


def test_numbers_of_a_finding_place_its_mark() -> None:
    found = diagnosed("plateau", ("constant_guess", {"constant_loss": 0.5}))
    (mark,) = marks_of(found, columns(np.array([2.0, 0.5])))
    assert mark == Mark("constant_guess", "a constant output: 0.5", 1.0, 1.0, 0.5)
    found = diagnosed("oscillating", ("ringing", {"period": 41.9}))
    (mark,) = marks_of(found, columns(np.array([2.0, 0.5, 1.0])))
    assert mark.label == "swings, one in 42 steps"
    assert places([5, 4, 3, 2, 1], "overfitting", best_step=2, best_eval_loss=3.5) == [(2, 4)]
    found = diagnosed("local_minimum", ("above_known_minimum", {"known_minimum": 0.25}))
    (mark,) = marks_of(found, columns(np.array([2.0, 1.0])))
    assert mark == Mark("above_known_minimum", "a lower minimum: 0.25", 1.0, 1.0, 0.25)
    # What is maximized is diagnosed with the other sign.
    (mark,) = marks_of(found, columns(np.array([-2.0, -1.0])), -1.0)
    assert mark.level == -0.25
    found = diagnosed("local_minimum", ("above_known_minimum", {"lower_loss_known": 0.25}))
    (mark,) = marks_of(found, columns(np.array([2.0, 1.0])))
    assert mark == Mark("above_known_minimum", "a lower loss: 0.25", 1.0, 1.0, 0.25)


def test_a_saddle_point_is_marked_with_the_eigenvalue_that_tells_it() -> None:
    least = {"smallest_eigenvalue": -2.0}
    for numbers in (least, {"smallest_eigenvalue": 3e-8, "smallest_scaled_eigenvalue": -2.0}):
        (mark,) = marks_of(diagnosed("saddle_point", ("negative_curvature", numbers)), FALLING)
        assert mark.label == "falls off to both sides, λ = -2"


def test_each_rule_that_is_marked_is_a_rule() -> None:
    assert set(_PLACES) <= {rule.id for rule in RULES}


@pytest.mark.parametrize(
    "rule", ["diverged", "overfitting", "constant_guess", "too_steep", "gradient_spikes"]
)
def test_a_finding_without_a_place_is_not_marked(rule: str) -> None:
    assert marks_of(diagnosed("diverging", (rule, {})), columns(np.array([INF, INF]))) == ()
    assert marks_of(diagnosed("diverging", (rule, {})), columns(np.array([2.0, 1.0]))) == ()
    clear = diagnosed("healthy")
    clear["findings"] = [{"rule": "plateau", "status": "clear", "evidence": {}}]
    assert marks_of(clear, FALLING) == ()
    assert marks_of(None, FALLING) == ()


@pytest.mark.parametrize("maximize", [False, True])
def test_a_diagnosis_says_at_which_steps_its_findings_lie(maximize: bool) -> None:
    """A loss that falls to row 40 and grows a hundredfold above its start by row 79, every 5th
    step recorded."""
    loss = np.concatenate([np.linspace(2.0, 1.0, 41), np.geomspace(1.05, 200.0, 39)])
    run = curve(-loss if maximize else loss, 0.1)
    run["step"] = run["step"] * 5
    job = digits_job({**gd(0.1), "maximize": maximize})
    found = diagnose(job, "diverged", None, run, None)
    last_below = 5 * int(np.flatnonzero(loss <= loss[0])[-1])
    steps = {each["rule"]: each["steps"] for each in found["findings"]}
    assert steps["diverged"] == [last_below, 395]
    assert {each["rule"] for each in found["findings"] if each["steps"]} <= {
        each["rule"] for each in found["findings"] if each["status"] == "triggered"
    }


def test_each_place_lies_within_the_history() -> None:
    found = diagnosis(function_job(X_SQUARED, TEN, gd(0.1)), sgd(x_squared, TEN, 400, 0.1))
    places = [each["steps"] for each in found["findings"] if each["steps"] is not None]
    assert [399, 399] in places  # at rest
    assert all(0 <= first <= last <= 399 for first, last in places)


def test_nothing_lies_in_a_history_without_rows() -> None:
    some = diagnosed("plateau", ("plateau", {}))
    assert steps_of(some, {}) == {}
    assert steps_of(some, columns(np.empty(0))) == {}
    assert steps_of(some, columns(np.array([float("nan")]))) == {}


def test_a_loss_too_large_to_draw_has_its_step_all_the_same() -> None:
    loss = np.geomspace(1.0, 1e300, 61)
    found = diagnose(digits_job(gd(0.1)), "diverged", None, curve(loss, 0.1), None)
    (steps,) = [each["steps"] for each in found["findings"] if each["rule"] == "diverged"]
    assert steps == [0, 60]
    (mark,) = marks_of(diagnosed("diverging", ("diverged", {})), columns(loss))
    assert (mark.first, mark.last) == (0, 39)
