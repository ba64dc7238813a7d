"""Both directions: what maximizes f is the mirror image of what minimizes −f, rule by rule."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.messages.parts import BestAt
from core.specs.job import JobSpec
from core.specs.unions import members
from core.train.stopping import Rules, Trace, final_outcome, observe, rules_of
from tests.core.train.fused.harness import train_population
from tests.core.train.harness import Json, StopAt, Trained, blobs_job, function_job, train

START = {"x1": 1.1, "x2": -0.7}
FUNCTIONS = {
    "a bowl": ("x1**2 + 3*x2**2 - 2", {"kind": "sgd", "lr": 0.05}),
    "a bowl above 0": ("x1**2 + 3*x2**2 + 1", {"kind": "adam", "lr": 0.2}),
    "a hollow": ("-exp(-x1**2 - x2**2)", {"kind": "sgd", "lr": 0.5, "momentum": 0.5}),
    "an unstable step": ("x1**2 + 3*x2**2 - 2", {"kind": "sgd", "lr": 0.45}),
    "an overflow": ("x1**4 + x2**2", {"kind": "sgd", "lr": 3.0}),
    "swings": ("abs(x1) + abs(x2) - 0.5", {"kind": "sgd", "lr": 0.3}),
}
"""What is minimized, and how."""

PLATEAU: Json = {"kind": "reduce_on_plateau", "patience": 2, "factor": 0.5, "threshold": 0.01}
RULES: dict[str, Json] = {
    "the budget alone": {},
    "rows and candidates": {"record": {"every": 7, "eval_every": None}},
    "target_loss": {"stop": {"target_loss": -0.9}},
    "max_loss": {"stop": {"max_loss": 2.4}},
    "patience": {"stop": {"patience": 4, "min_delta": 0.01}},
    "gradient_norm": {"stop": {"gradient_norm": 0.2}},
    "a plateau of the loss": {"schedule": PLATEAU},
    "a plateau by distance": {"schedule": {**PLATEAU, "threshold_mode": "abs"}},
    "rollback": {"on_divergence": {"action": "rollback"}},
    "skip": {"on_divergence": {"action": "skip"}, "stop": {"max_loss": 2.4}},
    "clip": {"on_divergence": {"action": "clip"}, "stop": {"max_loss": 2.4}},
}


def pair(expression: str, optimizer: Json, rule: Json, **more: Any) -> tuple[JobSpec, JobSpec]:
    """The run that minimizes the expression, and the one that maximizes its negative."""
    turned = json.loads(json.dumps(rule))
    for name in ("target_loss", "max_loss"):
        if name in turned.get("stop", {}):
            turned["stop"][name] *= -1.0
    down = function_job(expression, START, optimizer, 40, **rule, **more)
    up = function_job(f"-({expression})", START, {**optimizer, "maximize": True}, 40, **turned)
    return down, up


def same(one: Any, other: Any) -> None:
    np.testing.assert_array_equal(np.asarray(one, float), np.asarray(other, float))


def loss_of(best: BestAt | None) -> float:
    assert best is not None
    assert "loss" in best
    return best["loss"]


def assert_mirrored(down: Trained, up: Trained) -> None:
    for name in ("step", "lr", "grad_norm", "x"):
        same(up.column(name), down.column(name))
    same(up.column("loss"), -np.array(down.column("loss")))
    assert up.ending.outcome == down.ending.outcome
    for name in ("final_loss", "best_loss", "value"):
        same(up.ending.result[name], -down.ending.result[name])
    assert up.ending.result["solution"] == down.ending.result["solution"]
    best = [each.ending.best for each in (up, down)]
    assert best[0] is not None
    assert best[1] is not None
    assert best[0]["step"] == best[1]["step"]
    assert loss_of(best[0]) == -loss_of(best[1])
    for which in ("best", "final"):
        np.testing.assert_array_equal(up.weights(which)["x"], down.weights(which)["x"])
    acted = [
        [(entry["step"], entry["action"], entry["lr_after"]) for entry in each.events.interventions]
        for each in (up, down)
    ]
    assert acted[0] == acted[1]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_run_is_the_mirror_image(function: str, rule: str, tmp_path: Path) -> None:
    down, up = pair(*FUNCTIONS[function], RULES[rule])
    one, other = train(down, tmp_path / "down"), train(up, tmp_path / "up")
    assert_mirrored(one, other)
    # Cut and resumed, it knows as well which loss is the best, and which would be too much.
    for spec, whole in ((down, one), (up, other)):
        folder = tmp_path / spec.optimizer.kind / str(spec is up)
        train(spec, folder, control=StopAt("hand_over", 11))
        again = train(spec, folder, resume=True)
        assert again.ending.outcome == whole.ending.outcome
        assert again.ending.best == whole.ending.best


def test_the_rules_are_all_met_on_the_way(tmp_path: Path) -> None:
    met = set()
    for number, ((expression, optimizer), rule) in enumerate(
        (function, rule) for function in FUNCTIONS.values() for rule in RULES.values()
    ):
        _, up = pair(expression, optimizer, rule)
        run = train(up, tmp_path / str(number))
        met |= {run.ending.outcome, *(each["action"] for each in run.events.interventions)}
        met.add("lower rate" if len(set(run.column("lr"))) > 1 else None)
    assert met >= {
        "converged", "stalled", "diverged", "budget_exhausted",
        "rollback", "skip", "clip", "lower rate",
    }  # fmt: skip


CLIMBERS = [
    kind for kind, model in members("optimizer").items() if "maximize" in model.model_fields
]


@pytest.mark.parametrize("kind", CLIMBERS)
def test_every_optimizer_that_climbs_is_the_mirror_image(kind: str, tmp_path: Path) -> None:
    optimizer: Json = {"kind": kind, "lr": 0.1}
    if kind != "rprop":
        optimizer["weight_decay"] = 0.01
    for name, expression in {"a": "-exp(-x1**2 - x2**2)", "b": "x1**2 + 3*x2**2 - 2"}.items():
        down, up = pair(expression, optimizer, {"schedule": PLATEAU})
        mine = train(up, tmp_path / f"{name}up")
        assert_mirrored(train(down, tmp_path / f"{name}down"), mine)
        assert mine.ending.outcome == "budget_exhausted"


@pytest.mark.parametrize("rule", [rule for rule in RULES if "on_divergence" not in RULES[rule]])
def test_a_stack_knows_the_direction_as_a_run_alone_does(rule: str, tmp_path: Path) -> None:
    specs = [
        pair(expression, {"kind": "sgd", "lr": lr}, RULES[rule])[1]
        for expression in ("x1**2 + 3*x2**2 - 2",)
        for lr in (0.02, 0.3, 0.45)
    ]
    together = train_population(specs)
    for number, spec in enumerate(specs):
        alone = train(spec, tmp_path / str(number))
        ending = together.endings[number].ending
        assert together.endings[number].fused
        assert ending.outcome == alone.ending.outcome
        assert ending.best is not None
        assert alone.ending.best is not None
        assert ending.best["step"] == alone.ending.best["step"]
        assert loss_of(ending.best) == pytest.approx(loss_of(alone.ending.best), rel=1e-12)
        assert together.column(number, "lr") == pytest.approx(alone.column("lr"), rel=1e-12)


def test_reaching_the_top_is_no_divergence(tmp_path: Path) -> None:
    optimizer = {"kind": "sgd", "lr": 0.5, "maximize": True}
    run = train(function_job("exp(-x1**2)", {"x1": 1.8}, optimizer, 300), tmp_path)
    assert run.ending.outcome == "budget_exhausted"
    assert run.ending.result["value"] == pytest.approx(1.0, abs=1e-12)
    assert run.ending.best is not None
    assert loss_of(run.ending.best) == 1.0


def test_the_best_evaluation_is_the_highest_where_the_loss_is_maximized(tmp_path: Path) -> None:
    for number, optimizer in enumerate(
        ({"kind": "adam", "lr": 0.05}, {"kind": "asgd", "lr": 0.5, "lambd": 0.0})
    ):
        climbs = blobs_job({**optimizer, "maximize": True}, 22)
        alone = train(climbs, tmp_path / str(number))
        losses = alone.column("loss", "eval")
        assert losses[-1] > losses[0]
        best = alone.ending.best
        assert best is not None
        assert loss_of(best) == max(losses)
        assert best["step"] == alone.column("step", "eval")[int(np.argmax(losses))]
        twin = blobs_job({**optimizer, "maximize": True, "lr": 0.02}, 22)
        found = train_population([climbs, twin]).endings[0].ending.best
        assert found is not None
        assert found["step"] == best["step"]


def test_a_trace_that_an_older_version_kept_is_gone_on_with() -> None:
    """It kept the lowest of losses that rise: each later one is better, and takes its place."""
    rules = rules_of(function_job("x", {"x": 1.0}, {"kind": "sgd"}).stop, -1.0)
    for lowest in (0.2, math.inf):
        old = {
            "first": 0.2, "lowest": lowest, "last": 0.9, "tail": [0.2, 0.9],
            "reference": lowest, "waited": 1,
        }  # fmt: skip
        trace = Trace.from_state(old, rules)
        for loss in (0.91, 0.92, 0.93):
            assert observe(trace, loss, 1.0, rules) is None
        assert (trace.best, trace.reference, trace.waited) == (0.93, 0.93, 0)
        assert final_outcome("budget_exhausted", trace, finite=True, sign=-1.0) != "diverged"


def test_the_rules_turn_round_by_arithmetic() -> None:
    climbing = Rules(sign=-1.0)
    trace = Trace.under(climbing)
    for loss in [1.0] + [-2.1] * 10:  # 3.1 below its start, which is more than 3 times its size
        observe(trace, loss, 1.0, climbing)
    assert final_outcome("budget_exhausted", trace, finite=True, sign=-1.0) == "diverged"
    assert final_outcome("budget_exhausted", trace, finite=True) == "budget_exhausted"
    assert trace.best == 1.0
