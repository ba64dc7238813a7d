"""The curve of every schedule is that of torch's schedulers, as a job runs them."""

import json
import math
from typing import Any

import pytest
import torch
from torch import nn

from core.specs.catalog import kinds
from core.specs.examples import minimal_example
from core.specs.formulas.schedules import rates
from core.specs.parsing.job import parse_job
from core.specs.schedules import Schedule
from core.specs.validation.limits import Limits
from core.train.optim.schedules import build_scheduler
from tests.core.train.optim.test_schedules import CASES

STEPS = 60
LR = 0.1
STEP = {"kind": "step", "step_size": 7, "gamma": 0.5}
MORE: list[dict[str, Any]] = [
    {"kind": "constant_factor", "factor": 0.0, "total_iters": 9},
    {"kind": "constant_factor", "total_iters": 0},
    {"kind": "linear", "start_factor": 1.0, "end_factor": 0.0, "total_iters": 20},
    {"kind": "multistep", "milestones": [0, 3, 3, 59], "gamma": 0.3},
    {"kind": "multistep", "milestones": [0, 2], "gamma": 0.0},
    {"kind": "exponential", "gamma": 0.0},
    {"kind": "exponential", "gamma": 1e300},
    {"kind": "polynomial", "power": 0.0},
    {"kind": "polynomial", "total_iters": 1},
    {"kind": "cosine", "T_max": 1},
    {"kind": "cosine", "T_max": 2, "eta_min": 0.5},
    {"kind": "cosine", "T_max": 7, "eta_min": 0.01},
    {"kind": "cosine_warm_restarts", "T_0": 1},
    {"kind": "cosine_warm_restarts", "T_0": 3, "T_mult": 3, "eta_min": 0.2},
    {"kind": "one_cycle", "total_steps": 20},
    {"kind": "one_cycle", "pct_start": 0.0},
    {"kind": "one_cycle", "pct_start": 1.0, "three_phase": True},
    {"kind": "cyclic", "base_lr": 0.1, "max_lr": 0.1, "step_size_up": 1},
    {"kind": "cyclic", "base_lr": 0.1, "max_lr": 0.9, "step_size_up": 2, "mode": "exp_range",
     "gamma": 0.9, "scale_mode": "cycle"},
    {"kind": "chained", "schedules": [{"kind": "cosine", "eta_min": 0.01}, STEP]},
    {"kind": "chained", "schedules": [STEP, {"kind": "cosine_warm_restarts", "T_0": 11}]},
    {"kind": "chained", "schedules": [{"kind": "polynomial"}, {"kind": "linear"}, STEP]},
    {"kind": "warmup", "steps": 10, "then": {"kind": "reduce_on_plateau"}},
    {"kind": "warmup", "steps": 60},
    {"kind": "chained", "schedules": [
        {"kind": "power_cooldown", "cooldown_steps": 50}, {"kind": "cosine", "T_max": 9}, STEP,
        {"kind": "inverse_sqrt", "warmup_steps": 6},
    ]},
    {"kind": "sequential", "milestones": [9, 40], "schedules": [
        {"kind": "chained", "schedules": [{"kind": "power_cooldown", "cooldown_steps": 3}, STEP]},
        {"kind": "chained", "schedules": [STEP, {"kind": "inverse_sqrt", "warmup_steps": 4}]},
        {"kind": "cosine_with_min_lr", "total_steps": 12},
    ]},
    {"kind": "chained", "schedules": [
        {"kind": "chained", "schedules": [{"kind": "power_cooldown"}, {"kind": "linear"}]},
        {"kind": "chained", "schedules": [STEP, {"kind": "inverse_sqrt", "warmup_steps": 6}]},
    ]},
    {"kind": "sequential", "milestones": [5, 30], "schedules": [
        {"kind": "warmup", "steps": 20, "then": STEP},
        {"kind": "sequential", "milestones": [4], "schedules": [{"kind": "one_cycle"}, STEP]},
        {"kind": "chained", "schedules": [{"kind": "linear"}, STEP]},
    ]},
]  # fmt: skip
SPECS = {
    **{kind: minimal_example("schedules", kind)["schedule"] for kind in kinds("schedules")},
    **{json.dumps(spec)[:60] + str(i): spec for i, spec in enumerate([c for c, _ in CASES] + MORE)},
}


def resolved(spec: dict[str, Any]) -> Schedule:
    body = minimal_example("functions", "sphere") | {
        "schedule": spec, "budget": {"max_steps": STEPS}
    }  # fmt: skip
    body["optimizer"] = {"kind": "sgd", "lr": LR}
    return parse_job(json.dumps(body).encode(), Limits()).schedule


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_the_curve_is_torchs(spec: dict[str, Any]) -> None:
    schedule = resolved(spec)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=LR, momentum=0.9)
    scheduler = build_scheduler(schedule, optimizer)
    expected = []
    for step in range(STEPS):
        expected.append(float(optimizer.param_groups[0]["lr"]))
        if scheduler is not None:
            scheduler.step(-float(step))
    assert rates(schedule, LR, STEPS) == pytest.approx(expected, rel=1e-12, abs=1e-300)


def test_a_rate_that_overflows_is_infinite() -> None:
    assert rates(resolved({"kind": "exponential", "gamma": 1e300}), LR, 3)[2] == math.inf
    steep = resolved({"kind": "multistep", "milestones": [1, 1], "gamma": 1e300})
    assert rates(steep, LR, 3) == [LR, math.inf, math.inf]


def test_no_steps_are_no_rates() -> None:
    assert rates(resolved({"kind": "constant"}), LR, 0) == []
