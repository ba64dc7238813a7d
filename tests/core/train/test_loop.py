"""What a step, a row, an evaluation and the best are: section by section of the contract."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.core.train.harness import StopAt, blobs_job, function_job, parabola, train


def test_row_k_is_the_loss_before_update_k_plus_1(tmp_path: Path) -> None:
    done = train(parabola(0.2), tmp_path)
    expected = [(10 * 0.6**k) ** 2 for k in range(10)]
    assert done.column("step") == list(range(10))
    assert done.column("loss") == pytest.approx(expected, rel=1e-12)
    assert done.column("grad_norm") == pytest.approx([20 * 0.6**k for k in range(10)], rel=1e-12)
    assert [x for (x,) in done.column("x")] == pytest.approx(
        [10 * 0.6**k for k in range(10)], rel=1e-12
    )
    assert done.column("lr") == [0.2] * 10


def test_a_budget_of_n_ends_with_n_updates_and_their_weights(tmp_path: Path) -> None:
    result = train(parabola(0.2), tmp_path).ending.result
    assert result["num_steps"] == 10
    assert result["final_loss"] == pytest.approx((10 * 0.6**9) ** 2, rel=1e-12)
    assert result["solution"]["x"] == pytest.approx(0.060466176, rel=1e-9)
    assert result["value"] == pytest.approx(0.060466176**2, rel=1e-9)


@pytest.mark.parametrize(
    ("lr", "steps", "answer"),
    [(0.2, 10, {"x": 0.060466}), (0.05, 10, {"x": 3.486784}), (1.1, 10, {"x": 61.917364})],
)
def test_known_answers_of_gradient_descent_on_a_parabola(
    lr: float, steps: int, answer: dict[str, float], tmp_path: Path
) -> None:
    solution = train(parabola(lr, steps), tmp_path).ending.result["solution"]
    assert solution == pytest.approx(answer, abs=5e-7)


@pytest.mark.parametrize(
    ("lr", "answer"), [(0.4, (-0.943467, -0.000073)), (0.6, (-0.387814, -1673.365109))]
)
def test_known_answers_in_two_dimensions(
    lr: float, answer: tuple[float, float], tmp_path: Path
) -> None:
    start = {"x1": -5, "x2": -2}
    spec = function_job("0.1*x1**2 + 2*x2**2", start, {"kind": "sgd", "lr": lr}, 20)
    solution = train(spec, tmp_path).ending.result["solution"]
    assert (solution["x1"], solution["x2"]) == pytest.approx(answer, abs=5e-7)


def test_the_lr_of_a_row_is_the_one_its_update_uses(tmp_path: Path) -> None:
    schedule = {"kind": "step", "step_size": 2, "gamma": 0.5}
    done = train(parabola(0.2, 6, schedule=schedule), tmp_path)
    rates = [0.2, 0.2, 0.1, 0.1, 0.05, 0.05]
    assert done.column("lr") == rates
    x = [10.0]
    for rate in rates:
        x.append((1 - 2 * rate) * x[-1])
    assert [point for (point,) in done.column("x")] == pytest.approx(x[:-1], rel=1e-12)


def test_record_every_keeps_multiples_and_the_last_row(tmp_path: Path) -> None:
    done = train(parabola(0.2, 10, record={"every": 4, "eval_every": 100}), tmp_path)
    assert done.column("step") == [0, 4, 8, 9]
    assert done.ending.result["final_loss"] == done.column("loss")[-1]


def test_grad_norm_is_taken_before_clipping(tmp_path: Path) -> None:
    clip = {"kind": "norm", "max_norm": 1.0}
    done = train(parabola(0.1, 3, gradient_clip=clip), tmp_path)
    x = [point for (point,) in done.column("x")]
    # clip_grad_norm_ divides by norm + 1e-6.
    assert done.column("grad_norm") == pytest.approx([2 * point for point in x], rel=1e-12)
    assert x[1] == pytest.approx(10 - 0.1 * 20 / (20 + 1e-6), rel=1e-12)


def test_clipping_by_value_clamps_each_component(tmp_path: Path) -> None:
    clip = {"kind": "value", "clip_value": 3.0}
    spec = function_job(
        "x1**2 + x2**2", {"x1": 5, "x2": 1}, {"kind": "sgd", "lr": 0.5}, 1, gradient_clip=clip
    )
    assert train(spec, tmp_path).ending.result["solution"] == {"x1": 3.5, "x2": 0.0}


def test_evaluations_stand_at_0_at_multiples_and_at_the_end_none_twice(tmp_path: Path) -> None:
    assert train(blobs_job(max_steps=12), tmp_path / "a").column("step", "eval") == [0, 5, 10, 12]
    assert train(blobs_job(max_steps=10), tmp_path / "b").column("step", "eval") == [0, 5, 10]


def test_without_eval_every_there_is_one_evaluation_at_the_end(tmp_path: Path) -> None:
    spec = blobs_job(max_steps=7, record={"every": 1, "eval_every": None})
    done = train(spec, tmp_path)
    assert done.column("step", "eval") == [7]
    assert done.ending.result["eval"] == {
        "step": 7,
        "loss": done.column("loss", "eval")[0],
        "accuracy": done.column("accuracy", "eval")[0],
    }


def test_no_evaluation_rows_without_evaluation_data(tmp_path: Path) -> None:
    done = train(blobs_job(eval_fraction=0.0), tmp_path)
    assert done.column("step", "eval") == []
    assert done.ending.result["eval"] is None


def test_an_evaluation_is_of_the_weights_after_step_updates(tmp_path: Path) -> None:
    long = train(blobs_job(max_steps=12), tmp_path / "long")
    short = train(blobs_job(max_steps=5), tmp_path / "short")
    assert long.column("loss", "eval")[1] == short.ending.result["eval"]["loss"]


def test_best_is_the_lowest_evaluation_where_there_is_evaluation_data(tmp_path: Path) -> None:
    spec = blobs_job({"kind": "sgd", "lr": 3.0}, 40, record={"every": 1, "eval_every": 1})
    done = train(spec, tmp_path)
    losses = done.column("loss", "eval")
    at = int(np.argmin(losses))
    assert done.ending.best == {"step": at, "loss": losses[at]}
    assert done.ending.result["best_loss"] == losses[at]
    assert 0 < at < 40
    again = train(
        spec.model_copy(update={"budget": spec.budget.model_copy(update={"max_steps": at})}),
        tmp_path / "again",
    )
    for name, weight in done.weights("best").items():
        assert np.array_equal(weight, again.weights()[name])


def test_best_is_the_lowest_recorded_loss_otherwise_with_the_weights_of_that_row(
    tmp_path: Path,
) -> None:
    momentum = {"kind": "sgd", "lr": 0.2, "momentum": 0.9}
    for every in (1, 3, 4):
        spec = function_job(
            "x**2", {"x": 10}, momentum, 24, record={"every": every, "eval_every": 100}
        )
        done = train(spec, tmp_path / str(every))
        losses = done.column("loss")
        at = int(np.argmin(losses))
        assert done.ending.best == {"step": done.column("step")[at], "loss": losses[at]}
        assert done.weights("best")["x"].tolist() == done.column("x")[at]


@pytest.mark.parametrize("block_size", [1, 16])
def test_the_best_rows_batch_statistics_are_from_before_it(block_size: int, tmp_path: Path) -> None:
    model = {"kind": "mlp", "hidden": [6], "norm": {"kind": "batch"}}
    done = train(
        blobs_job(model=model, eval_fraction=0.0), tmp_path / "best", block_size=block_size
    )
    assert done.ending.best is not None
    step = done.ending.best["step"]
    assert step > 0
    budget = train(blobs_job(max_steps=step, model=model, eval_fraction=0.0), tmp_path / "budget")
    for name, weight in budget.weights().items():
        assert weight.tobytes() == done.weights("best")[name].tobytes(), name


def test_a_last_row_that_is_recorded_only_as_the_last_can_be_the_best(tmp_path: Path) -> None:
    done = train(parabola(0.2, 10, record={"every": 4, "eval_every": 100}), tmp_path)
    assert done.ending.best == {"step": 9, "loss": done.column("loss")[-1]}
    assert done.weights("best")["x"].tolist() == done.column("x")[-1]


def test_an_unrecorded_row_is_not_the_best_when_others_follow(tmp_path: Path) -> None:
    # η = 0.9 with momentum passes the minimum between two recorded rows.
    momentum = {"kind": "sgd", "lr": 0.2, "momentum": 0.9}
    fine = train(function_job("x**2", {"x": 10}, momentum, 9), tmp_path / "fine")
    best = int(np.argmin(fine.column("loss")))
    assert best % 8 != 0
    record = {"every": 8, "eval_every": 100}
    coarse = train(function_job("x**2", {"x": 10}, momentum, 9, record=record), tmp_path / "coarse")
    assert coarse.column("step") == [0, 8]
    assert coarse.ending.best == {"step": 8, "loss": coarse.column("loss")[1]}


def test_max_epochs_counts_passes_over_the_training_rows(tmp_path: Path) -> None:
    # 36 training rows in batches of 8: 5 updates an epoch.
    spec = blobs_job(max_steps=None)
    budget = spec.budget.model_copy(update={"max_epochs": 2})
    done = train(spec.model_copy(update={"budget": budget}), tmp_path)
    assert done.ending.result["num_steps"] == 10
    assert done.ending.outcome == "budget_exhausted"


class TickingClock:
    """A second at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_a_run_cut_by_its_time_is_a_prefix_of_the_uncut_one(tmp_path: Path) -> None:
    whole = train(parabola(0.1, 50), tmp_path / "whole")
    spec = parabola(0.1, 50, budget={"max_steps": 50, "max_seconds": 20.0})
    cut = train(spec, tmp_path / "cut", clock=TickingClock())
    steps = cut.ending.result["num_steps"]
    assert 0 < steps < 50
    assert cut.ending.outcome == "budget_exhausted"
    assert cut.column("loss") == whole.column("loss")[:steps]
    assert cut.ending.result["solution"]["x"] == whole.column("x")[steps][0]


