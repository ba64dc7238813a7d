"""Points of rest: gradients of 0, bounds, kinks, least squares, and what is none."""

from functools import cache
from typing import Any

import pytest

from tests.core.diagnosis.labelled.case import Json, adam, function, sgd, supervised, synthetic
from tests.core.diagnosis.labelled.cases.causes import within
from tests.core.diagnosis.labelled.running import child, improvement
from tests.core.diagnosis.rules.kinds_of_runs import SMOOTH, name, run_of, status

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("optimizer", SMOOTH, ids=name)
@pytest.mark.parametrize(
    ("text", "start", "verdict"),
    [
        ("x1**3", {"x1": 0.0}, "saddle_point"),
        ("x1**5 + x2**2", {"x1": 0.0, "x2": 0.0}, "saddle_point"),
        ("x1**2 - x2**4", {"x1": 0.0, "x2": 0.0}, "saddle_point"),
        ("x1*x2*x3", {"x1": 0.0, "x2": 0.0, "x3": 0.0}, "saddle_point"),
        ("x1**4", {"x1": 0.0}, "converged"),
        ("x1**2*x2**2", {"x1": 0.0, "x2": 2.0}, "converged"),
        ("max(0, 1 - x1)", {"x1": 3.0}, "converged"),
        ("1 - exp(-x1**2)", {"x1": 40.0}, "local_minimum"),
    ],
)
def test_a_gradient_of_exactly_0_is_0_whatever_it_was_at_first(
    text: str, start: Json, verdict: str, optimizer: Json
) -> None:
    run = run_of(function(text, start, optimizer, 30))
    assert (run.train["grad_norm"] == 0.0).all()
    assert status(run, "stationary") == "triggered"
    assert run.diagnosis["verdict"] == verdict
    for index in range(len(run.diagnosis["remedies"])):
        after = child(run, index)
        assert after is not None
        assert (after.train["x"] != after.train["x"][0]).any(), "a remedy moves the point"


BOUNDED: list[tuple[str, Json, Any]] = [
    ("(x1-3)**2 + x2**2", {"x1": 0.2, "x2": 1.0}, [[0, 1], [-5, 5]]),
    ("exp(x1) + x2**2", {"x1": 0.2, "x2": 1.0}, [[-1, 1], [-5, 5]]),
    ("3*x1 - 2*x2", {"x1": 0.5, "x2": 0.5}, [0, 1]),
    ("(x1+2)**2 + (x2-4)**2 + x1*x2", {"x1": 0.5, "x2": 0.5}, [-1, 1]),
    ("log(x1) + x2**2", {"x1": 0.5, "x2": 0.3}, [[0.1, 2], [-1, 1]]),
    ("-x1**2 + x2**2", {"x1": 0.5, "x2": 0.5}, [-1, 1]),
]


@pytest.mark.parametrize("optimizer", SMOOTH, ids=name)
@pytest.mark.parametrize(("text", "start", "bounds"), BOUNDED)
def test_a_constrained_minimum_is_a_point_of_rest(
    text: str, start: Json, bounds: Any, optimizer: Json
) -> None:
    run = run_of(within(function(text, start, optimizer, 1200), bounds))
    assert run.diagnosis["verdict"] == "converged", status(run, "stationary")
    assert run.diagnosis["remedies"] == []


@pytest.mark.parametrize(("dim", "low"), [(2, 1.0), (5, 1.0), (3, -4.0), (40, 0.5)])
def test_a_sphere_off_its_centre_is_at_rest_on_the_bound(dim: int, low: float) -> None:
    job = function({"kind": "sphere", "dim": dim}, [low + 0.7] * dim, sgd(0.1), 200)
    run = run_of(within(job, [low, low + 1.0]), full=dim == 3)
    assert run.diagnosis["verdict"] == "converged"


def test_bounds_that_hold_nothing_change_nothing() -> None:
    job = function("sphere", [1.5, 1.5], sgd(5e-4), 200)
    assert run_of(within(job, [-5, 5])).diagnosis["verdict"] == "too_slow"
    assert run_of(job).diagnosis["verdict"] == "too_slow"


