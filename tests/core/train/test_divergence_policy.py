"""What `on_divergence` does: each intervention against arithmetic by hand or a run without it."""

import json
import math
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch

from core.specs.job import JobSpec
from core.specs.optimizers.kinds import OwnOptimizer, settled_lr
from core.specs.unions import members
from core.train.problems.build import build_problem
from tests.core.train.harness import StopAt, Trained, blobs_job, function_job, parabola, train

ROLLBACK = {"action": "rollback", "lr_factor": 0.5, "max_times": 3}
COLUMNS = ("step", "loss", "lr", "grad_norm")


def changed(spec: JobSpec, **fields: Any) -> JobSpec:
    """The resolved spec with other fields."""
    return JobSpec.model_validate_json(json.dumps({**spec.model_dump(mode="json"), **fields}))


def test_a_rollback_leaves_the_rows_of_the_lower_rate(tmp_path: Path) -> None:
    # x -> (1 - 2 lr) x: |1 - 2.2| > 1 diverges, |1 - 1.1| does not.
    tried = train(parabola(1.1, 40, on_divergence=ROLLBACK), tmp_path / "a")
    plain = train(parabola(0.55, 40), tmp_path / "b")
    for name in (*COLUMNS, "x"):
        assert tried.column(name) == plain.column(name)
    assert tried.ending.outcome == plain.ending.outcome == "budget_exhausted"
    (entry,) = tried.events.interventions
    assert (entry["action"], entry["to_step"]) == ("rollback", 0)
    assert (entry["lr_before"], entry["lr_after"]) == (1.1, 0.55)
    assert entry["loss"] > 400  # 3 (L0 - 0) above L0 = 100, in the median of ten rows
    assert "far above" in entry["reason"]
    assert tried.ending.best == plain.ending.best
    np.testing.assert_array_equal(tried.weights()["x"], plain.weights()["x"])


def test_it_goes_back_as_often_as_it_may_and_then_ends_like_any_other(tmp_path: Path) -> None:
    policy = {"action": "rollback", "lr_factor": 0.9, "max_times": 2}
    spec = parabola(5.0, 300, on_divergence=policy, stop={"max_loss": 1e6})
    tried = train(spec, tmp_path / "a")
    plain = train(parabola(5.0 * 0.9 * 0.9, 300, stop={"max_loss": 1e6}), tmp_path / "b")
    assert tried.ending.outcome == plain.ending.outcome == "diverged"
    assert tried.column("loss") == pytest.approx(plain.column("loss"), rel=1e-12)
    assert len(tried.events.interventions) == 2


RISING: dict[str, Any] = {
    # 0.9 at first, above the threshold of 1 from step 53 on.
    "schedule": {"kind": "exponential", "gamma": 1.002},
    "record": {"every": 3, "eval_every": None},
    "checkpoint": {"every_steps": 37},
    "on_divergence": ROLLBACK,
}


def test_it_goes_back_to_the_latest_snapshot_that_was_good(tmp_path: Path) -> None:
    tried = train(parabola(0.9, 700, **RISING), tmp_path / "a")
    entries = tried.events.interventions
    assert [entry["to_step"] for entry in entries] == sorted(entry["to_step"] for entry in entries)
    first = entries[0]
    assert first["to_step"] > 0
    assert first["to_step"] % 100 == 0
    plain = train(
        parabola(0.9, first["to_step"], **{**RISING, "on_divergence": {"action": "stop"}}),
        tmp_path / "b",
    )
    rows = len([k for k in range(first["to_step"]) if k % 3 == 0])
    assert tried.column("loss")[:rows] == plain.column("loss")[:rows]
    after = tried.column("lr")[rows]
    step = tried.column("step")[rows]
    assert after == pytest.approx(0.9 * 1.002**step * 0.5, rel=1e-9)
    assert tried.column("step") == sorted(set(tried.column("step")))


