"""How runs end: every stop rule on functions whose course is known, and divergence."""

import math
from pathlib import Path

import pytest
import torch

from core.messages.reports import Concluded, Settled
from core.train.events import RunEvent
from core.train.problems.build import build_problem
from core.train.state import OptimizationState
from tests.core.train.harness import (
    Json,
    Received,
    Request,
    StopAt,
    blobs_job,
    function_job,
    parabola,
    train,
)


class BeforeTheFiles(Received):
    """Notes which files have been begun when the end is told."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self.begun: list[str] = []

    def emit(self, event: RunEvent | Settled) -> None:
        super().emit(event)
        if isinstance(event, Concluded):
            self.begun = [path.name.strip(".") for path in self._folder.rglob("*.*")]


@pytest.mark.parametrize("stop", [{}, {"target_loss": 5.0}, {"max_loss": 50.0}], ids=str)
def test_how_a_run_ended_is_told_once_before_its_last_files(stop: Json, tmp_path: Path) -> None:
    events = BeforeTheFiles(tmp_path)
    done = train(parabola(0.2, 100, stop=stop), tmp_path, events=events)
    assert events.concluded == [Concluded(done.ending.outcome, done.ending.result)]
    assert not [name for name in events.begun if not name.startswith("initial")]
    assert len(done.column("step")) == done.ending.result["num_steps"] + bool(stop)


@pytest.mark.parametrize("request_", ["cancel", "hand_over"])
def test_what_was_stopped_tells_no_end_ahead(request_: Request, tmp_path: Path) -> None:
    done = train(parabola(0.2, 100), tmp_path, control=StopAt(request_, 5))
    assert done.events.concluded == []


def test_target_loss_ends_at_the_first_row_at_or_below_it(tmp_path: Path) -> None:
    # Losses 100·0.36^k: 12.96 at k = 2, 4.67 at k = 3.
    done = train(parabola(0.2, 100, stop={"target_loss": 5.0}), tmp_path)
    assert done.ending.outcome == "converged"
    assert done.column("step") == [0, 1, 2, 3]
    assert done.ending.result["num_steps"] == 3
    assert done.ending.result["value"] == done.ending.result["final_loss"]
    assert done.ending.result["solution"]["x"] == pytest.approx(2.16, rel=1e-12)


def test_gradient_norm_ends_before_the_update_of_its_row(tmp_path: Path) -> None:
    # |gradient| = 20·0.6^k: 4.32 at k = 3.
    done = train(parabola(0.2, 100, stop={"gradient_norm": 4.5}), tmp_path)
    assert done.ending.outcome == "converged"
    assert done.column("grad_norm") == pytest.approx([20, 12, 7.2, 4.32], rel=1e-12)
    assert done.ending.result["num_steps"] == 3


def test_a_criterion_that_holds_at_the_start_ends_with_no_update(tmp_path: Path) -> None:
    done = train(parabola(0.2, 100, stop={"target_loss": 100.0}), tmp_path)
    assert done.ending.outcome == "converged"
    assert done.column("step") == [0]
    assert done.ending.result["num_steps"] == 0
    assert done.weights()["x"].tolist() == [10.0]


def test_rules_look_at_unrecorded_rows_too_and_the_last_row_is_recorded(tmp_path: Path) -> None:
    spec = parabola(0.2, 100, stop={"target_loss": 5.0}, record={"every": 50, "eval_every": 100})
    done = train(spec, tmp_path)
    assert done.column("step") == [0, 3]


def test_patience_stalls_a_run_that_jumps_between_two_points(tmp_path: Path) -> None:
    # η = 1: x alternates between 10 and −10, the loss stays 100.
    done = train(parabola(1.0, 100, stop={"patience": 4}), tmp_path)
    assert done.ending.outcome == "stalled"
    assert done.column("loss") == [100.0] * 5
    assert done.ending.result["num_steps"] == 4


def test_a_stall_far_above_the_start_is_divergence(tmp_path: Path) -> None:
    done = train(parabola(1.1, 100, stop={"patience": 10}), tmp_path)
    assert done.column("step") == list(range(11))
    assert done.ending.outcome == "diverged"


def test_max_loss_ends_as_diverged_at_the_row_above_it(tmp_path: Path) -> None:
    # Losses 100·1.44^k: 207.4 at k = 2.
    done = train(parabola(1.1, 100, stop={"max_loss": 200.0}), tmp_path)
    assert done.ending.outcome == "diverged"
    assert done.column("loss") == pytest.approx([100, 144, 207.36], rel=1e-12)
    assert math.isfinite(done.column("grad_norm")[-1])


def test_a_growing_parabola_has_diverged_at_the_end_of_its_budget(tmp_path: Path) -> None:
    # Losses 100·1.44^k, k = 0 … 9: the median is 524.6, 424.6 above the first, over 3·100.
    done = train(parabola(1.1, 10), tmp_path)
    assert done.ending.outcome == "diverged"
    assert done.column("step") == list(range(10))
    assert done.ending.result["num_steps"] == 10


def test_slow_growth_is_not_divergence_yet(tmp_path: Path) -> None:
    # Losses 100·1.0404^k: the tenth is 1.43 times the first.
    assert train(parabola(1.01, 10), tmp_path).ending.outcome == "budget_exhausted"


def test_stable_heavy_ball_that_overshoots_is_not_diverged(tmp_path: Path) -> None:
    # λ = 2 < (2 + 2β)/η = 39.8: stable, with swings far above the best loss.
    ball = {"kind": "sgd", "lr": 0.1, "momentum": 0.99}
    for steps in range(1, 120, 7):
        spec = function_job("x1**2 + 0.01*x2**2", {"x1": 1, "x2": 1}, ball, steps)
        assert train(spec, tmp_path / str(steps)).ending.outcome == "budget_exhausted"


def test_a_history_ends_at_its_first_loss_that_is_not_finite(tmp_path: Path) -> None:
    # x_{k+1} = x − η·4x³ overflows within a few steps.
    done = train(function_job("x**4", {"x": 10}, {"kind": "sgd", "lr": 1.0}, 100), tmp_path)
    assert done.ending.outcome == "diverged"
    losses = done.column("loss")
    assert all(map(math.isfinite, losses[:-1]))
    assert not math.isfinite(losses[-1])
    assert math.isnan(done.column("grad_norm")[-1])
    assert done.ending.result["num_steps"] == len(losses) - 1
    assert not math.isfinite(done.ending.result["final_loss"])
    assert done.ending.best == {"step": 0, "loss": 10_000.0}
    assert done.weights("best")["x"].tolist() == [10.0]


def test_a_start_that_is_not_finite_ends_at_row_0_without_a_best(tmp_path: Path) -> None:
    done = train(function_job("log(x)", {"x": -1}, {"kind": "sgd", "lr": 0.1}), tmp_path)
    assert done.ending.outcome == "diverged"
    assert done.column("step") == [0]
    assert done.ending.result["num_steps"] == 0
    assert done.ending.best is None
    assert done.ending.result["best_loss"] is None
    assert [saved.name for saved in done.events.checkpoints] == ["initial", "final"]


def test_a_last_update_to_a_point_without_a_value_is_divergence(tmp_path: Path) -> None:
    # One step from 1 leads to −1, where the logarithm has no value; no row shows it.
    spec = function_job("2*log(x)", {"x": 1}, {"kind": "sgd", "lr": 1.0}, 1)
    done = train(spec, tmp_path)
    assert done.column("loss") == [0.0]
    assert done.ending.result["solution"] == {"x": -1.0}
    assert math.isnan(done.ending.result["value"])
    assert done.ending.outcome == "diverged"


def test_a_diverged_classifier_still_has_weights_and_an_evaluation(tmp_path: Path) -> None:
    done = train(blobs_job({"kind": "sgd", "lr": 1e30}, 50), tmp_path)
    assert done.ending.outcome == "diverged"
    assert done.column("step", "eval")[-1] == done.ending.result["num_steps"]
    assert set(done.weights()) == set(done.weights("initial"))


@pytest.mark.parametrize("block_size", [1, 16])
def test_a_run_that_ends_at_a_row_has_the_batch_statistics_from_before_it(
    block_size: int, tmp_path: Path
) -> None:
    model = {"kind": "mlp", "hidden": [6], "norm": {"kind": "batch"}}
    losses = train(blobs_job(model=model), tmp_path / "all").column("loss")
    k = next(k for k in range(2, 12) if losses[k] < min(losses[:k]))
    stop = {"target_loss": losses[k]}
    ended = train(blobs_job(model=model, stop=stop), tmp_path / "end", block_size=block_size)
    budget = train(blobs_job(model=model, max_steps=k), tmp_path / "budget")
    assert ended.ending.result["num_steps"] == k
    for name, weight in budget.weights().items():
        assert weight.tobytes() == ended.weights()[name].tobytes(), name


def test_lbfgs_computes_the_rows_loss_once(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = parabola(0.2).model_copy()
    spec = function_job("x**2", {"x": 10}, {"kind": "lbfgs", "max_iter": 1})
    problem = build_problem(spec, torch.device("cpu"), torch.float64)
    calls: list[int] = []
    real = problem.loss

    def counted(step: int) -> torch.Tensor:
        calls.append(step)
        return real(step)

    monkeypatch.setattr(problem, "loss", counted)
    descent = OptimizationState(spec, problem)
    loss = problem.loss(0)
    loss.backward()  # type: ignore[no-untyped-call]
    descent.update(0, loss)
    # One iteration without line search asks for the first evaluation alone.
    assert calls == [0]
