"""Tasks: what is reported, the weights' file, going on after a kill, requests to stop."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from core.artifacts.task_files import checkpoint_files
from core.messages.parts import Kind
from core.messages.reports import TaskEnding
from core.specs.job import JobSpec
from core.train.fused.checkpoint.writer import TaskCheckpointer
from tests.core.train.fused.harness import Control, Gathered, train_population
from tests.core.train.fused.task_harness import (
    ALWAYS,
    After,
    Done,
    Killed,
    Reported,
    artifacts_in,
    assert_same_task,
    do_task,
    kill_and_resume,
    request,
)
from tests.core.train.fused.test_isolation import layered
from tests.core.train.fused.test_run import POPULATION, SAVED
from tests.core.train.harness import blobs_job, function_job, parabola, train
from tests.core.train.layer_lists import FUSED

Json = dict[str, Any]
ADAM = {"kind": "adam"}
MIXED = {"kind": "mlp", "hidden": [16], "norm": {"kind": "batch"}, "dropout": 0.2}
TASKS: dict[str, list[JobSpec]] = {
    **SAVED,
    "alone": [blobs_job({"kind": "lbfgs"}, 8, model={"kind": "mlp", "hidden": [5]}, seed=3)],
    "several alone": [
        blobs_job({"kind": "asgd", "lr": 0.1}, 9, model=MIXED, seed=seed) for seed in range(3)
    ],
    "alone and stacked": [
        blobs_job({"kind": kind, "lr": 0.05}, 9, model=MIXED, record={"every": 2})
        for kind in ("adam", "adafactor", "adam", "sgd")
    ],
    "by evaluations": [
        blobs_job(
            {**ADAM, "lr": lr},
            9,
            record={"eval_every": 2, "metrics": ["accuracy"]},
            stop={"metric": "eval.accuracy", "patience": patience},
        )
        for lr, patience in ((0.01, 1), (0.05, 2), (0.1, 3))
    ],
    **{
        f"layers: {name}": layered(FUSED[name])[:7]
        for name in ("conv, batch norm", "gru", "dropout")
    },
}


@pytest.fixture
def at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saving waits for the disk, so that it is known which checkpoints there are."""
    save = TaskCheckpointer.save

    def waiting(keeper: TaskCheckpointer, take: Any) -> None:
        save(keeper, take)
        assert keeper._writing is not None
        keeper._writing.result()

    monkeypatch.setattr(TaskCheckpointer, "save", waiting)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_trains_its_runs_as_a_population(name: str, tmp_path: Path) -> None:
    specs = TASKS[name]
    together = train_population(specs)
    done = do_task(request(specs), tmp_path)
    assert done.ended.reason == "finished"
    assert done.ended.paused == {}
    for number in range(len(specs)):
        run = 10 + number
        assert repr(done.reported.received[run].histories) == repr(
            together.received[number].histories
        )
        ending, fields = together.endings[number], done.reported.endings[run]
        assert fields.outcome == ending.ending.outcome
        assert fields.best == ending.ending.best
        assert fields.fused is ending.fused
        assert fields.result["final_loss"] == ending.ending.result["final_loss"]
        assert_weights(done, run, together, number)


def assert_weights(done: Done, run: int, together: Gathered, number: int) -> None:
    where, weights = done.places, together.weights[number]
    stacked, row = done.weights(), where["rows"][run]
    steps = {"initial": 0, "best": weights.best_step, "final": weights.final_step}
    assert where["steps"][run] == steps
    for which in ("initial", "best", "final"):
        for name, tensor in getattr(weights, which).items():
            assert stacked[f"{which}.{name}"][row].tobytes() == tensor.numpy().tobytes()


def test_the_weights_of_a_task_are_one_file(tmp_path: Path) -> None:
    done = do_task(request(POPULATION), tmp_path)
    assert done.places["file"] == "weights/1_0.safetensors"
    path = next(tmp_path.rglob("1_0.safetensors"))
    with safe_open(path, framework="np") as file:
        assert json.loads(file.metadata()["feature_names"])
        assert "spec" not in file.metadata()
    assert done.weights()["final.hidden.0.linear.weight"].shape == (16, 16, 4)


def test_rows_come_in_one_batch_a_flush_and_kind(tmp_path: Path) -> None:
    specs = [blobs_job(ADAM, 12, seed=seed) for seed in range(20)]
    done = do_task(request(specs), tmp_path, clock=lambda: 0.0)
    everyone = list(range(10, 30))
    assert done.reported.batches == [("train", everyone), ("eval", everyone)]


