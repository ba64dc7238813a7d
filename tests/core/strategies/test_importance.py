"""The importance of a study's parameters is that of Optuna's evaluator, asked by hand."""

import math
import random
from dataclasses import replace
from typing import Any, Literal

import optuna
import pytest

from core.compare.table import folded
from core.specs.direction import Goal
from core.specs.studies.runs import sweep_of
from core.strategies.importance import evaluated, importance
from core.studies import RunRecord
from tests.core.specs.studies.specs_of_studies import IRIS, Json, parsed, study
from tests.core.strategies.simulated import simulate

SWEEP: Json = {
    "optimizer.kind": {"values": ["sgd", "adam"]},
    "optimizer.lr": {"log": [1e-4, 1.0]},
    "optimizer.momentum": {"linear": [0.0, 0.9], "when": {"optimizer.kind": ["sgd"]}},
    "problem.model.hidden.0": {"integers": [4, 64]},
}


def body(**parts: Any) -> Json:
    strategy = {"kind": "random", "num_runs": 60, "seed": 4}
    return study({"problem": IRIS}, SWEEP, **{"strategy": strategy, **parts})


def cost(params: Json) -> float:
    far = abs(math.log10(params["optimizer.lr"]) + 2)
    momentum: float = params.get("optimizer.momentum", 0.5)
    return float(10 * far + momentum + params["problem.model.hidden.0"] / 1e3)


def trained(asked: Json, metric: Any = None) -> tuple[Json, list[RunRecord]]:
    simulated = simulate(asked).go(lambda run, _: (metric or cost)(run.params))
    return parsed(asked).spec, simulated.records


def by_hand(runs: list[RunRecord], direction: Literal["minimize", "maximize"]) -> dict[str, float]:
    space: dict[str, optuna.distributions.BaseDistribution] = {
        "optimizer.kind": optuna.distributions.CategoricalDistribution([0, 1]),
        "optimizer.lr": optuna.distributions.FloatDistribution(1e-4, 1.0, log=True),
        "optimizer.momentum": optuna.distributions.FloatDistribution(0.0, 0.9),
        "problem.model.hidden.0": optuna.distributions.IntDistribution(0, 60),
    }
    search = optuna.create_study(direction=direction)
    for run in runs:
        params = dict(run.params)
        params["optimizer.kind"] = ["sgd", "adam"].index(params["optimizer.kind"])
        params["problem.model.hidden.0"] -= 4
        own = {name: space[name] for name in params}
        search.add_trial(
            optuna.trial.create_trial(params=params, distributions=own, value=run.metric)
        )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return optuna.importance.get_param_importances(search, evaluator=evaluator)


@pytest.mark.parametrize("goal", ["max", "min"])
def test_it_is_what_optunas_evaluator_says(goal: str) -> None:
    spec, runs = trained(body(metric={"name": "loss", "goal": goal}))
    found = importance(spec, runs)
    assert found["method"] == "ped_anova"
    assert (found["num_configurations"], found["num_left_out"]) == (60, 0)
    expected = by_hand(runs, "minimize" if goal == "min" else "maximize")
    assert found["importance"] == pytest.approx(expected, rel=1e-12)
    assert sum(found["importance"].values()) == pytest.approx(1.0)
    assert list(found["importance"].values()) == sorted(found["importance"].values(), reverse=True)


def test_what_matters_comes_first() -> None:
    spec, runs = trained(body(metric={"name": "loss"}))
    (first, share), *_ = importance(spec, runs)["importance"].items()
    assert first == "optimizer.lr"
    assert share > 0.5


def test_the_defaults_of_the_evaluator_are_written_out() -> None:
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    spec, runs = trained(body(metric={"name": "loss"}))
    for name, value in importance(spec, runs)["options"].items():
        assert getattr(evaluator, f"_{name}") == value