@pytest.mark.parametrize("stop", [30, 150, 420, 460, 600, 690])
def test_an_interrupted_run_intervenes_to_the_same_bits(tmp_path: Path, stop: int) -> None:
    spec = parabola(0.9, 700, **RISING)
    whole = train(spec, tmp_path / "a")
    assert whole.events.interventions
    begun = train(spec, tmp_path / "b", control=StopAt("hand_over", stop))
    assert begun.ending.reason == "handed_over"
    ended = train(spec, tmp_path / "b", events=begun.events, resume=True)
    for name in (*COLUMNS, "x"):
        assert ended.column(name) == whole.column(name)
    assert ended.events.interventions == whole.events.interventions
    assert ended.ending.best == whole.ending.best
    np.testing.assert_array_equal(ended.weights()["x"], whole.weights()["x"])


def test_models_go_back_to_the_same_bits_too(tmp_path: Path) -> None:
    rows: dict[str, Any] = {
        "record": {"every": 1, "eval_every": 20},
        "checkpoint": {"every_steps": 15},
    }
    optimizer = {"kind": "sgd", "lr": 60.0, "momentum": 0.9}
    model = {"kind": "mlp", "hidden": [6], "norm": "batch", "dropout": 0.2}
    spec = changed(blobs_job(optimizer, 120, model=model, **rows), on_divergence=ROLLBACK)
    whole = train(spec, tmp_path / "a")
    assert whole.events.interventions
    begun = train(spec, tmp_path / "b", control=StopAt("hand_over", 70))
    ended = train(spec, tmp_path / "b", events=begun.events, resume=True)
    for kind in ("train", "eval"):
        assert ended.column("loss", kind) == whole.column("loss", kind)
        assert ended.column("step", kind) == whole.column("step", kind)
    assert ended.events.interventions == whole.events.interventions
    for name, weight in whole.weights().items():
        np.testing.assert_array_equal(weight, ended.weights()[name])


def test_evaluations_of_a_course_that_was_left_do_not_come_later(tmp_path: Path) -> None:
    # No time passes, so that nothing leaves before the run goes back.
    spec = blobs_job({"kind": "sgd", "lr": 60.0}, 120, record={"every": 1, "eval_every": 2})
    tried = train(changed(spec, on_divergence=ROLLBACK), tmp_path / "a", clock=lambda: 0.0)
    gone_back = [entry for entry in tried.events.interventions if entry["step"] > 2]
    assert gone_back
    steps = tried.column("step", "eval")
    assert steps == [float(step) for step in range(0, int(steps[-1]) + 1, 2)]


def test_checkpoints_of_a_course_that_was_left_are_deleted(tmp_path: Path) -> None:
    rest: dict[str, Any] = {"checkpoint": {"every_steps": 5}, "on_divergence": ROLLBACK}
    tried = train(parabola(1.1, 40, **rest), tmp_path, control=StopAt("cancel", 14))
    entry = tried.events.interventions[0]
    assert entry["step"] >= 5
    there = {name for name in tried.artifacts.list() if name.startswith("checkpoints/")}
    listed = {each.path for each in tried.events.checkpoints if each.name == "resume"}
    assert there == listed
    assert len(tried.column("loss")) == tried.ending.result["num_steps"]


def skipping(spec: JobSpec, steps: int, max_loss: float) -> tuple[list[float], list[int]]:
    """The losses and skipped steps of plain gradient descent that leaves bad updates out."""
    torch.set_num_threads(1)
    problem = build_problem(spec, torch.device("cpu"), torch.float32)
    optimizer = torch.optim.SGD(problem.parameters(), lr=settled_lr(spec.optimizer))
    losses: list[float] = []
    skipped: list[int] = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = problem.loss(step)
        losses.append(loss.item())
        if loss.item() > max_loss:
            skipped.append(step)
            continue
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return losses, skipped


def test_skip_leaves_out_the_update_and_keeps_the_row(tmp_path: Path) -> None:
    losses = train(blobs_job(max_steps=30), tmp_path / "a").column("loss")
    limit = sorted(losses)[-3] - 1e-9
    policy = {"action": "skip", "lr_factor": 1.0, "max_times": 30}
    stop = {"max_loss": limit}
    spec = changed(blobs_job(max_steps=30, stop=stop), on_divergence=policy)
    tried = train(spec, tmp_path / "b")
    expected, skipped = skipping(spec, 30, limit)
    assert skipped
    assert tried.column("loss") == expected
    assert [entry["step"] for entry in tried.events.interventions] == skipped
    assert tried.ending.outcome == "budget_exhausted"
    assert tried.ending.result["num_steps"] == 30


