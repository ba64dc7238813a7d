"""The runs' numbers, which follow their schedules, and what is stored of these."""

from typing import Any

import numpy as np
import pytest

from core.specs.job import JobSpec
from core.train.fused.stack.hyperparameters import Hyperparameters
from tests.core.train.harness import blobs_job

Json = dict[str, Any]
ADAM: Json = {"kind": "adam", "lr": 0.01}
LOSSES = np.ones(2)
SCHEDULES: dict[str, Json] = {
    "cosine": {"kind": "cosine", "T_max": 9},
    "warm-up": {"kind": "warmup", "steps": 3, "then": {"kind": "exponential", "gamma": 0.9}},
    "one cycle": {"kind": "one_cycle", "max_lr": 0.1, "total_steps": 20},
    "one cycle of the rate": {
        "kind": "one_cycle", "max_lr": 0.1, "total_steps": 20, "cycle_momentum": False,
    },
}  # fmt: skip


def after(updates: int, schedule: Json) -> Hyperparameters:
    specs: list[JobSpec] = [
        blobs_job({**ADAM, "lr": lr}, 20, schedule=schedule) for lr in (0.01, 0.02)
    ]
    found = Hyperparameters(specs)
    for _ in range(updates):
        found.step(LOSSES, np.arange(2))
    return found


@pytest.mark.parametrize("name", SCHEDULES)
def test_they_go_on_where_their_state_was_taken(name: str) -> None:
    one = after(7, SCHEDULES[name])
    other = after(0, SCHEDULES[name])
    other.load_state(one.state(), 7)
    for _ in range(5):
        for column in ("lr", "beta1"):
            assert np.array_equal(one.columns[column], other.columns[column])
        assert one.step(LOSSES, np.arange(2))
        assert other.step(LOSSES, np.arange(2))


@pytest.mark.parametrize("name", ["cosine", "warm-up", "one cycle of the rate"])
def test_a_schedule_of_the_rate_alone_is_not_stored_and_an_older_state_of_it_is_read(
    name: str,
) -> None:
    one, other = after(7, SCHEDULES[name]), after(0, SCHEDULES[name])
    assert one.state()["shapes"] == [[]]
    other.load_state({"shapes": [[{"last_epoch": 7}, {"last_epoch": 7}]], "alone": {}}, 7)
    assert np.array_equal(one.rates, other.rates)


def test_a_momentum_that_a_schedule_sets_is_stored() -> None:
    one = after(7, SCHEDULES["one cycle"])
    assert len(one.state()["shapes"][0]) == 1
    assert one.columns["beta1"][0] != 0.9
