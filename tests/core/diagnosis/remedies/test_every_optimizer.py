"""Every optimizer at a rate far too small or far too large: each remedy of a run that diverges and
the first one of another, applied, makes the run better; what it says holds for the optimizer at
hand."""

from typing import Any

import pytest

from core.specs.catalog import kinds
from tests.core.diagnosis.labelled.running import Run, child, improvement, perform, resolved

FUNCTIONS: dict[str, dict[str, Any]] = {
    "quadratic": {
        "function": {"kind": "quadratic", "eigenvalues": [1.0, 30.0]},
        "start": [2.0, 1.0],
    },
    "beale": {"function": {"kind": "beale"}, "start": [1.0, 1.0]},
    "rosenbrock": {"function": {"kind": "rosenbrock"}, "start": [-1.2, 1.0]},
}
FOLLOW_GRADIENTS = {"sgd", "asgd", "schedule_free_sgd", "lbfgs"}


DIGITS = {
    "kind": "supervised",
    "data": {"kind": "builtin", "name": "digits"},
    "model": {"kind": "mlp", "hidden": [24]},
}


def of_a_model(kind: str, lr: float, *, full: bool = False) -> Run:
    optimizer = {"kind": kind, "lr": lr}
    body = {"problem": DIGITS, "optimizer": optimizer, "budget": {"max_steps": 100}}
    return perform(resolved(body), full=full)


@pytest.mark.parametrize("kind", ["asgd", "schedule_free_sgd", "schedule_free_adamw", "shampoo"])
@pytest.mark.parametrize("lr", [1e-6, 1e-5])
def test_a_model_that_is_far_too_slow_gets_a_rate_at_which_it_learns(kind: str, lr: float) -> None:
    parent = of_a_model(kind, lr)
    assert parent.diagnosis["verdict"] == "too_slow"
    patch = parent.diagnosis["remedies"][0]["patch"]
    assert patch["optimizer"]["lr"] > 30.0 * lr
    after = child(parent)
    assert after is not None
    assert improvement(parent, after)["verdict"] == "improved"
    assert after.train["loss"][-10:].mean() < 0.5 * parent.train["loss"][-10:].mean(), patch


@pytest.mark.parametrize(
    ("kind", "lr"),
    [
        ("adadelta", 1000.0),
        ("adam", 1.0),
        ("adopt", 0.3),
        ("adopt", 10.0),
        ("adopt", 100.0),
        ("adamax", 5.0),
        ("nadam", 1.0),
        ("prodigy", 1000.0),
        ("schedule_free_adamw", 3.0),
        ("soap", 1.0),
        ("soap", 100.0),
    ],
)
def test_a_model_that_was_thrown_about_gets_a_rate_at_which_it_learns(kind: str, lr: float) -> None:
    """Such runs are chaotic: how far one is thrown, and so the rate, depends on last bits, which
    are the processor's. One remedy, or a second one, has it learn."""
    parent = of_a_model(kind, lr, full=lr == 100.0)
    patch = parent.diagnosis["remedies"][0]["patch"]
    assert patch["optimizer"]["lr"] <= 0.5 * lr
    patches = []
    for _ in range(2):
        patches.append(parent.diagnosis["remedies"][0]["patch"])
        after = child(parent)
        assert after is not None
        assert improvement(parent, after)["verdict"] != "worse", patches
        if after.train["loss"][-10:].mean() < 0.5 * after.train["loss"][0]:
            return
        parent = after
    pytest.fail(f"it does not learn after {patches}")


@pytest.mark.parametrize(("kind", "lr"), [("adagrad", 20.0), ("rmsprop", 1.0), ("muon", 10.0)])
def test_a_point_that_was_thrown_onto_a_plateau_gets_steps_of_its_own_size(
    kind: str, lr: float
) -> None:
    parent = run_at(kind, "rosenbrock", lr)
    if parent.diagnosis["verdict"] == "plateau":
        assert parent.diagnosis["remedies"][0]["patch"]["optimizer"]["lr"] == pytest.approx(0.06)


def run_at(kind: str, function: str, lr: float) -> Run:
    problem = {"kind": "function", **FUNCTIONS[function]}
    optimizer = {"kind": kind, "lr": lr} | ({"max_iter": 2} if kind == "lbfgs" else {})
    budget = {"max_steps": 120}
    body = {"problem": problem, "optimizer": optimizer, "budget": budget}
    return perform(resolved(body), full=False)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("kind", kinds("optimizers"))
def test_a_run_that_diverges_is_cured(kind: str, function: str) -> None:
    parent = run_at(kind, function, 1000.0)
    if parent.diagnosis["verdict"] != "diverging":
        return  # several methods come back from one huge step
    patches = [remedy["patch"] for remedy in parent.diagnosis["remedies"]]
    if kind not in FOLLOW_GRADIENTS:
        assert not any("gradient_clip" in patch for patch in patches)
    assert patches
    for index in range(len(patches)):
        after = child(parent, index)
        assert after is not None
        assert improvement(parent, after)["verdict"] == "improved", patches[index]


@pytest.mark.parametrize("rate", [10.0, 1000.0])
@pytest.mark.parametrize("kind", kinds("optimizers"))
def test_a_run_that_swings_at_a_rate_far_beyond_the_points_size_is_calmed(
    kind: str, rate: float
) -> None:
    parent = run_at(kind, "quadratic", rate)
    if parent.diagnosis["verdict"] != "oscillating":
        return
    after = child(parent)
    assert after is not None
    assert improvement(parent, after)["verdict"] == "improved", parent.diagnosis["remedies"]


@pytest.mark.parametrize("rate", [1e-3, 1e3])
@pytest.mark.parametrize("kind", ["adadelta", "lbfgs", "prodigy"])
def test_methods_that_find_the_length_themselves_get_the_factor_one(kind: str, rate: float) -> None:
    parent = run_at(kind, "quadratic", rate)
    rates = [
        remedy["patch"]["optimizer"]["lr"]
        for remedy in parent.diagnosis["remedies"]
        if "lr" in remedy["patch"].get("optimizer", {})
    ]
    assert all(found == pytest.approx(1.0) for found in rates)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("kind", kinds("optimizers"))
def test_a_run_that_is_too_slow_is_sped_up(kind: str, function: str) -> None:
    parent = run_at(kind, function, 1e-5)
    if parent.diagnosis["verdict"] not in ("too_slow", "plateau"):
        return
    after = child(parent)
    assert after is not None, parent.diagnosis
    assert improvement(parent, after)["verdict"] == "improved", parent.diagnosis["remedies"]