def test_a_time_limit_allows_at_least_one_step(tmp_path: Path) -> None:
    spec = parabola(0.1, None, budget={"max_seconds": 1e-9})
    assert train(spec, tmp_path).ending.result["num_steps"] == 1


def test_a_cancelled_run_keeps_what_it_had(tmp_path: Path) -> None:
    spec = parabola(0.2, 1000, record={"every": 4, "eval_every": 100})
    done = train(spec, tmp_path, control=StopAt("cancel", 10))
    assert done.ending.reason == "cancelled"
    assert done.ending.outcome is None
    assert done.column("step") == [0, 4, 8, 9]
    assert done.ending.result["num_steps"] == 10
    assert done.ending.result["solution"]["x"] == pytest.approx(0.060466176, rel=1e-9)
    assert done.weights()["x"].tolist() == [done.ending.result["solution"]["x"]]
    assert done.ending.best is not None


def test_a_run_cancelled_before_its_first_step_has_no_loss(tmp_path: Path) -> None:
    done = train(parabola(0.2), tmp_path, control=StopAt("cancel"))
    assert done.ending.result["final_loss"] is None
    assert done.ending.result["num_steps"] == 0
    assert done.ending.best is None
    assert done.weights()["x"].tolist() == [10.0]


def test_the_loss_agrees_with_a_loop_written_by_hand(tmp_path: Path) -> None:
    spec = function_job("(x1 - 3)**2 + 10*x2**4", {"x1": 0, "x2": 1}, {"kind": "adam", "lr": 0.1})
    x = torch.nn.Parameter(torch.tensor([0.0, 1.0], dtype=torch.float64))
    adam = torch.optim.Adam([x], lr=0.1)
    for _ in range(10):
        adam.zero_grad()
        loss = (x[0] - 3) ** 2 + 10 * x[1] ** 4
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    solution = train(spec, tmp_path).ending.result["solution"]
    assert [solution["x1"], solution["x2"]] == pytest.approx(x.tolist(), rel=1e-14)


