"""Continuing an n-step job to m steps equals an m-step job: every bit of the rows after n."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.artifacts.local import LocalJob
from core.errors import JobFailure
from core.specs.job import Budget, JobSpec, StartFrom
from core.train.checkpoint.snapshot import resume_points, step_of
from tests.core.train.checkpoint.test_resume import AWKWARD, OPTIMIZERS, SCHEDULES, name_of
from tests.core.train.harness import (
    JOB,
    Kind,
    Received,
    StopAt,
    Trained,
    blobs_job,
    function_job,
    parabola,
    train,
)

MOMENTUM = {"kind": "sgd", "lr": 0.1, "momentum": 0.9}
KINDS: tuple[Kind, Kind] = ("train", "eval")


def shorter(spec: JobSpec, steps: int) -> JobSpec:
    return spec.model_copy(update={"budget": Budget(max_steps=steps)})


def child_of(parent: Trained, spec: JobSpec, folder: Path) -> JobSpec:
    """The spec of the job that goes on from the parent's last checkpoint, which is copied."""
    name = resume_points(parent.artifacts)[0]
    LocalJob(folder, JOB).write(name, [parent.artifacts.read(name)])
    return spec.model_copy(update={"start_from": StartFrom(job=JOB, step=step_of(name))})


def continued(parent: Trained, spec: JobSpec, folder: Path, **options: Any) -> Trained:
    return train(child_of(parent, spec, folder), folder, **options)


def check(spec: JobSpec, n: int, folder: Path) -> Trained:
    """Train to n, go on to the spec's end, and hold that against one run; returns the child."""
    whole = train(spec, folder / "whole")
    child = continued(train(shorter(spec, n), folder / "parent"), spec, folder / "child")
    assert_continues(child, whole, n)
    return child


def assert_continues(child: Trained, whole: Trained, n: int) -> None:
    for kind in KINDS:
        rows = [row for _, row in sorted(whole.events.histories[kind].items()) if row["step"] >= n]
        assert repr(list(child.events.histories[kind].values())) == repr(rows), kind
        assert sorted(child.events.histories[kind]) == list(range(len(rows)))
    for name in ("best", "final"):
        one, other = child.weights(name), whole.weights(name)
        assert {k: v.tobytes() for k, v in one.items()} == {
            k: v.tobytes() for k, v in other.items()
        }, name
    assert (child.ending.outcome, child.ending.best) == (whole.ending.outcome, whole.ending.best)
    assert {**child.ending.result, "train_s": 0} == {**whole.ending.result, "train_s": 0}


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=name_of)
def test_with_every_optimizer_batch_norm_and_dropout(
    optimizer: dict[str, Any], tmp_path: Path
) -> None:
    check(blobs_job(optimizer, model=AWKWARD), 7, tmp_path)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
def test_with_every_schedule(schedule: dict[str, Any], tmp_path: Path) -> None:
    check(blobs_job(MOMENTUM, schedule=schedule), 5, tmp_path)