def test_repeats_share_a_configuration_and_differ_by_seed(tmp_path: Path) -> None:
    spec = blobs_job(ADAM, 5)
    job = request([spec], runs=[[0, 0, 4], [1, 0, 5], [2, 0, 4]])
    done = do_task(job, tmp_path)
    losses = [done.reported.column(run, "loss") for run in range(3)]
    assert losses[0] == losses[2] != losses[1]
    alone = train_population([spec.model_copy(update={"seed": seed}) for seed in (4, 5, 4)])
    assert losses[1] == alone.column(1, "loss")


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("kills", [(3,), (7,), (4, 3), (2, 1, 9)])
def test_a_killed_task_goes_on_to_the_bit(
    name: str, kills: tuple[int, ...], tmp_path: Path
) -> None:
    if name == "alone" and sum(kills) > 9:
        kills = (2, 1, 3)
    job = request(TASKS[name])
    whole = do_task(job, tmp_path / "whole")
    parts = kill_and_resume(job, tmp_path / "parts", kills, pace=ALWAYS)
    assert_same_task(parts, whole)


@pytest.mark.usefixtures("at_every_step")
def test_a_resumed_task_does_not_begin_anew(tmp_path: Path) -> None:
    job = request([parabola(0.01 * n, 400) for n in range(1, 5)])
    with pytest.raises(Killed):
        do_task(job, tmp_path, control=After(300), pace=ALWAYS)
    reported = Reported()
    do_task(replace(job, resume=True), tmp_path, reported=reported)
    assert min(reported.received[10].histories["train"]) == 298
    assert reported.progressed[-1] == (1600, 0)


def damage(folder: Path, which: str) -> None:
    path = next(folder.rglob(Path(which).name))
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(bytes(data))


def latest_first(folder: Path) -> list[str]:
    names = [name for name in checkpoint_files("1_0") if artifacts_in(folder).exists(name)]
    paths = {name: next(folder.rglob(Path(name).name)) for name in names}
    return sorted(names, key=lambda name: paths[name].stat().st_mtime_ns, reverse=True)


@pytest.mark.usefixtures("at_every_step")
@pytest.mark.parametrize("damaged", [1, 2])
def test_a_damaged_checkpoint_falls_back(damaged: int, tmp_path: Path) -> None:
    job = request(POPULATION)
    whole = do_task(job, tmp_path / "whole")
    folder, reported = tmp_path / "parts", Reported()
    with pytest.raises(Killed):
        do_task(job, folder, reported=reported, control=After(11), pace=ALWAYS)
    names = latest_first(folder)
    assert len(names) == 2
    for name in names[:damaged]:
        damage(folder, name)
    again = Reported()
    done = do_task(replace(job, resume=True), folder, reported=again)
    first = min(again.received[14].histories["train"])
    assert first == (0 if damaged == 2 else 8)
    (told,) = again.restarts
    where = "its start" if damaged == 2 else "a checkpoint"
    assert told.startswith(f"task {job.stem} from {where}: tasks/")
    for run, received in again.received.items():
        reported.received[run].histories["train"].update(received.histories["train"])
        reported.received[run].histories["eval"].update(received.histories["eval"])
    assert_same_task(Done(done.ended, Reported(reported.received, again.endings), done.artifacts),
                     whole)  # fmt: skip


@pytest.mark.usefixtures("at_every_step")
def test_a_checkpoint_ahead_of_the_stored_rows_is_not_used(tmp_path: Path) -> None:
    job = request([parabola(0.1, 50), parabola(0.2, 50)])
    with pytest.raises(Killed):
        do_task(job, tmp_path, control=After(40), pace=ALWAYS)
    stored: dict[int, dict[Kind, int]] = {run: {"train": 1, "eval": 0} for run in (10, 11)}
    reported = Reported()
    do_task(replace(job, resume=True, stored_rows=stored), tmp_path, reported=reported)
    assert sorted(reported.received[10].histories["train"]) == list(range(50))


def test_a_checkpoint_of_other_runs_is_not_used(tmp_path: Path) -> None:
    job = request([parabola(0.1, 50), parabola(0.2, 50)])
    with pytest.raises(Killed):
        do_task(job, tmp_path, control=After(40), pace=ALWAYS)
    other = request([parabola(0.1, 50), parabola(0.25, 50)], resume=True)
    done = do_task(other, tmp_path)
    assert len(done.reported.column(11, "loss")) == 50


@pytest.mark.parametrize("name", ["models", "several alone", "alone and stacked"])
def test_a_task_handed_over_goes_on_to_the_bit(name: str, tmp_path: Path) -> None:
    job = request(TASKS[name])
    whole = do_task(job, tmp_path / "whole")
    folder, reported = tmp_path / "parts", Reported()
    attempts = 0
    while True:
        attempt = replace(job, resume=attempts > 0, stored_rows=reported.num_rows())
        done = do_task(attempt, folder, reported=reported, control=After(6, "hand_over"))
        attempts += 1
        if done.ended.reason == "finished":
            break
        assert done.ended == TaskEnding("handed_over", None, {})
    assert attempts > 2
    assert_same_task(done, whole)


