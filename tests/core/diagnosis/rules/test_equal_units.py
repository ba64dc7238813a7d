"""Units that begin equal: named in every form, blamed only where they cost something."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from core.specs.catalog import kinds
from core.specs.models import Activation
from tests.core.diagnosis.labelled.case import Json, adam, sgd, supervised
from tests.core.diagnosis.labelled.running import Run, child, improvement, resolved
from tests.core.diagnosis.rules.kinds_of_runs import name, run_of, status
from tests.core.train.harness import train

pytestmark = pytest.mark.filterwarnings("ignore")
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
