"""Every optimizer at a rate far too small or far too large: the first remedy, applied, makes the
run better; what it says holds for the optimizer at hand."""

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
    after = child(parent)
    assert after is not None
    assert improvement(parent, after)["verdict"] == "improved", patches


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("kind", kinds("optimizers"))
def test_a_run_that_is_too_slow_is_sped_up(kind: str, function: str) -> None:
    parent = run_at(kind, function, 1e-5)
    if parent.diagnosis["verdict"] not in ("too_slow", "plateau"):
        return
    after = child(parent)
    assert after is not None, parent.diagnosis
    assert improvement(parent, after)["verdict"] == "improved", parent.diagnosis["remedies"]
