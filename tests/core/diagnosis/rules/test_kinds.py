"""Verdicts over whole kinds of runs, each trained for real: what a rule says of one it says of its
siblings."""

import copy
import math
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from core.diagnosis.diagnose import diagnose
from core.specs.catalog import kinds
from core.specs.models import Activation
from tests.core.diagnosis.labelled.case import Json, adam, function, sgd, supervised, synthetic
from tests.core.diagnosis.labelled.cases.causes import within
from tests.core.diagnosis.labelled.running import Run, child, improvement, perform, resolved
from tests.core.diagnosis.runs import finding
from tests.core.train.harness import train

pytestmark = pytest.mark.filterwarnings("ignore")

SMOOTH = [sgd(0.05), sgd(0.02, momentum=0.9), sgd(0.02, momentum=0.5, nesterov=True), adam(0.05)]


def run_of(job: Json, *, full: bool = False) -> Run:
    return perform(resolved(job), full=full)


def status(run: Run, rule: str) -> str:
    found: str = finding(run.diagnosis, rule)["status"]
    return found


def name(value: object) -> str:
    return str(value).replace(" ", "")[:60]


# --- a gradient of exactly 0 ---


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


# --- bounds ---

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


# --- kinks ---


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


# --- swings ---


@pytest.mark.parametrize("steps", range(150, 290, 17))
@pytest.mark.parametrize("beta", [0.9985, 0.9995])
def test_swings_are_swings_in_whatever_phase_the_run_stops(beta: float, steps: int) -> None:
    pair = {"kind": "quadratic", "eigenvalues": [1.0, 3.0]}
    run = run_of(function(pair, [1.0, 1.0], sgd(0.05, momentum=beta), steps))
    assert run.diagnosis["verdict"] == "oscillating"
    after = child(run)
    assert after is not None
    assert improvement(run, after)["verdict"] == "improved"


@pytest.mark.parametrize("beta", [0.5, 0.8, 0.9, 0.95])
def test_momentum_whose_swings_die_out_is_well(beta: float) -> None:
    pair = {"kind": "quadratic", "eigenvalues": [1.0, 3.0]}
    run = run_of(function(pair, [1.0, 1.0], sgd(0.05, momentum=beta), 400))
    assert run.diagnosis["verdict"] in ("healthy", "converged")


# --- a constant guess ---


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("data", "hidden", "optimizer"),
    list(product(["wine", "breast_cancer"], [[32], [16, 16]], [sgd(0.01), adam(0.3)])),
    ids=name,
)
def test_a_run_no_better_than_a_constant_is_not_called_well(
    data: str, hidden: list[int], optimizer: Json, full: bool
) -> None:
    source = {"kind": "builtin", "name": data, "standardize": False}
    run = run_of(supervised(source, hidden, optimizer, 150, batch_size=32), full=full)
    guess = finding(run.diagnosis, "constant_guess")
    well = run.diagnosis["verdict"] in ("healthy", "converged")
    assert well == (guess["status"] == "clear" and well)
    if guess["status"] == "triggered":
        patch = run.diagnosis["remedies"][0]["patch"]
        assert patch == {"problem": {"data": {"standardize": True}}}


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_labels_without_a_rule_leave_a_line_at_a_constants_loss(activation: str) -> None:
    features = [[math.sin(7.0 * i + j) for j in range(3)] for i in range(900)]
    targets = [int(math.sin(12.9898 * i * i) * 43758.5453 % 2) for i in range(900)]
    data = {"kind": "inline", "features": features, "targets": targets}
    net: Json = {"kind": "mlp", "hidden": [3], "activation": activation}
    run = run_of(supervised(data, net, sgd(0.05), 200), full=True)
    assert run.diagnosis["verdict"] not in ("healthy", "converged")


# --- steps that are not defined ---


