"""Verdicts over whole kinds of runs, each trained for real: what a rule says of one it says of its
siblings."""

import copy
import math
from itertools import product

import pytest

from core.diagnosis.diagnose import diagnose
from tests.core.diagnosis.labelled.case import Json, adam, function, sgd, supervised, synthetic
from tests.core.diagnosis.labelled.running import child, improvement
from tests.core.diagnosis.rules.kinds_of_runs import SMOOTH, name, run_of, status
from tests.core.diagnosis.runs import finding

pytestmark = pytest.mark.filterwarnings("ignore")


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


@pytest.mark.parametrize("kind", ["adagrad", "soap"])
def test_decay_beside_the_gradient_holds_a_run_whatever_the_methods_name(kind: str) -> None:
    optimizer = {"kind": kind, "lr": 0.003, "weight_decay": 3.0, "decoupled_weight_decay": True}
    run = run_of(supervised("wine", [16], optimizer, 500, batch_size=32))
    assert status(run, "held_by_decay") == "triggered"
    assert run.diagnosis["remedies"][0]["patch"] == {"optimizer": {"weight_decay": 0.01}}


@pytest.mark.parametrize("decoupled", [False, True])
def test_decay_is_judged_by_its_option_and_not_by_the_name_of_the_method(decoupled: bool) -> None:
    shared = {"lr": 0.003, "weight_decay": 2.0, "decoupled_weight_decay": decoupled}
    found = [
        finding(run_of(supervised("wine", [16], {"kind": kind, **shared}, 600)).diagnosis,
                "held_by_decay")
        for kind in ("adam", "adamw")
    ]  # fmt: skip
    assert found[0] == found[1]


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


@pytest.mark.parametrize(
    ("kind", "decoupled"),
    [("adam", True), ("adamw", True), ("adopt", True), ("lion", True), ("sgd", False)],
)
@pytest.mark.parametrize("decay", [1.0, 2.5])
def test_decay_that_takes_the_weights_off_whole_is_named_and_cured(
    kind: str, decoupled: bool, decay: float
) -> None:
    optimizer = {
        "kind": kind, "lr": 1.0, "weight_decay": decay, "decoupled_weight_decay": decoupled,
    }  # fmt: skip
    run = run_of(supervised("iris", [16], optimizer, 300))
    found = finding(run.diagnosis, "held_by_decay")
    assert found["status"] == "triggered"
    assert found["evidence"]["share_of_weights"] == decay
    assert "off whole" in found["explanation"]
    assert run.diagnosis["verdict"] == ("plateau" if decay < 2.0 else "diverging")
    patched = optimizer | run.diagnosis["remedies"][0]["patch"]["optimizer"]
    assert patched["lr"] * patched["weight_decay"] <= 0.01


def test_a_run_that_diverged_for_its_rate_stands_still_on_no_ground() -> None:
    run = run_of(function("x1**2", {"x1": 3.0}, {**sgd(2.0), "weight_decay": 1e-3}, 1_000))
    assert run.diagnosis["verdict"] == "diverging"
    assert status(run, "held_by_decay") == status(run, "plateau") == "clear"