@pytest.mark.parametrize("n", [1, 4, 10, 11, 12, 19])
def test_with_rows_left_out_on_and_off_the_grid(n: int, tmp_path: Path) -> None:
    record = {"every": 4, "eval_every": 3}
    child = check(blobs_job(MOMENTUM, 20, record=record), n, tmp_path)
    assert child.column("step")[0] == min(-(-n // 4) * 4, 19)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_parents_unrecorded_last_row_is_no_best_of_the_child(n: int, tmp_path: Path) -> None:
    # η = 1.05: the loss grows; with η = 0.9 it falls, and each row would be the best so far.
    for lr in (1.05, 0.9):
        spec = parabola(lr, 9, record={"every": 6, "eval_every": 5})
        check(spec, n, tmp_path / str(lr))


def test_the_parents_last_evaluation_is_no_best_of_the_child(tmp_path: Path) -> None:
    spec = blobs_job({"kind": "sgd", "lr": 2.0}, 20, record={"every": 1, "eval_every": 10})
    check(spec, 7, tmp_path)


def test_in_blocks_as_a_gpu_runs(tmp_path: Path) -> None:
    spec = blobs_job({"kind": "adam"}, 30, stop={"target_loss": 0.0}, model=AWKWARD)
    whole = train(spec, tmp_path / "whole")
    parent = train(shorter(spec, 11), tmp_path / "parent", block_size=8)
    child = continued(parent, spec, tmp_path / "child", block_size=8)
    assert_continues(child, whole, 11)


def test_a_child_of_a_child(tmp_path: Path) -> None:
    spec = blobs_job({"kind": "adam"}, 21, model=AWKWARD)
    first = train(shorter(spec, 6), tmp_path / "1")
    second = continued(first, shorter(spec, 13), tmp_path / "2")
    assert_continues(continued(second, spec, tmp_path / "3"), train(spec, tmp_path / "whole"), 13)


@pytest.mark.parametrize("stop", [0, 1, 6])
def test_after_a_cancel_from_the_step_where_it_stopped(stop: int, tmp_path: Path) -> None:
    spec = blobs_job({"kind": "adam"}, model=AWKWARD)
    parent = train(spec, tmp_path / "parent", control=StopAt("cancel", stop))
    assert parent.ending.reason == "cancelled"
    child = continued(parent, spec, tmp_path / "child")
    assert_continues(child, train(spec, tmp_path / "whole"), stop)


@pytest.mark.parametrize("block_size", [1, 8])
def test_a_converged_job_converges_again_at_its_first_row(block_size: int, tmp_path: Path) -> None:
    spec = parabola(0.2, 100, stop={"target_loss": 5.0})
    whole = train(spec, tmp_path / "whole", block_size=block_size)
    assert whole.ending.result["num_steps"] == 3
    child = continued(whole, spec, tmp_path / "child", block_size=block_size)
    assert_continues(child, whole, 3)
    assert child.column("step") == [3]


def test_a_stalled_job_stalls_again_at_its_first_row(tmp_path: Path) -> None:
    whole = train(parabola(1.0, 100, stop={"patience": 4}), tmp_path / "whole")
    child = continued(whole, parabola(1.0, 100, stop={"patience": 4}), tmp_path / "child")
    assert_continues(child, whole, 4)


def test_batch_norms_statistics_at_a_row_that_ends_a_run(tmp_path: Path) -> None:
    """Its forward pass is undone before the checkpoint, as for the weights."""
    goal = {"target_loss": 1.0}
    spec = blobs_job({"kind": "adam", "lr": 0.05}, 200, stop=goal, model=AWKWARD)
    whole = train(spec, tmp_path / "whole")
    assert whole.ending.outcome == "converged"
    n = whole.ending.result["num_steps"]
    assert_continues(continued(whole, spec, tmp_path / "child"), whole, n)


def test_patience_counts_on_from_the_parents_rows(tmp_path: Path) -> None:
    child = check(parabola(1.0, 100, stop={"patience": 6}), 4, tmp_path)
    assert child.ending.outcome == "stalled"
    assert child.ending.result["num_steps"] == 6


def test_a_diverged_run_leaves_nothing_to_continue(tmp_path: Path) -> None:
    done = train(parabola(1.1, 10), tmp_path)
    assert done.ending.outcome == "diverged"
    assert resume_points(done.artifacts) == []


def test_the_time_of_the_parent_counts(tmp_path: Path) -> None:
    ticks = iter(range(10**6))
    parent = train(parabola(0.2, 5), tmp_path / "parent", clock=lambda: float(next(ticks)))
    assert parent.ending.result["train_s"] > 5
    budget = Budget(max_steps=50, max_seconds=5.0)
    spec = parabola(0.2).model_copy(update={"budget": budget})
    child = continued(parent, spec, tmp_path / "child", clock=lambda: 0.0)
    assert child.column("step") == [5]
    assert child.ending.result["train_s"] > 5


def test_an_interrupted_child_goes_on_where_it_was(tmp_path: Path) -> None:
    spec = blobs_job({"kind": "adam"}, 20, model=AWKWARD, checkpoint={"every_steps": 4})
    parent = train(shorter(spec, 6), tmp_path / "parent")
    folder, whole = tmp_path / "child", train(spec, tmp_path / "whole")
    child = child_of(parent, spec, folder)
    events = Received()
    for leg, reads in enumerate((0, 3, 4)):
        left = train(
            child, folder, events=events, resume=leg > 0, control=StopAt("hand_over", reads)
        )
        assert left.events.checkpoints[-1].step == (6, 9, 13)[leg]
    assert_continues(train(child, folder, events=events, resume=True), whole, 6)


def test_a_lost_child_whose_rows_have_not_arrived_begins_again_at_the_copy(tmp_path: Path) -> None:
    spec = blobs_job({"kind": "adam"}, 20, checkpoint={"every_steps": 4})
    parent = train(shorter(spec, 6), tmp_path / "parent")
    folder = tmp_path / "child"
    child = child_of(parent, spec, folder)
    train(child, folder)
    again = train(child, folder, resume=True, stored_rows={"train": 1, "eval": 0})
    assert again.events.batches[0][:2] == ("train", 0)
    assert_continues(again, train(spec, tmp_path / "whole"), 6)


def test_the_initial_weights_of_a_child_are_those_of_its_checkpoint(tmp_path: Path) -> None:
    spec = blobs_job({"kind": "adam"}, 12)
    parent = train(shorter(spec, 5), tmp_path / "parent")
    child = continued(parent, spec, tmp_path / "child")
    assert child.events.checkpoints[0].step == 5
    for name, value in parent.weights("final").items():
        np.testing.assert_array_equal(child.weights("initial")[name], value)


def test_a_copy_that_is_gone_or_damaged_fails_the_job_by_name(tmp_path: Path) -> None:
    spec = parabola(0.2, 20)
    parent = train(shorter(spec, 5), tmp_path / "parent")
    child = child_of(parent, spec, tmp_path / "child")
    name = resume_points(parent.artifacts)[0]
    copy = LocalJob(tmp_path / "child", JOB)
    copy.write(name, [parent.artifacts.read(name)[:-1]])
    with pytest.raises(JobFailure, match="step 5, from which the job starts, cannot be used"):
        train(child, tmp_path / "child", resume=True)
    copy.delete(name)
    with pytest.raises(JobFailure, match="is not there") as failure:
        train(child, tmp_path / "child")
    assert (failure.value.failure_code, failure.value.param) == ("data_unavailable", "start_from")


def test_one_cycle_holds_its_last_rate_behind_its_end(tmp_path: Path) -> None:
    schedule = {"kind": "one_cycle", "max_lr": 0.2, "total_steps": 8}
    spec = function_job("x**2", {"x": 1.0}, MOMENTUM, 12, schedule=schedule)
    child = check(spec, 8, tmp_path)
    assert child.column("lr") == [train(shorter(spec, 8), tmp_path / "8").column("lr")[-1]] * 4