@pytest.mark.parametrize("kind", ["adam", "adamw", "adamax", "nadam", "radam", "rmsprop"])
@pytest.mark.parametrize(("eps", "precision"), [(0.0, "float64"), (1e-50, "float32")])
def test_an_eps_that_guards_nothing_is_named_and_cured(
    kind: str, eps: float, precision: str
) -> None:
    job = function(
        "x1**2 + 0*x2", {"x1": 3.0, "x2": 1.0}, {"kind": kind, "lr": 0.01, "eps": eps}, 40,
        precision=precision,
    )  # fmt: skip
    run = run_of(job)
    assert run.ending.outcome == "diverged"
    assert status(run, "undefined_update") == "triggered"
    assert [each["patch"] for each in run.diagnosis["remedies"]] == [{"optimizer": {"eps": 1e-8}}]
    after = child(run)
    assert after is not None
    assert improvement(run, after)["verdict"] == "improved"


@pytest.mark.parametrize("optimizer", SMOOTH, ids=name)
@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("sqrt(x1**2 + x2**2)", {"x1": 0.0, "x2": 0.0}),
        ("sqrt(x1**4)", {"x1": 0.0}),
        ("sqrt(abs(x1)) + x2**2", {"x1": 0.0, "x2": 0.0}),
    ],
)
def test_a_loss_without_a_slope_is_named_and_no_rate_is_offered(
    text: str, start: Json, optimizer: Json
) -> None:
    run = run_of(function(text, start, optimizer, 40))
    assert run.diagnosis["verdict"] == "diverging"
    assert status(run, "undefined_gradient") == "triggered"
    assert not any("optimizer" in each["patch"] for each in run.diagnosis["remedies"])
    after = child(run)
    assert after is not None
    assert improvement(run, after)["verdict"] == "improved"


def test_a_rate_that_throws_the_loss_up_is_no_undefined_step() -> None:
    run = run_of(function("x1**4", {"x1": 3.0}, sgd(10.0), 40))
    assert run.diagnosis["verdict"] == "diverging"
    assert status(run, "undefined_gradient") == status(run, "undefined_update") == "clear"


# --- rest ---


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


# --- what holds a run ---


UNEQUAL: Json = {"problem": {"model": {"init": {"kind": "kaiming_uniform"}}}}
WITHOUT_HARM = ("healthy", "converged", "noise_limited", "undetermined")


def equal_start(start: Json, **model: Any) -> Json:
    return {"kind": "mlp", "hidden": [16], "init": start, **model}


def assert_another_start_helps(run: Run) -> None:
    """The finding is there, no verdict denies it, and the remedy is offered and improves."""
    assert status(run, "equal_units") == "triggered"
    assert run.diagnosis["verdict"] not in WITHOUT_HARM
    patches = [remedy["patch"] for remedy in run.diagnosis["remedies"]]
    after = child(run, patches.index(UNEQUAL))
    assert after is not None
    assert improvement(run, after)["verdict"] == "improved"


@pytest.mark.parametrize(
    ("optimizer", "full"),
    [(sgd(0.1), False), (adam(0.01), False), (sgd(0.05, momentum=0.9), True)],
    ids=name,
)
@pytest.mark.parametrize("value", [0.0, 0.01, 0.1, -0.3])
def test_equal_first_weights_get_unequal_ones(value: float, optimizer: Json, full: bool) -> None:
    net = equal_start({"kind": "constant", "value": value})
    run = run_of(supervised("wine", net, optimizer, 150, batch_size=32), full=full)
    assert_another_start_helps(run)


@pytest.mark.parametrize("activation", get_args(Activation))
def test_equal_units_are_named_whatever_the_activation(activation: str) -> None:
    net = equal_start({"kind": "constant", "value": 0.1}, activation=activation)
    for optimizer, size in ((sgd(0.1, momentum=0.9), "full"), (adam(0.01), 32)):
        run = run_of(supervised("wine", net, optimizer, 120, batch_size=size))
        assert_another_start_helps(run)


@pytest.mark.parametrize(
    ("init", "precision"),
    [
        ({"kind": "normal", "mean": 0.1, "std": 0.0}, "float64"),
        ({"kind": "normal", "mean": 0.1, "std": 1e-12}, "float32"),
        ({"kind": "uniform", "low": 0.2, "high": 0.2}, "float32"),
        ({"kind": "xavier_normal", "gain": 1e-60}, "float32"),
        ({"kind": "constant", "value": -0.1}, "float64"),
    ],
    ids=name,
)
@pytest.mark.parametrize(
    "more", [{"hidden": [12, 12]}, {"norm": "batch"}, {"norm": "layer"}], ids=name
)
def test_every_way_to_equal_weights_is_one_kind(init: Json, precision: str, more: Json) -> None:
    net = equal_start(init, activation="tanh", **more)
    job = supervised("wine", net, adam(0.01), 100, batch_size="full", precision=precision)
    assert_another_start_helps(run_of(job))


