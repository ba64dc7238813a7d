"""A ten-thousandth of the default rate is too slow, whatever the optimizer: not flat ground, and no
riddle."""

from collections.abc import Callable
from typing import Any

import pytest

from core.specs.optimizers.kinds import settled_lr
from core.specs.unions import members
from tests.core.diagnosis.labelled.case import function, supervised
from tests.core.diagnosis.labelled.running import child, improvement, perform, resolved

Json = dict[str, Any]
JOBS: dict[str, Callable[[Json], Json]] = {
    "iris": lambda optimizer: supervised("iris", [], optimizer, 200, batch_size="full"),
    "wine": lambda optimizer: supervised("wine", [16], optimizer, 200),
    "booth": lambda optimizer: function("booth", [1.0, -1.0], optimizer, 300),
    "ellipse": lambda optimizer: function(
        "0.1*x1**2 + 2*x2**2", {"x1": 3.0, "x2": 2.0}, optimizer, 300
    ),
    # Steep for what lies below the start, and flat beside the walls of the valley:
    "rosenbrock": lambda optimizer: function("rosenbrock", [-1.2, 1.0], optimizer, 300),
}
FIND_THE_STEP = {"lbfgs", "rprop"}
"""These make up for a small rate: LBFGS within an update, Rprop in a few."""
FOLLOW_THE_GRADIENT = {"sgd", "asgd", "schedule_free_sgd"}
"""On a slope as steep as Rosenbrock's, a small rate is no small step."""


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind in sorted(members("optimizer").keys() - FIND_THE_STEP)
        for name in JOBS
        if name != "rosenbrock" or kind not in FOLLOW_THE_GRADIENT
    ],
)
def test_a_rate_far_too_small_is_called_too_slow(kind: str, name: str) -> None:
    job = JOBS[name]
    usual = settled_lr(resolved(job({"kind": kind})).optimizer)
    found = perform(resolved(job({"kind": kind, "lr": 1e-4 * usual})), full=False)
    assert found.diagnosis["verdict"] == "too_slow", found.diagnosis["verdict"]
    patch = found.diagnosis["remedies"][0]["patch"]
    assert patch["optimizer"]["lr"] > 1e-4 * usual


@pytest.mark.parametrize("kind", ["adadelta", "prodigy", "shampoo"])
def test_the_first_remedy_takes_off_what_the_small_rate_did_not(kind: str) -> None:
    job = JOBS["wine"]({"kind": kind, "lr": 1e-4})
    parent = perform(resolved(job), full=False)
    after = child(parent)
    assert after is not None
    assert improvement(parent, after)["verdict"] == "improved"


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize("kind", ["adadelta", "prodigy"])
def test_a_hundredth_of_the_usual_factor_is_too_slow_wherever_little_is_gone(
    kind: str, name: str
) -> None:
    found = perform(resolved(JOBS[name]({"kind": kind, "lr": 0.01})), full=False)
    losses = found.train["loss"] if found.evaluation is None else found.evaluation["loss"]
    if losses[-1] > 0.9 * losses[0]:
        assert found.diagnosis["verdict"] == "too_slow"
    else:
        assert found.diagnosis["verdict"] in {"too_slow", "healthy"}


@pytest.mark.parametrize("kind", sorted(members("optimizer").keys() - FIND_THE_STEP))
def test_evaluations_tell_of_a_slow_fall_that_batches_hide(kind: str) -> None:
    job = JOBS["wine"]
    usual = settled_lr(resolved(job({"kind": kind})).optimizer)
    parent = perform(resolved(job({"kind": kind, "lr": 0.01 * usual})), full=False)
    assert parent.evaluation is not None
    losses = parent.evaluation["loss"]
    if losses[-1] < 0.75 * losses[0]:
        assert parent.diagnosis["verdict"] in {"too_slow", "healthy"}
        return
    assert parent.diagnosis["verdict"] == "too_slow"
    after = child(parent)
    assert after is not None
    assert improvement(parent, after)["verdict"] == "improved"