@pytest.mark.parametrize("name", ["models", "alone", "alone and stacked"])
def test_cancelled_runs_keep_what_they_have(name: str, tmp_path: Path) -> None:
    done = do_task(request(TASKS[name]), tmp_path, control=After(6, "cancel"))
    assert done.ended.reason == "cancelled"
    assert done.reported.endings
    cancelled = {run: e for run, e in done.reported.endings.items() if e.outcome is None}
    assert cancelled
    for run, ending in cancelled.items():
        assert ending.reason == "cancelled"
        num_steps = ending.result["num_steps"]
        assert 0 < num_steps < 9
        assert done.places["steps"][run]["final"] == num_steps
        assert done.reported.column(run, "step")[-1] == num_steps - 1


def test_an_ending_is_reported_again_after_a_kill(tmp_path: Path) -> None:
    job = request([parabola(0.1, 3), parabola(0.1, 40)])
    with pytest.raises(Killed):
        do_task(job, tmp_path, control=After(30), pace=ALWAYS)
    reported = Reported()
    done = do_task(replace(job, resume=True), tmp_path, reported=reported)
    assert reported.endings[10].result["num_steps"] == 3
    assert done.places["rows"] == {10: 0, 11: 1}


def test_dropped_runs_end_as_cancelled(tmp_path: Path) -> None:
    job = request([parabola(0.1, 30), parabola(0.1, 30)])
    done = do_task(job, tmp_path, control=Control(dropped={11}))
    assert done.ended.reason == "finished"
    assert [done.reported.endings[run].reason for run in (10, 11)] == ["finished", "cancelled"]


def test_steps_to_target_count_recorded_rows(tmp_path: Path) -> None:
    """x² from 10 at rate η: the loss after k steps is 100·(1 − 2η)^2k."""
    ticks = iter(range(10**6))
    specs = [parabola(rate, 30, record={"every": 4}) for rate in (0.1, 0.2, 0.001)]
    wanted = {"name": "loss", "goal": "min", "at": "final", "target": 1.0}
    done = do_task(request(specs, target=wanted), tmp_path, clock=lambda: float(next(ticks)) / 100)
    first, second = done.reported.target(10), done.reported.target(11)
    # 0.64^k ≤ 0.01 from k = 11 on, 0.36^k from 5 on; of these the next multiple of 4.
    assert (first["step"], second["step"]) == (12, 8)
    assert done.reported.endings[12].target is None
    assert 0 < second["seconds"] < first["seconds"] < done.reported.endings[10].share_s


@pytest.mark.parametrize("kind", ["adam", "asgd"])
def test_steps_to_target_of_an_evaluation(kind: str, tmp_path: Path) -> None:
    spec = blobs_job({"kind": kind, "lr": 0.1}, 40, record={"every": 1, "eval_every": 3})
    wanted = {"name": "eval.accuracy", "goal": "max", "at": "best", "target": 0.8}
    done = do_task(request([spec, spec], target=wanted), tmp_path)
    steps, accuracies = (done.reported.column(10, name, "eval") for name in ("step", "accuracy"))
    first = next(step for step, value in zip(steps, accuracies, strict=True) if value >= 0.8)
    for run in (10, 11):
        assert done.reported.target(run)["step"] == first
        assert done.reported.target(run)["seconds"] > 0


def test_a_target_reached_before_a_kill_is_kept(tmp_path: Path) -> None:
    wanted = {"name": "loss", "goal": "min", "at": "final", "target": 1.0}
    job = request([parabola(0.2, 60), parabola(0.25, 60)], target=wanted)
    done = kill_and_resume(job, tmp_path, (40,), pace=ALWAYS)
    assert [done.reported.target(run)["step"] for run in (10, 11)] == [5, 4]


def test_functions_keep_their_points(tmp_path: Path) -> None:
    specs = [
        function_job("x**2 + 3*y**2", {"x": float(n), "y": 1.0}, {"kind": "sgd", "lr": 0.1}, 5)
        for n in range(3)
    ]
    done = do_task(request(specs), tmp_path)
    points = np.array(done.reported.column(11, "x"))
    assert points[:, 0] == pytest.approx([0.8**k for k in range(5)])
    assert points[:, 1] == pytest.approx([0.4**k for k in range(5)])


ROLLBACK = {"action": "rollback", "lr_factor": 0.5, "max_times": 3}


@pytest.mark.parametrize("kills", [(), (25,)])
def test_rows_that_are_taken_back_go(kills: tuple[int, ...], tmp_path: Path) -> None:
    """x -> (1 − 2η)x diverges at the rate 1.1, and not at half of it."""
    spec = parabola(1.1, 40, on_divergence=ROLLBACK)
    alone = train(spec, tmp_path / "alone")
    ticks = iter(range(10**6))
    clock = lambda: next(ticks) / 20  # noqa: E731 (rows leave now and then)
    done = kill_and_resume(request([spec]), tmp_path / "task", kills, pace=ALWAYS, clock=clock)
    assert done.reported.received[10].histories == alone.events.histories
    assert done.reported.endings[10].fused is False
    assert done.reported.endings[10].best == alone.ending.best