@pytest.mark.parametrize(
    ("data", "more"),
    [
        ("wine", {"dropout": 0.2}),  # leaves each unit out of other rows
        ("wine", {"init": {"kind": "normal", "mean": 0.1, "std": 1e-3}}),
        ("wine", {"hidden": [1]}),  # nothing to be equal to
        ("wine", {"hidden": [1, 8]}),  # all goes through one unit anyway
        ("breast_cancer", {"activation": "identity"}),  # linear, one difference of outputs
        ("diabetes", {"activation": "identity", "hidden": [8, 8]}),
    ],
    ids=name,
)
def test_equal_weights_that_cost_nothing_are_not_blamed(data: str, more: Json) -> None:
    net = equal_start({"kind": "constant", "value": 0.1}, **{"activation": "tanh", **more})
    lr = 0.05 if data != "diabetes" else 1e-4
    run = run_of(supervised(data, net, sgd(lr, momentum=0.9), 200, batch_size="full"))
    assert status(run, "equal_units") == "clear"
    assert UNEQUAL not in [remedy["patch"] for remedy in run.diagnosis["remedies"]]


def test_a_target_that_equal_units_reached_is_reached() -> None:
    net = equal_start({"kind": "constant", "value": 0.1}, activation="tanh")
    job = supervised("iris", net, adam(0.02), 400, batch_size="full", stop={"target_loss": 0.3})
    run = run_of(job)
    assert run.ending.outcome == "converged"
    assert status(run, "equal_units") == "triggered"
    assert run.diagnosis["verdict"] == "healthy"


TURNING = {"lbfgs", "shampoo", "soap"}
"""Methods that make whole steps of rounding errors: of what a few pairs, or eigenvectors, tell."""


@pytest.mark.parametrize("kind", ["shampoo", "soap"])
def test_of_methods_that_turn_equal_units_nothing_is_said(kind: str) -> None:
    net = equal_start({"kind": "constant", "value": 0.1}, activation="tanh")
    run = run_of(supervised("wine", net, {"kind": kind}, 40))
    assert status(run, "equal_units") == "undetermined"


@pytest.mark.parametrize("kind", [kind for kind in kinds("optimizers") if kind not in TURNING])
def test_units_that_begin_equal_stay_equal_with_every_optimizer(kind: str, tmp_path: Path) -> None:
    """What the rule says, seen in the weights; dropout is what tells units apart."""
    net = equal_start({"kind": "constant", "value": 0.1}, activation="tanh")
    for dropout, apart in ((0.0, False), (0.5, True)):
        job = supervised("wine", {**net, "dropout": dropout}, {"kind": kind}, 40)
        first = train(resolved(job), tmp_path / str(apart)).weights()["hidden.0.linear.weight"]
        spread = np.abs(first - first.mean(axis=0)).max() / np.abs(first).max()
        assert (spread > 1e-5) == apart


