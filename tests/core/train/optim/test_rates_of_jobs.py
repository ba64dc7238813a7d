"""The rates that a job records are those of its schedule's curve, for every schedule of the
catalogue: with groups, after a rollback, with a rate that the job found, and in a study's stack."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.specs.catalog import kinds
from core.specs.examples import choice
from core.specs.formulas.schedules import rates
from core.specs.job import JobSpec
from core.specs.optimizers.kinds import settled_lr
from core.specs.parsing.job import parse_job
from core.specs.validation.auto_lr import settled
from core.specs.validation.limits import Limits
from core.specs.validation.warnings.job import warnings_of_job
from core.train.fused.stack.hyperparameters import Hyperparameters
from core.train.state import reads_loss
from tests.core.train.harness import train

Json = dict[str, Any]
STEPS = 24
BOWL = {"kind": "function", "function": {"kind": "quadratic", "eigenvalues": [0.5, 1.0]}}
SCHEDULES = sorted(kinds("schedules"))
STEEP = [kind for kind in SCHEDULES if kind != "cyclic"]
"""Those whose rates are high where the optimizer's is; cyclic sets its own."""
PROBLEM = {
    "kind": "supervised",
    "data": {"kind": "builtin", "name": "iris"},
    "model": {"kind": "mlp", "hidden": [4]},
}


def spec_of(schedule: str | Json, problem: Json, optimizer: Json, **parts: Any) -> JobSpec:
    chosen = choice("schedules", schedule) if isinstance(schedule, str) else schedule
    body = {
        "problem": problem, "optimizer": optimizer, "schedule": chosen,
        "budget": {"max_steps": STEPS}, "diagnose": "off", **parts,
    }  # fmt: skip
    return parse_job(json.dumps(body).encode(), Limits())


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_series_is_the_curve_and_groups_do_not_change_it(schedule: str, tmp_path: Path) -> None:
    optimizer = {
        "kind": "sgd", "lr": 0.05, "momentum": 0.9,
        "groups": [{"match": "*.bias", "lr_scale": 0.1, "frozen_steps": 2}],
    }  # fmt: skip
    spec = spec_of(schedule, PROBLEM, optimizer)
    recorded = train(spec, tmp_path).column("lr")
    if not reads_loss(spec.schedule):  # whose curve the losses make
        assert recorded == rates(spec.schedule, 0.05, STEPS)
    assert len(recorded) == STEPS


PLATEAU = {"kind": "reduce_on_plateau", "threshold": 1e9, "threshold_mode": "abs"}
"""Takes no loss but the first for a better one: no other lets the rate fall earlier."""


@pytest.mark.parametrize("patience", [0, 1, 4])
@pytest.mark.parametrize("nesting", ["alone", "after a warm-up", "second"])
def test_a_patience_is_warned_of_just_where_no_loss_can_try_it(
    nesting: str, patience: int, tmp_path: Path
) -> None:
    plateau = {**PLATEAU, "patience": patience}
    nested: dict[str, tuple[str, Json]] = {
        "alone": ("schedule", plateau),
        "after a warm-up": ("schedule.then", {"kind": "warmup", "steps": 3, "then": plateau}),
        "second": (
            "schedule.schedules.1",
            {
                "kind": "sequential", "milestones": [4],
                "schedules": [{"kind": "constant"}, plateau],
            },
        ),
    }  # fmt: skip
    path, schedule = nested[nesting]
    seen = set()
    for steps in range(5, 14):
        budget = {"max_steps": steps}
        spec = spec_of(schedule, BOWL, {"kind": "sgd", "lr": 0.01}, budget=budget)
        codes = {each.param: each.code for each in warnings_of_job(spec)}
        recorded = train(spec, tmp_path / f"{steps}").column("lr")
        assert len(recorded) == steps
        falls = recorded[-1] < 0.01
        assert codes.get(f"{path}.patience") == (None if falls else "no_effect"), steps
        seen.add(falls)
    assert True in seen


