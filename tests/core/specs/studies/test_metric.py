"""The metric of a study: it suits the problem, and its goal the way in which the runs go."""

import pytest

from core.specs.unions import members
from tests.core.specs.studies.specs_of_studies import (
    DIABETES,
    IRIS,
    SPHERE,
    Json,
    job,
    parsed,
    study,
)


@pytest.mark.parametrize(
    ("problem", "asked", "name", "goal"),
    [
        (IRIS, {}, "eval.loss", "min"),
        (IRIS, {"name": "eval.accuracy"}, "eval.accuracy", "max"),
        (IRIS, {"name": "loss"}, "loss", "min"),
        (DIABETES, {"name": "eval.mae"}, "eval.mae", "min"),
        (SPHERE, {}, "loss", "min"),
        ({**IRIS, "data": {**IRIS["data"], "eval_fraction": 0.0}}, {}, "loss", "min"),
        (IRIS, {"name": "eval.accuracy", "goal": "min"}, "eval.accuracy", "min"),
    ],
)
def test_the_metric_suits_the_problem(problem: Json, asked: Json, name: str, goal: str) -> None:
    metric = parsed(study(job(problem), metric=asked)).spec["metric"]
    assert metric == {"name": name, "at": "final", "goal": goal, "target": None}


CLIMBING: Json = {"kind": "sgd", "lr": 0.1, "maximize": True}


@pytest.mark.parametrize(
    ("optimizer", "sweep", "asked", "goal"),
    [
        (CLIMBING, {}, {}, "max"),
        (CLIMBING, {}, {"goal": "max"}, "max"),
        (CLIMBING, {}, {"name": "loss"}, "max"),
        (CLIMBING, {}, {"name": "eval.accuracy"}, "max"),
        (CLIMBING, {}, {"name": "eval.accuracy", "goal": "min"}, "min"),
        ({"kind": "sgd"}, {"optimizer.maximize": {"values": [True]}}, {}, "max"),
        (CLIMBING, {"optimizer.maximize": {"values": [False]}}, {"goal": "min"}, "min"),
        # Asked for: it ranks the runs, whatever they do.
        (CLIMBING, {}, {"goal": "min"}, "min"),
        ({"kind": "sgd"}, {}, {"goal": "max"}, "max"),
        ({"kind": "sgd"}, {"optimizer.maximize": {"values": [True, False]}}, {"goal": "max"},
         "max"),
        # Not a loss: what the runs do with theirs says nothing of it.
        ({"kind": "sgd"}, {"optimizer.maximize": {"values": [True, False]}},
         {"name": "eval.accuracy"}, "max"),
    ],
)  # fmt: skip
def test_a_loss_is_compared_in_the_runs_own_direction(
    optimizer: Json, sweep: Json, asked: Json, goal: str
) -> None:
    body = study({"problem": IRIS, "optimizer": optimizer}, sweep, metric=asked)
    assert parsed(body).spec["metric"]["goal"] == goal


@pytest.mark.parametrize("kind", [
    kind for kind, model in members("optimizer").items() if "maximize" in model.model_fields
])  # fmt: skip
def test_every_optimizer_that_climbs_is_known_to(kind: str) -> None:
    for optimizer, goal in (({"kind": kind, "maximize": True}, "max"), ({"kind": kind}, "min")):
        body = study({"problem": SPHERE, "optimizer": optimizer | {"lr": 0.1}})
        assert parsed(body).spec["metric"]["goal"] == goal


def test_a_metric_must_be_there_in_all_runs() -> None:
    sweep = {"problem": {"values": [IRIS, SPHERE]}}
    assert parsed(study({"optimizer": {"kind": "sgd"}}, sweep)).spec["metric"]["name"] == "loss"