def test_what_diverged_or_failed_is_left_out_and_counted() -> None:
    spec, runs = trained(body(metric={"name": "loss"}))
    whole = importance(spec, runs[3:])["importance"]
    broken = [
        replace(runs[0], outcome="diverged"),
        replace(runs[1], status="failed", metric=None),
        replace(runs[2], metric=math.nan),
    ]
    found = importance(spec, [*broken, *runs[3:]])
    assert (found["num_configurations"], found["num_left_out"]) == (57, 3)
    assert found["importance"] == whole


def test_repeats_are_folded_into_their_mean() -> None:
    spec, runs = trained(body(repeats=2, metric={"name": "loss"}))
    assert importance(spec, runs)["num_configurations"] == 60
    single, once = trained(body(metric={"name": "loss"}))
    assert importance(spec, runs)["importance"] == importance(single, once)["importance"]


SINGLE: dict[str, Json] = {
    "points of a range": {"log": [1e-4, 1.0], "count": 12},
    "a few points": {"linear": [0.1, 1.0], "count": 3},
    "a range": {"log": [1e-4, 1.0]},
    "values": {"values": [0.1, 0.2, 0.3, 0.4, 0.5]},
    "two values": {"values": [0.1, 0.2]},
}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("goal", ["max", "min"])
def test_one_parameter_has_all_of_it_where_the_evaluator_says_so(
    name: str, goal: Goal, seed: int
) -> None:
    strategy = {"kind": "random", "num_runs": 12, "seed": seed}
    few = "count" not in SINGLE[name] and "values" not in SINGLE[name]
    asked = study(
        {"problem": IRIS, "optimizer": {"kind": "sgd"}},
        {"optimizer.lr": SINGLE[name]},
        metric={"name": "loss", "goal": goal},
        **({"strategy": strategy} if few else {}),
    )
    chance = random.Random(seed)
    # Metrics of few values: ties, in which all may count as the best.
    spec, runs = trained(asked, lambda _: float(chance.randint(0, 2)))
    if len({run.metric for run in runs}) == 1:
        return
    share = evaluated(sweep_of(spec), [[run] for run in runs], goal)["optimizer.lr"]
    found = importance(spec, runs)["importance"]
    assert found == ({"optimizer.lr": 1.0} if share > 0 else None)


@pytest.mark.parametrize(
    ("sweep", "metric", "reason"),
    [
        ({}, None, "sweeps no parameter"),
        ({"optimizer.lr": {"values": [0.1]}}, None, "Fewer than two"),
        ({"optimizer.lr": {"values": [0.1, 0.2]}}, lambda _: 1.0, "the same metric"),
    ],
    ids=["nothing swept", "one configuration", "one value"],
)
def test_where_it_cannot_be_said_there_is_a_reason(sweep: Json, metric: Any, reason: str) -> None:
    asked = study({"problem": IRIS, "optimizer": {"kind": "sgd"}}, sweep)
    spec, runs = trained(asked, metric or (lambda params: 1.0))
    found = importance(spec, runs)
    assert found["importance"] is None
    assert reason in found["reason"]


@pytest.mark.parametrize("others", [{}, {"optimizer.momentum": {"values": [0.0, 0.5, 0.9]}}])
def test_a_path_that_all_have_alike_explains_nothing(others: Json) -> None:
    """The folds of a cross-validation are repeats of one configuration."""
    base = {**IRIS, "data": {**IRIS["data"], "split": {"kind": "folds", "num": 3, "fold": 0}}}
    fold = "problem.data.split.fold"
    sweep = {"optimizer.lr": {"log": [1e-3, 1.0], "count": 7}, **others, fold: {"integers": [0, 2]}}
    asked = study({"problem": base, "optimizer": {"kind": "sgd"}}, sweep)

    def metric(params: Json) -> float:
        return float(math.log10(params["optimizer.lr"]) + params[fold] / 7)

    spec, runs = trained(asked, metric)
    alike = folded(spec, runs)
    found = importance(spec, alike)
    assert found["num_configurations"] == 7 * (3 if others else 1)
    shares = found["importance"]
    assert shares[fold] == 0.0
    assert sum(shares.values()) == pytest.approx(1.0)
    assert max(shares, key=lambda path: shares[path]) == "optimizer.lr"