@pytest.mark.parametrize(("text", "start", "bounds"), BOUNDED[:3])
def test_a_child_equal_to_its_parent_is_no_change(text: str, start: Json, bounds: Any) -> None:
    job = within(function(text, start, sgd(0.1), 300), bounds)
    run = run_of(job)
    assert improvement(run, run_of(job))["verdict"] == "no_change"
    sooner = within(function(text, start, sgd(0.3), 300), bounds)
    assert improvement(run, run_of(sooner))["verdict"] == "no_change", "both come to rest there"


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("max(x1, x2)", {"x1": 1.0, "x2": 0.9}),
        ("max(abs(x1), abs(x2))", {"x1": 3.0, "x2": 3.0}),
        ("abs(x1 - x2) + 0.5*x1", {"x1": 4.0, "x2": 4.0}),
        ("max(0, 1 - x1) + max(0, 1 - x2)", {"x1": -9.0, "x2": -9.0}),
        ("max(3*x1, x1 + x2) + 0.1*abs(x2)", {"x1": 6.0, "x2": 12.0}),
    ],
)
@pytest.mark.parametrize("lr", [0.01, 0.03])
def test_no_saddle_point_along_a_kink_whose_slope_is_as_large_as_ever(
    text: str, start: Json, lr: float, full: bool
) -> None:
    run = run_of(function(text, start, sgd(lr), 100), full=full)
    assert status(run, "negative_curvature") != "triggered"
    assert run.diagnosis["verdict"] in ("too_slow", "healthy", "oscillating")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("abs(x1) + x2**2", "converged"), ("x2**2 - abs(x1)", "saddle_point")],
)
def test_at_rest_on_a_kink_the_values_around_tell(text: str, verdict: str) -> None:
    run = run_of(function(text, {"x1": 0.0, "x2": 0.9}, sgd(0.1), 300))
    assert run.diagnosis["verdict"] == verdict


def least_squares(condition: float, steps: int) -> Json:
    data = synthetic(
        "linear_regression", 4, num_samples=200, num_features=8, condition_number=condition
    )
    return supervised(data, [], sgd(0.1), steps, batch_size="full", precision="float64")


@cache
def first_and_least_loss(condition: float) -> tuple[float, float]:
    """Of a run long enough to come to rest."""
    loss = run_of(least_squares(condition, 20_000)).train["loss"]
    return float(loss[0]), float(loss[-1])


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("steps", [60, 120, 250, 500, 1000])
@pytest.mark.parametrize("condition", [30.0, 300.0])
def test_least_squares_has_converged_only_where_a_thousandth_of_the_gap_is_left(
    condition: float, steps: int, full: bool
) -> None:
    first, least = first_and_least_loss(condition)
    run = run_of(least_squares(condition, steps), full=full)
    left = (run.train["loss"][-1] - least) / (first - least)
    if run.diagnosis["verdict"] == "converged":
        assert left <= 2e-3
    elif full:
        assert left >= 1e-5


@pytest.mark.parametrize("lr", [0.3, 1.0, 3.0])
def test_a_separable_softmax_does_not_converge_while_its_loss_falls(lr: float) -> None:
    data = synthetic("blobs", 1, num_samples=200, num_classes=2, std=0.5)
    for steps in (200, 800):
        run = run_of(supervised(data, [], sgd(lr), steps, batch_size="full"), full=True)
        assert run.diagnosis["verdict"] != "converged"


@pytest.mark.parametrize("std", [1.0, 3.0])
def test_a_huge_first_gradient_makes_no_later_one_a_point_of_rest(std: float) -> None:
    net: Json = {"kind": "mlp", "hidden": [16], "init": {"kind": "normal", "std": std}}
    for steps in (100, 300):
        job = supervised("digits", net, adam(0.02), steps, batch_size="full")
        assert run_of(job, full=True).diagnosis["verdict"] != "converged"