@pytest.mark.parametrize("schedule", STEEP)
def test_after_a_rollback_it_is_the_same_curve_at_a_lower_rate(
    schedule: str, tmp_path: Path
) -> None:
    policy = {"action": "rollback", "lr_factor": 0.25, "max_times": 3}
    steep = {"kind": "function", "function": {"kind": "quadratic", "eigenvalues": [12.0]}}
    spec = spec_of(schedule, steep, {"kind": "sgd", "lr": 1.0}, on_divergence=policy,
                   stop={"max_loss": 1e3})  # fmt: skip
    trained = train(spec, tmp_path)
    interventions = trained.events.interventions
    assert interventions
    if not reads_loss(spec.schedule):
        scale, start = 0.25 ** len(interventions), interventions[-1]["to_step"]
        curve = [scale * rate for rate in rates(spec.schedule, 1.0, STEPS)]
        found = trained.column("lr")[start:]
        assert found == pytest.approx(curve[start:][: len(found)], rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("schedule", STEEP)
def test_a_rate_that_was_found_takes_the_place_of_auto(schedule: str) -> None:
    spec = settled(spec_of(schedule, BOWL, {"kind": "sgd", "lr": "auto"}), 0.125)
    posted = spec_of(schedule, BOWL, {"kind": "sgd", "lr": 0.125})
    assert spec == posted
    assert settled_lr(spec.optimizer) == 0.125
    assert rates(spec.schedule, 0.125, STEPS) == rates(posted.schedule, 0.125, STEPS)


CHAINS: list[Json] = [
    {"kind": "chained", "schedules": [{"kind": "linear"}, {"kind": "inverse_sqrt"}]},
    {"kind": "chained", "schedules": [{"kind": "cosine", "eta_min": 0.01},
                                      {"kind": "exponential", "gamma": 1.1}]},
    {"kind": "sequential", "milestones": [5, 11], "schedules": [
        {"kind": "one_cycle", "max_lr": 0.3}, {"kind": "polynomial", "power": 2.0},
        {"kind": "chained", "schedules": [{"kind": "step", "step_size": 2}, {"kind": "linear"}]}]},
    {"kind": "warmup", "steps": 7, "then": {"kind": "cosine"}},
    {"kind": "exponential", "gamma": 1e30},
]  # fmt: skip


@pytest.mark.parametrize(
    "schedule", [*SCHEDULES, *CHAINS], ids=lambda each: each if isinstance(each, str) else ""
)
def test_runs_of_a_stack_have_the_same_bits_wherever_they_were_put_aside(
    schedule: str | Json,
) -> None:
    bases = [0.05, 0.1 / 3, 0.7]
    specs = [spec_of(schedule, BOWL, {"kind": "adam", "lr": lr}) for lr in bases]
    if reads_loss(specs[0].schedule):
        return  # whose curve the losses make
    wanted = [rates(spec.schedule, lr, STEPS) for spec, lr in zip(specs, bases, strict=True)]
    stack, runs = Hyperparameters(specs), np.arange(len(specs))
    found = []
    for step in range(STEPS):
        if step == 9:
            stack = gone_on_with(specs, stack.state(), step)
        if step == 14:
            states = dict(zip(runs.tolist(), stack.pause(runs), strict=True))
            stack = Hyperparameters(specs)
            stack.resume(states, step)
        found.append(stack.rates.tolist())
        stack.step(np.zeros(len(specs)), runs)
    assert np.array(found).T.tolist() == wanted


def gone_on_with(specs: list[JobSpec], state: Json, updates: int) -> Hyperparameters:
    """As from a file, and one of an older version, which held two of torch's schedulers for each
    schedule, also where it moves the rate alone."""
    state = json.loads(json.dumps(state))
    older = {**state, "shapes": [2 * (of or [{"last_epoch": -1}]) for of in state["shapes"]]}
    stack = Hyperparameters(specs)
    stack.load_state(older, updates)
    return stack
