"""`record.gradient_cosine`: how each gradient stands to the one before, in every kind of run."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.specs.job import JobSpec, Record
from core.specs.sizes.cost import estimate
from core.specs.sizes.extent import history_widths
from core.specs.sizes.fusing import fusable
from core.train.optim.build import build_optimizer
from core.train.optim.gradients import GradientCosine
from core.train.problems.build import build_problem
from tests.core.train.checkpoint.test_continue import check
from tests.core.train.checkpoint.test_resume import (
    AWKWARD,
    OPTIMIZERS,
    assert_same,
    interrupted,
    name_of,
)
from tests.core.train.harness import StopAt, Trained, blobs_job, function_job, parabola, train
from tests.core.train.history.test_row_check import JOBS, facts

BALL = {"kind": "sgd", "lr": 0.05, "momentum": 0.9}


def asked(spec: JobSpec) -> JobSpec:
    record = spec.record.model_copy(update={"gradient_cosine": True})
    return spec.model_copy(update={"record": record})


def cosines(done: Trained) -> list[float]:
    first, *rest = done.column("grad_cosine")
    assert math.isnan(first)
    return rest


@pytest.mark.parametrize(("lr", "expected"), [(0.2, 1.0), (0.49, 1.0), (0.51, -1.0), (0.99, -1.0)])
def test_descent_turns_round_above_one_over_the_curvature(
    lr: float, expected: float, tmp_path: Path
) -> None:
    # x²: λ = 2, and g_{k+1} = (1 − 2η)·g_k.
    assert cosines(train(asked(parabola(lr, 20)), tmp_path)) == [expected] * 19


def test_momentum_on_an_ellipse_has_the_cosines_of_its_points(tmp_path: Path) -> None:
    spec = asked(function_job("x1**2 + 5*x2**2", {"x1": 3, "x2": 1}, BALL, 40))
    done = train(spec, tmp_path)
    gradients = np.array(done.column("x")) * np.array([2.0, 10.0])
    unit = gradients / np.linalg.norm(gradients, axis=1, keepdims=True)
    assert cosines(done) == pytest.approx((unit[1:] * unit[:-1]).sum(axis=1), abs=1e-12)


def test_a_models_cosines_are_those_of_the_loop_by_hand_before_clipping(tmp_path: Path) -> None:
    spec = asked(blobs_job(BALL, 15, gradient_clip={"kind": "value", "clip_value": 0.01}))
    problem = build_problem(spec, torch.device("cpu"), torch.float32)
    parameters = problem.parameters()
    optimizer = build_optimizer(spec.optimizer, parameters)
    expected, before = [], None
    for step in range(15):
        optimizer.zero_grad()
        problem.loss(step).backward()  # type: ignore[no-untyped-call]
        flat = nn.utils.parameters_to_vector([p.grad for p in parameters if p.grad is not None])
        flat = flat.double().clone()
        if before is not None:
            expected.append(float(nn.functional.cosine_similarity(flat, before, dim=0)))
        before = flat
        nn.utils.clip_grad_value_(parameters, 0.01)
        optimizer.step()
    assert cosines(train(spec, tmp_path)) == pytest.approx(expected, abs=1e-5)


def test_rows_left_out_change_no_cosine(tmp_path: Path) -> None:
    whole = train(asked(blobs_job(BALL, 14)), tmp_path / "a")
    thin = train(asked(blobs_job(BALL, 14, record={"every": 4, "eval_every": 5})), tmp_path / "b")
    steps = [int(step) for step in thin.column("step")]
    assert steps == [0, 4, 8, 12, 13]
    assert thin.column("grad_cosine")[1:] == [whole.column("grad_cosine")[k] for k in steps[1:]]


def test_recording_it_changes_no_other_number(tmp_path: Path) -> None:
    plain = train(blobs_job(BALL), tmp_path / "a")
    with_it = train(asked(blobs_job(BALL)), tmp_path / "b")
    assert "grad_cosine" not in plain.events.histories["train"][0]
    for name in ("step", "loss", "lr", "grad_norm"):
        assert with_it.column(name) == plain.column(name)
    for name, values in plain.weights().items():
        np.testing.assert_array_equal(with_it.weights()[name], values)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=name_of)
def test_an_interrupted_run_has_the_same_bits(optimizer: dict[str, Any], tmp_path: Path) -> None:
    spec = asked(blobs_job(optimizer, model=AWKWARD))
    whole = train(spec, tmp_path / "whole")
    assert_same(whole, interrupted(spec, tmp_path / "parts", 1, 7))
    assert not any(math.isnan(each) for each in cosines(whole))


@pytest.mark.parametrize("n", [1, 4, 11])
def test_a_continued_run_has_the_same_bits(n: int, tmp_path: Path) -> None:
    check(asked(blobs_job({"kind": "adam"}, 20, model=AWKWARD)), n, tmp_path)


def test_a_row_that_ended_a_run_is_made_again_by_its_continuation(tmp_path: Path) -> None:
    # x² at 0.2: the loss is below 5 from row 3 on.
    spec = asked(parabola(0.6, 12, stop={"gradient_norm": 0.5}))
    done = train(spec, tmp_path)
    last = int(done.column("step")[-1])
    assert done.ending.outcome == "converged"
    again = train(spec, tmp_path, resume=True)
    assert again.events.histories["train"][last] == done.events.histories["train"][last]
    assert done.column("grad_cosine")[last] == -1.0


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize("block_size", [2, 16])
def test_blocks_change_no_bit(name: str, block_size: int, tmp_path: Path) -> None:
    spec = asked(JOBS[name])
    one = facts(train(spec, tmp_path / "one"))
    assert facts(train(spec, tmp_path / "blocks", block_size=block_size)) == one
    assert "grad_cosine" in one["histories"]


@pytest.mark.parametrize("action", ["rollback", "skip", "clip"])
def test_a_guarded_run_that_is_interrupted_has_the_same_bits(action: str, tmp_path: Path) -> None:
    spec = parabola(
        0.9,
        300,
        schedule={"kind": "exponential", "gamma": 1.004},
        on_divergence={"action": action, "lr_factor": 0.5},
        stop={"max_loss": 1e3},
    )
    whole = train(asked(spec), tmp_path / "whole")
    assert whole.events.interventions
    begun = train(asked(spec), tmp_path / "parts", control=StopAt("hand_over", 61))
    assert begun.ending.reason == "handed_over"
    ended = train(asked(spec), tmp_path / "parts", events=begun.events, resume=True)
    assert repr(ended.events.histories) == repr(whole.events.histories)
    assert set(cosines(whole)) <= {-1.0, 1.0}


def test_a_skipped_row_without_a_gradient_has_no_cosine_and_the_next_has_none(
    tmp_path: Path,
) -> None:
    # log of a negative number: the loss is not finite, whatever follows.
    spec = function_job(
        "log(x)", {"x": -1}, BALL, 6, on_divergence={"action": "skip", "max_times": 3}
    )
    done = train(asked(spec), tmp_path)
    assert all(math.isnan(each) for each in done.column("grad_cosine"))


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-18, 1.0, 1e18, 1e30, math.inf, math.nan])
def test_sizes_at_the_ends_of_float32_have_a_cosine_or_none(size: float) -> None:
    turning = GradientCosine()
    parts = [torch.tensor([3.0, 0.0]) * size, torch.tensor([[4.0]]) * size]
    opposite = [-part for part in parts]
    norm = torch.linalg.vector_norm(torch.cat([part.double().reshape(-1) for part in parts]))
    assert math.isnan(turning.to(parts, norm.float()).item())
    found = turning.to(opposite, norm.float()).item()
    usual = math.isfinite(size) and size > 0.0
    assert found == pytest.approx(-1.0, abs=1e-6) if usual else math.isnan(found)


def test_a_norm_beyond_float32_has_no_direction() -> None:
    turning = GradientCosine()
    for _ in range(2):
        found = turning.to([torch.tensor([3e38, 3e38])], torch.tensor(math.inf))
        assert math.isnan(found.item())


def test_it_is_a_series_of_its_own_that_is_counted() -> None:
    plain, with_it = blobs_job(), asked(blobs_job())
    assert "grad_cosine" not in history_widths(plain)["train"]
    assert history_widths(with_it)["train"] == {
        "loss": 1, "lr": 1, "grad_norm": 1, "grad_cosine": 1,
    }  # fmt: skip
    more = estimate(with_it).history_bytes - estimate(plain).history_bytes
    assert more == 8 * estimate(plain).num_steps
    assert estimate(with_it).memory_bytes > estimate(plain).memory_bytes


def test_it_is_off_unless_asked_for_and_a_run_with_it_is_not_fused() -> None:
    assert Record().gradient_cosine is False
    assert fusable(blobs_job())
    assert not fusable(asked(blobs_job()))