def test_lbfgs_rows_hold_the_first_closure_and_the_answer_is_torchs(tmp_path: Path) -> None:
    options = {"lr": 0.5, "max_iter": 4, "line_search_fn": "strong_wolfe"}
    spec = function_job(
        "(1 - x1)**2 + 100*(x2 - x1**2)**2", {"x1": -1.2, "x2": 1}, {"kind": "lbfgs", **options}, 6
    )
    x = torch.nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    lbfgs = torch.optim.LBFGS([x], lr=0.5, max_iter=4, line_search_fn="strong_wolfe")
    first: list[float] = []
    for _ in range(6):
        values: list[float] = []

        def closure(values: list[float] = values) -> float:
            lbfgs.zero_grad()
            loss = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
            loss.backward()  # type: ignore[no-untyped-call]
            values.append(loss.item())
            return loss.item()

        lbfgs.step(closure)  # type: ignore[no-untyped-call]
        first.append(values[0])
    done = train(spec, tmp_path)
    assert done.column("loss") == pytest.approx(first, rel=1e-9)
    solution = done.ending.result["solution"]
    assert [solution["x1"], solution["x2"]] == pytest.approx(x.tolist(), rel=1e-9)


def test_phases_and_files_come_in_order(tmp_path: Path) -> None:
    done = train(blobs_job(), tmp_path)
    assert done.events.phases == ["preparing", "training", "saving"]
    names = [saved.name for saved in done.events.checkpoints]
    assert names == ["initial", "resume", "best", "final"]
    assert [saved.step for saved in done.events.checkpoints if saved.name != "best"] == [0, 12, 12]
    assert done.events.progressed[-1][0] == 12
    assert done.events.progressed[-1][2] == {"step": 11, "loss": done.column("loss")[-1]}


def test_torchs_settings_come_back_after_a_run(tmp_path: Path) -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    train(parabola(0.2), tmp_path)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


def test_a_bounded_point_stays_in_its_bounds(tmp_path: Path) -> None:
    spec = parabola(0.05, 5)
    problem = spec.problem.model_copy(update={"bounds": (9.5, 20.0)})
    done = train(spec.model_copy(update={"problem": problem}), tmp_path)
    assert done.ending.result["solution"] == {"x": 9.5}
    assert math.isclose(done.ending.result["value"], 9.5**2)
