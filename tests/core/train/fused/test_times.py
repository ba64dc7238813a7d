"""Seconds of training of runs that train together: one series a stack, shared by its runs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.specs.job import JobSpec
from core.train.fused.stack.stack import Stack
from tests.core.train.fused.task_harness import (
    ALWAYS,
    After,
    Done,
    Reported,
    do_task,
    kill_and_resume,
    request,
)
from tests.core.train.fused.test_task import TASKS
from tests.core.train.history.test_times import Ticking, rises


def assert_timed(reported: Reported, *runs: int) -> None:
    """Every row of these runs lies within its times, which rise."""
    for run in runs or reported.received:
        unit, earlier_s = reported.timed[run]
        times = reported.times[unit]
        assert rises(times)
        steps = np.array(reported.column(run, "step"))
        assert earlier_s >= 0.0
        assert times[0][0] <= steps.min()
        assert steps.max() <= times[-1][0]


@pytest.mark.parametrize("name", sorted(TASKS))
def test_runs_that_train_together_share_their_times(name: str, tmp_path: Path) -> None:
    done = do_task(request(TASKS[name]), tmp_path, clock=Ticking())
    assert_timed(done.reported)
    assert set(done.reported.times) == {unit for unit, _ in done.reported.timed.values()}
    for run, ended in done.reported.endings.items():
        unit, _ = done.reported.timed[run]
        times = np.array(done.reported.times[unit]).T
        end = float(np.interp(ended.result["num_steps"], *times))
        assert end == pytest.approx(ended.result["train_s"], abs=1.5)
        assert times[0][0] == 0.0
        assert times[1][0] < 1.0  # above 0 where it was saved before its first step


@pytest.mark.parametrize("name", ["several alone", "alone and stacked"])
@pytest.mark.parametrize("kills", [(5, 12), (20,)])
def test_a_killed_task_goes_on_at_its_checkpoints_time(
    name: str, kills: tuple[int, ...], tmp_path: Path
) -> None:
    task = request(TASKS[name])
    done = kill_and_resume(task, tmp_path, kills, pace=ALWAYS)
    assert_timed(done.reported)


def together(task_folder: Path, specs: list[JobSpec], **options: object) -> Done:
    return do_task(request(specs), task_folder, clock=Ticking(), **options)  # type: ignore[arg-type]


def test_a_stack_that_is_cut_has_times_for_each_part(tmp_path: Path) -> None:
    specs = [spec for name in sorted(TASKS) for spec in TASKS[name] if spec.optimizer.kind == "sgd"]
    specs = [specs[0].model_copy(update={"seed": seed}) for seed in range(6)]

    def make_stack(*arguments: object) -> Stack:
        if len(arguments[1]) > 3:  # type: ignore[arg-type]
            raise MemoryError
        return Stack(*arguments)  # type: ignore[arg-type]

    done = together(tmp_path, specs, make_stack=make_stack)
    assert_timed(done.reported)
    assert len(done.reported.times) == 2
    assert len({unit for unit, _ in done.reported.timed.values()}) == 2


def test_runs_of_a_stack_that_fails_begin_anew_in_series_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [spec for spec in TASKS["alone and stacked"] if spec.optimizer.kind == "adam"]
    step = Stack._take_step

    def failing(stack: Stack) -> None:
        if len(stack.training()[0]) > 1 and stack.step == 5:
            stack.flush()
            raise ValueError("no run's fault that anyone could tell")
        step(stack)

    monkeypatch.setattr(Stack, "_take_step", failing)
    done = together(tmp_path, specs)
    assert len(done.reported.endings) == len(specs)
    assert_timed(done.reported)
    assert len({unit for unit, _ in done.reported.timed.values()}) == len(specs)


@pytest.mark.parametrize("name", ["alone", "alone and stacked"])
def test_runs_that_pause_go_on_after_the_time_that_they_had(name: str, tmp_path: Path) -> None:
    task = request(TASKS[name], stop_step=4)
    first = do_task(task, tmp_path, clock=Ticking())
    sources = {run: known["file"] for run, known in first.ended.paused.items()}
    assert sources
    second = do_task(
        replace(task, stem="2_0", stop_step=None, sources=sources), tmp_path, clock=Ticking()
    )
    for run in sources:
        before, after = first.reported, second.reported
        unit, earlier_s = after.timed[run]
        step, seconds = after.times[unit][0]
        last = before.times[before.timed[run][0]][-1]
        assert step == 4
        assert last[0] <= 4
        assert earlier_s + seconds >= last[1]
        assert rises(after.times[unit])


def test_a_task_handed_over_goes_on_in_the_same_series(tmp_path: Path) -> None:
    task = request(TASKS["alone and stacked"])
    reported = Reported()
    do_task(task, tmp_path, reported=reported, control=After(6, "hand_over"), clock=Ticking())
    resumed = replace(task, resume=True, stored_rows=reported.num_rows())
    do_task(resumed, tmp_path, reported=reported, clock=Ticking(1.0))
    assert_timed(reported)