def test_skipping_what_does_not_pass_ends_after_max_times(tmp_path: Path) -> None:
    policy = {"action": "skip", "lr_factor": 1.0, "max_times": 3}
    spec = parabola(0.1, 50, on_divergence=policy, stop={"max_loss": 50.0})
    tried = train(spec, tmp_path)
    assert tried.column("loss") == [100.0] * 4  # nothing moves
    assert tried.ending.outcome == "diverged"
    assert [entry["step"] for entry in tried.events.interventions] == [0, 1, 2]


def test_a_gradient_that_is_not_finite_is_not_followed(tmp_path: Path) -> None:
    # At 0 the root has a loss of 0 and an infinite slope.
    policy = {"action": "skip", "lr_factor": 0.5, "max_times": 2}
    spec = function_job("sqrt(x)", {"x": 0.0}, {"kind": "sgd", "lr": 0.1}, 3, on_divergence=policy)
    tried = train(spec, tmp_path)
    assert tried.column("loss")[:2] == [0.0, 0.0]
    assert tried.column("lr")[:2] == [0.1, 0.05]
    assert "gradient" in tried.events.interventions[0]["reason"]


def test_clip_bounds_the_gradient_by_the_runs_own_norm(tmp_path: Path) -> None:
    policy = {"action": "clip", "lr_factor": 1.0, "max_times": 3}
    tried = train(parabola(1.1, 200, on_divergence=policy), tmp_path)
    x, max_norm = 10.0, math.inf
    norms: list[float] = []
    losses: list[float] = []
    acted = [entry["step"] for entry in tried.events.interventions]
    for step in range(200):
        losses.append(x * x)
        if step in acted:
            max_norm = median(norms[-100:]) if max_norm == math.inf else max_norm / 2
        else:
            norms.append(abs(2 * x))
        x -= 1.1 * 2 * x * min(1.0, max_norm / (abs(2 * x) + 1e-6))  # as torch clips
    assert acted
    assert tried.column("loss") == pytest.approx(losses, rel=1e-9)
    assert tried.events.interventions[0]["max_norm"] == pytest.approx(median(norms[: acted[0]]))
    assert tried.ending.outcome != "diverged"


def test_a_run_that_goes_well_is_the_same_to_the_bit_under_any_policy(tmp_path: Path) -> None:
    plain = train(blobs_job(max_steps=250), tmp_path / "plain")
    for action in ("rollback", "skip", "clip"):
        factor = 0.5 if action == "rollback" else 1.0
        policy = {"action": action, "lr_factor": factor, "max_times": 3}
        other = train(changed(blobs_job(max_steps=250), on_divergence=policy), tmp_path / action)
        assert other.events.interventions == []
        for name in COLUMNS:
            assert other.column(name) == plain.column(name)
        assert other.column("loss", "eval") == plain.column("loss", "eval")
        for name, weight in plain.weights().items():
            np.testing.assert_array_equal(weight, other.weights()[name])


OWN = [kind for kind, model in members("optimizer").items() if issubclass(model, OwnOptimizer)]


@pytest.mark.parametrize("kind", OWN)
def test_with_our_own_optimizers_a_rollback_leaves_no_trace_of_what_was_left(
    kind: str, tmp_path: Path
) -> None:
    policy = {"action": "rollback", "lr_factor": 2.0**-20, "max_times": 1}
    start = {"x": 3.0, "y": -2.0}
    optimizer: dict[str, Any] = {"kind": kind, "weight_decay": 0.01}

    def run(lr: float, folder: str, **rest: Any) -> Trained:
        chosen = {**optimizer, "lr": lr}
        spec = function_job("x**2 + 0.5*y**2", start, chosen, 60, precision="float64", **rest)
        return train(spec, tmp_path / folder)

    tried, plain = run(2.0**16, "a", on_divergence=policy), run(2.0**-4, "b")
    assert [entry["to_step"] for entry in tried.events.interventions] == [0]
    for name in (*COLUMNS, "x"):
        assert tried.column(name) == plain.column(name)
    assert tried.ending.best == plain.ending.best
    for name in ("best", "final"):
        np.testing.assert_array_equal(tried.weights(name)["x"], plain.weights(name)["x"])
