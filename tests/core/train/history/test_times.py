"""Seconds of training at each step, as they leave the loop."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.core.train.harness import (
    Received,
    StopAt,
    Trained,
    blobs_job,
    folded,
    parabola,
    train,
)

TICK_S = 0.1
LOOKS = 6
"""So often the clock is looked at between a step's row and the end, at most."""


@dataclass
class Ticking:
    """A clock that takes a tenth of a second a look."""

    now: float = 1000.0

    def __call__(self) -> float:
        self.now += TICK_S
        return self.now


class Killed(BaseException):
    """The process is gone."""


@dataclass
class KilledAt:
    """Kills the run once it was asked so often whether to stop."""

    left: int
    dropped: tuple[int, ...] = ()

    @property
    def stop_requested(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


def rises(times: list[list[float]]) -> bool:
    steps, seconds = np.array(times).T
    return bool((np.diff(steps) > 0).all() and (np.diff(seconds) >= 0).all())


def assert_timed(done: Trained, start: int = 0) -> None:
    times = done.events.times
    assert rises(times)
    assert times[0][0] == start
    last_row = done.column("step")[-1]
    assert last_row <= times[-1][0] <= done.ending.result["num_steps"]
    assert times[-1][1] == pytest.approx(done.ending.result["train_s"], abs=LOOKS * TICK_S)


@pytest.mark.parametrize("block_size", [1, 4])
@pytest.mark.parametrize(
    "spec", [parabola(0.01, 50), blobs_job(max_steps=30)], ids=["function", "data"]
)
def test_it_begins_at_zero_and_ends_with_train_s(
    spec: Any, block_size: int, tmp_path: Path
) -> None:
    done = train(spec, tmp_path, block_size=block_size, clock=Ticking())
    assert_timed(done)
    assert done.events.times[0] == [0, 0.0]
    assert len(done.events.times) > 5


@pytest.mark.parametrize("kills", [(17,), (9, 23), (3, 4, 30)])
def test_a_killed_run_goes_on_at_its_checkpoints_time(
    kills: tuple[int, ...], tmp_path: Path
) -> None:
    spec = parabola(0.01, 60, checkpoint={"every_steps": 5})
    events = Received()
    for number, reads in enumerate(kills):
        with pytest.raises(Killed):
            train(
                spec, tmp_path, events=events, resume=number > 0, control=KilledAt(reads),
                clock=Ticking(5000.0 * number),
            )  # fmt: skip
        assert rises(events.times)
    done = train(spec, tmp_path, events=events, resume=True, clock=Ticking(7.0))
    assert_timed(done)
    assert events.times[-1][1] < 1000  # of the clocks' own times nothing shows


def test_a_run_handed_over_goes_on_without_a_gap(tmp_path: Path) -> None:
    spec = blobs_job(max_steps=40)
    events = Received()
    train(spec, tmp_path, events=events, control=StopAt("hand_over", 15), clock=Ticking())
    before = [list(time) for time in events.times]
    done = train(spec, tmp_path, events=events, resume=True, clock=Ticking(0.0))
    assert_timed(done)
    assert events.times[: len(before) - 1] == before[:-1]


def test_a_rollback_takes_its_stamps_back_and_time_goes_on(tmp_path: Path) -> None:
    policy = {"action": "rollback", "lr_factor": 0.5, "max_times": 3}
    spec = parabola(1.5, 200, on_divergence=policy)
    done = train(spec, tmp_path, clock=Ticking())
    assert done.events.interventions
    assert_timed(done)


def test_stamps_fold_as_the_store_folds_them() -> None:
    times = folded([], [[0, 0.0], [10, 1.0], [20, 2.0]])
    assert folded(times, [[10, 1.5], [12, 1.6]]) == [[0, 0.0], [10, 1.5], [12, 1.6]]
