"""A run that was interrupted, at any step, ends as the uninterrupted one: every bit."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.specs.job import JobSpec
from core.train.checkpoint.snapshot import resume_points
from tests.core.train.harness import Received, StopAt, Trained, blobs_job, parabola, train

OPTIMIZERS: list[dict[str, Any]] = [
    {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True},
    {"kind": "adam", "lr": 0.01, "amsgrad": True},
    {"kind": "adamw", "lr": 0.01},
    {"kind": "adamax"},
    {"kind": "nadam"},
    {"kind": "radam", "lr": 0.01},
    {"kind": "adagrad", "lr_decay": 0.01},
    {"kind": "adadelta"},
    {"kind": "rmsprop", "momentum": 0.5, "centered": True},
    {"kind": "rprop"},
    {"kind": "asgd", "t0": 3.0},
    {"kind": "adafactor"},
    {"kind": "muon", "lr": 0.02},
    {"kind": "lbfgs", "lr": 0.1, "max_iter": 3, "history_size": 3},
    {"kind": "lion", "lr": 0.01, "weight_decay": 0.1},
    {"kind": "adopt", "lr": 0.01, "weight_decay": 0.1},
    {"kind": "ademamix", "lr": 0.01, "alpha_warmup": 9, "beta3_warmup": 9},
    {"kind": "ademamix", "lr": 0.01, "cautious": True},
    {"kind": "prodigy", "d0": 0.01, "weight_decay": 0.1, "use_bias_correction": True},
    {"kind": "shampoo", "lr": 0.3, "precondition_frequency": 3, "max_preconditioner_dim": 5},
    {"kind": "soap", "lr": 0.02, "precondition_frequency": 3, "precondition_1d": True},
    {"kind": "soap", "lr": 0.02, "cautious": True},
    {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "cautious": True},
    {"kind": "nadam", "lr": 0.01, "cautious": True},
    {"kind": "rmsprop", "lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True},
    {"kind": "schedule_free_sgd", "lr": 0.3, "warmup_steps": 4, "r": 0.5},
    {"kind": "schedule_free_adamw", "lr": 0.02, "weight_decay": 0.1},
]
STEP = {"kind": "step", "step_size": 3}
SCHEDULES: list[dict[str, Any]] = [
    {"kind": "constant_factor"},
    {"kind": "linear"},
    STEP,
    {"kind": "multistep", "milestones": [2, 5, 9]},
    {"kind": "exponential", "gamma": 0.9},
    {"kind": "polynomial", "total_iters": 10},
    {"kind": "cosine", "T_max": 5},
    {"kind": "cosine_warm_restarts", "T_0": 3, "T_mult": 2},
    {"kind": "one_cycle", "max_lr": 0.2, "total_steps": 12},
    {
        "kind": "cyclic", "base_lr": 0.01, "max_lr": 0.2, "step_size_up": 3, "step_size_down": 3,
        "mode": "exp_range", "gamma": 0.9,
    },
    {"kind": "reduce_on_plateau", "patience": 1},
    {"kind": "warmup_stable_decay", "warmup_steps": 3, "decay_steps": 6, "total_steps": 12},
    {"kind": "inverse_sqrt", "warmup_steps": 4, "timescale": 6},
    {"kind": "power_cooldown", "cooldown_steps": 6, "total_steps": 10, "min_lr_ratio": 0.1},
    {"kind": "cosine_with_min_lr", "warmup_steps": 2, "total_steps": 9},
    {"kind": "piecewise", "boundaries": [6, 9], "factors": [1.0, 0.5, 0.2],
     "interpolation": "linear"},
    {"kind": "chained", "schedules": [STEP, {"kind": "inverse_sqrt", "timescale": 9}]},
    {"kind": "warmup", "steps": 4, "then": {"kind": "cosine", "T_max": 8}},
    {"kind": "warmup", "steps": 4, "then": {"kind": "reduce_on_plateau", "patience": 0}},
    {"kind": "sequential", "schedules": [STEP, {"kind": "linear"}], "milestones": [6]},
    {"kind": "chained", "schedules": [STEP, {"kind": "exponential", "gamma": 0.9}]},
]  # fmt: skip
AWKWARD = {"kind": "mlp", "hidden": [6], "norm": {"kind": "batch"}, "dropout": 0.3}


def name_of(choice: dict[str, Any]) -> str:
    return "-".join(v for v in (choice["kind"], choice.get("then", {}).get("kind")) if v)


def interrupted(spec: JobSpec, folder: Path, *steps: int) -> Trained:
    """Hand over before each of `steps`, then let it end."""
    events = Received()
    for leg, step in enumerate(steps):
        reads = step - (steps[leg - 1] if leg else 0)
        control = StopAt("hand_over", reads)
        left = train(spec, folder, control=control, events=events, resume=leg > 0)
        assert left.ending.reason == "handed_over"
        assert left.events.checkpoints[-1].step == step
    return train(spec, folder, events=events, resume=True)


def assert_same(one: Trained, other: Trained) -> None:
    for kind in ("train", "eval"):
        assert repr(one.events.histories[kind]) == repr(other.events.histories[kind])
    for name in ("initial", "best", "final"):
        file = f"{name}.safetensors"
        assert one.artifacts.read(file) == other.artifacts.read(file), name
    ending, again = one.ending, other.ending
    assert (ending.outcome, ending.best) == (again.outcome, again.best)
    assert {**ending.result, "train_s": 0} == {**again.result, "train_s": 0}


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=name_of)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_with_every_optimizer(optimizer: dict[str, Any], precision: str, tmp_path: Path) -> None:
    spec = blobs_job(optimizer, model=AWKWARD, precision=precision)
    assert_same(train(spec, tmp_path / "whole"), interrupted(spec, tmp_path / "parts", 1, 7))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
def test_with_every_schedule(schedule: dict[str, Any], tmp_path: Path) -> None:
    momentum = {"kind": "sgd", "lr": 0.1, "momentum": 0.9}
    spec = blobs_job(momentum, schedule=schedule)
    assert_same(train(spec, tmp_path / "whole"), interrupted(spec, tmp_path / "parts", 4, 6))


def test_schedules_that_turn_adams_betas_go_on_too(tmp_path: Path) -> None:
    schedule = {"kind": "one_cycle", "max_lr": 0.2, "total_steps": 12}
    spec = blobs_job({"kind": "adam"}, schedule=schedule)
    assert_same(train(spec, tmp_path / "whole"), interrupted(spec, tmp_path / "parts", 5))


@pytest.mark.parametrize("step", [0, 1, 5, 11])
def test_at_any_step_with_rows_left_out_and_the_best_between_them(
    step: int, tmp_path: Path
) -> None:
    spec = parabola(0.3, 12, record={"every": 4, "eval_every": 5}, stop={"patience": 3})
    assert_same(train(spec, tmp_path / "whole"), interrupted(spec, tmp_path / "parts", step))


def test_patience_remembers_the_rows_before_the_interruption(tmp_path: Path) -> None:
    spec = parabola(1.0, 100, stop={"patience": 6})
    done = interrupted(spec, tmp_path, 4)
    assert done.ending.outcome == "stalled"
    assert done.ending.result["num_steps"] == 6


def test_a_killed_run_goes_on_after_its_last_checkpoint(tmp_path: Path) -> None:
    spec = blobs_job({"kind": "adam"}, checkpoint={"every_steps": 5})
    whole = train(spec, tmp_path)
    asked = [saved.step for saved in whole.events.checkpoints if saved.name == "resume"]
    assert asked == [5, 10, 12]
    whole.artifacts.delete("checkpoints/step_12.safetensors")  # it was killed before its end
    again = train(spec, tmp_path, resume=True)
    assert again.events.batches[0][:2] == ("train", 10)
    assert again.artifacts.read("final.safetensors") == whole.artifacts.read("final.safetensors")
    assert again.ending.best == whole.ending.best


def test_a_checkpoint_ahead_of_the_rows_that_arrived_is_passed_over(tmp_path: Path) -> None:
    spec = blobs_job({"kind": "adam"}, checkpoint={"every_steps": 5})
    whole = train(spec, tmp_path)
    again = train(spec, tmp_path, resume=True, stored_rows={"train": 9, "eval": 3})
    assert again.events.batches[0][:2] == ("train", 5)
    from_start = train(spec, tmp_path, resume=True, stored_rows={"train": 0, "eval": 0})
    assert_same(from_start, whole)


def test_a_damaged_or_foreign_checkpoint_is_passed_over(tmp_path: Path) -> None:
    spec = blobs_job({"kind": "adam"}, checkpoint={"every_steps": 5})
    whole = train(spec, tmp_path)
    name = resume_points(whole.artifacts)[0]
    assert name == "checkpoints/step_12.safetensors"
    whole.artifacts.write(name, [whole.artifacts.read(name)[:-1]])
    again = train(spec, tmp_path, resume=True)
    assert again.events.batches[0][:2] == ("train", 10)
    other = blobs_job({"kind": "adam"}, checkpoint={"every_steps": 5}, seed=1)
    assert train(other, tmp_path, resume=True).events.batches[0][:2] == ("train", 0)


def test_a_flipped_bit_in_a_tensor_is_noticed_and_its_checkpoint_passed_over(
    tmp_path: Path,
) -> None:
    spec = blobs_job({"kind": "adam"}, checkpoint={"every_steps": 5})
    artifacts = train(spec, tmp_path).artifacts
    name = resume_points(artifacts)[0]
    data = bytearray(artifacts.read(name))
    data[-5] ^= 1
    artifacts.write(name, [bytes(data)])
    again = train(spec, tmp_path, resume=True)
    assert again.events.batches[0][:2] == ("train", 10)


def test_resuming_without_any_checkpoint_starts_at_the_beginning(tmp_path: Path) -> None:
    done = train(parabola(0.2), tmp_path, resume=True)
    assert done.column("step") == list(range(10))


def test_the_time_of_earlier_attempts_counts(tmp_path: Path) -> None:
    spec = parabola(0.2, 10)
    first = train(spec, tmp_path, control=StopAt("hand_over", 3), clock=iter(range(10**6)).__next__)
    assert first.ending.reason == "handed_over"
    second = train(spec, tmp_path, resume=True, clock=lambda: 5.0)
    assert second.ending.result["train_s"] >= 3.0


def test_nothing_in_a_checkpoint_is_pickled(tmp_path: Path) -> None:
    train(blobs_job({"kind": "lbfgs", "lr": 0.1}), tmp_path, control=StopAt("hand_over", 3))
    (file,) = tmp_path.glob("*/checkpoints/*")
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    sizes = [entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"]
    assert max(end for _, end in sizes) == len(data) - 8 - length