@pytest.mark.parametrize(
    ("more", "optimizer", "rule", "field"),
    [
        ({"gradient_clip": {"kind": "norm", "max_norm": 1e-4}}, sgd(0.1), "held_by_clipping",
         "gradient_clip"),
        ({"gradient_clip": {"kind": "value", "clip_value": 1e-5}}, sgd(0.1), "held_by_clipping",
         "gradient_clip"),
        ({}, {"kind": "adamw", "lr": 0.01, "weight_decay": 40.0}, "held_by_decay", "optimizer"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("data", ["wine", "iris"])
def test_a_limit_that_holds_the_run_is_loosened_first(
    data: str, more: Json, optimizer: Json, rule: str, field: str
) -> None:
    run = run_of(supervised(data, [16], optimizer, 300, batch_size=32, **more))
    assert status(run, rule) == "triggered"
    assert list(run.diagnosis["remedies"][0]["patch"]) == [field]
    after = child(run)
    assert after is not None
    assert improvement(run, after)["verdict"] == "improved"


# --- remedies are tried ---


@pytest.mark.parametrize(
    ("text", "start", "optimizer"),
    [
        ("x1**4 + x2**2", {"x1": 20.0, "x2": 1.0}, sgd(1.0)),
        ("exp(x1**2) + x2**2", {"x1": 2.5, "x2": 1.0}, sgd(0.5)),
        ("cosh(3*x1)", {"x1": 5.0}, sgd(2.0)),
        ("x1**6", {"x1": 4.0}, sgd(100.0)),
    ],
)
def test_a_rate_that_is_offered_is_finite_and_below_the_one_said_to_be_stable(
    text: str, start: Json, optimizer: Json
) -> None:
    run = run_of(function(text, start, optimizer, 60))
    assert run.diagnosis["remedies"]
    for index, each in enumerate(run.diagnosis["remedies"]):
        stable, patch = each["expected"].get("stable_below"), each["patch"].get("optimizer", {})
        if stable is not None:
            assert patch["lr"] <= stable
        after = child(run, index)
        assert after is not None
        assert math.isfinite(float(after.train["loss"][min(8, len(after.train["loss"]) - 1)]))


# --- a training loss that jitters by itself ---


JITTERS: list[tuple[str, Json]] = [
    ("batch norm", {"norm": "batch"}),
    ("dropout", {"dropout": 0.2}),
    ("both", {"norm": "batch", "dropout": 0.1}),
]


@pytest.mark.parametrize(("data", "batch"), [("breast_cancer", 32), ("iris", 16), ("wine", 16)])
@pytest.mark.parametrize(("_", "parts"), JITTERS, ids=[name for name, _ in JITTERS])
def test_the_jitter_of_the_training_loss_is_not_taken_for_the_steps_noise(
    _: str, parts: Json, data: str, batch: int
) -> None:
    model = {"kind": "mlp", "hidden": [32], **parts}
    run = run_of(supervised(data, model, sgd(0.1), 400, batch_size=batch))
    assert status(run, "noise_limited") == "clear"
    assert run.diagnosis["verdict"] in {"healthy", "converged", "overfitting"}


def test_noise_that_holds_the_evaluation_losses_up_is_still_told() -> None:
    data = synthetic("linear_regression", 3, num_samples=400, num_features=8, noise=1.0)
    model = {"kind": "mlp", "hidden": [32], "norm": "batch"}
    job = supervised(data, model, sgd(0.05), 800, batch_size=8)
    assert run_of(job).diagnosis["verdict"] == "noise_limited"
    seen = finding(run_of(job).diagnosis, "noise_limited")["evidence"]
    assert seen["eval_level"] < seen["level"]  # in training mode the loss looks larger


def test_without_evaluations_nothing_is_said_of_a_loss_that_jitters() -> None:
    model = {"kind": "mlp", "hidden": [32], "norm": "batch"}
    job = supervised("breast_cancer", model, sgd(0.2), 400, batch_size=32)
    job["record"] = {"eval_every": None}
    assert status(run_of(job), "noise_limited") == "undetermined"


# --- a rate that blew up ---


@pytest.mark.parametrize("data", ["digits", "wine"])
@pytest.mark.parametrize("lr", [10.0, 30.0, 100.0])
@pytest.mark.parametrize("seen", [1.0, 1e-2, 1e-4])
def test_no_rate_is_offered_by_a_curvature_that_would_have_allowed_the_one_that_blew_up(
    data: str, lr: float, seen: float
) -> None:
    job = supervised(data, {"kind": "mlp"}, sgd(lr), 300)
    run = run_of(job, full=True)
    measured = copy.deepcopy(run.measured)
    assert measured is not None
    assert run.diagnosis["verdict"] == "diverging"
    measured["initial"]["largest"] *= seen  # as of a measurement that was cut short
    ending = run.ending
    found = diagnose(run.spec, ending.outcome, ending.result, run.train, run.evaluation, measured)
    for remedy in found["remedies"]:
        assert remedy["expected"].get("stable_below", 0.0) <= 2.0 * lr
        if "lr" in remedy["patch"].get("optimizer", {}):
            assert remedy["patch"]["optimizer"]["lr"] < 0.5 * lr
