"""Settling a learning rate: the race, and what decides it."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from core.jobs import Outcome
from core.specs.job import FunctionProblem, JobSpec
from core.specs.optimizers.kinds import settled_lr
from core.specs.validation.auto_lr import settled
from core.train.auto_lr.race import Finish, race
from core.train.auto_lr.settle import candidate, horizon, race_steps, rectification, settle
from core.train.events import Control
from tests.core.train.auto_lr.automatic import (
    DIGITS,
    ROSENBROCK,
    TAKERS,
    WINE,
    Going,
    Json,
    evidence,
    found,
    job,
    quadratic,
)
from tests.core.train.harness import train

LARGE: Json = {"kind": "function", "function": {"kind": "sphere", "dim": 20_000}}


class FakeRace:
    """Ends every candidate as a function of its rate says."""

    def __init__(
        self,
        loss: Callable[[float], float],
        *,
        diverges_above: float = math.inf,
        evaluation: Callable[[float], float] | None = None,
    ) -> None:
        self.rounds: list[list[float]] = []
        self._loss = loss
        self._limit = diverges_above
        self._evaluation = evaluation

    def __call__(
        self, specs: Sequence[JobSpec], *, control: Control, device: str
    ) -> list[Finish] | None:
        rates = [settled_lr(spec.optimizer) for spec in specs]
        self.rounds.append(rates)
        return [self._finish(rate) for rate in rates]

    def _finish(self, rate: float) -> Finish:
        outcome: Outcome = "diverged" if rate > self._limit else "budget_exhausted"
        evaluation = None if self._evaluation is None else self._evaluation(rate)
        return Finish(self._loss(rate), self._loss(rate), evaluation, outcome, 10)


# --- what the race decides (Adam on a parabola: the range test suggests 0.02)

ADAM = job(quadratic(1.0, 10.0), {"kind": "adam"})

NEAR = 0.0215


def test_the_candidates_are_half_decades_about_the_suggestion_and_the_lowest_loss_wins() -> None:
    told = FakeRace(lambda rate: abs(math.log(rate / NEAR)))
    answer = found(ADAM, told)
    assert told.rounds == [[0.00215, 0.00681, 0.0215, 0.0681, 0.215], [0.0121, 0.0382]]
    assert answer.lr == NEAR
    assert answer.spec == settled(ADAM, NEAR)
    assert evidence(answer)["range_test"]["suggestion"] == pytest.approx(NEAR, rel=0.01)


@pytest.mark.parametrize(("target", "rounds"), [(0.7, 2), (6e-5, 3)])
def test_an_outermost_winner_has_the_race_go_on_beyond_it(target: float, rounds: int) -> None:
    told = FakeRace(lambda rate: abs(math.log(rate / target)))
    assert found(ADAM, told).lr == pytest.approx(target, rel=0.4)
    assert len(told.rounds) == rounds + 1, "the last one looks next to the winner"
    raced = [rate for rates in told.rounds for rate in rates]
    assert len(raced) == len(set(raced))


def test_divergence_loses_whatever_its_last_loss() -> None:
    told = FakeRace(lambda rate: -rate, diverges_above=0.03)
    assert found(ADAM, told).lr == NEAR


def test_when_all_diverge_lower_rates_are_tried_and_the_lowest_is_settled() -> None:
    told = FakeRace(lambda _: math.nan)
    answer = found(ADAM, told)
    raced = [rate for rates in told.rounds for rate in rates]
    assert answer.lr == min(raced)
    assert len(told.rounds) == 5


def test_of_equal_candidates_the_one_next_to_the_suggestion_is_settled() -> None:
    assert found(ADAM, FakeRace(lambda _: 1.0)).lr == NEAR


NETWORK = job(WINE, {"kind": "adam"}, 60)


def apart(target: float) -> Callable[[float], float]:
    """A loss: decades from this rate."""
    return lambda rate: abs(math.log10(rate / target))


def test_evaluation_rows_that_lose_nothing_do_not_make_up_for_training_rows_that_do() -> None:
    best, far = 0.01, 0.1
    answer = found(NETWORK, FakeRace(apart(best), evaluation=apart(far)))
    # The worse of the two is lowest halfway.
    assert answer.lr == pytest.approx(math.sqrt(best * far), rel=0.4)
    answer = found(NETWORK, FakeRace(apart(best), evaluation=lambda rate: 2 + apart(far)(rate)))
    assert answer.lr == pytest.approx(far, rel=0.4)


def lucky(rate: float) -> float:
    """Falls towards 0.01 and rises again; but for one rate that, by luck, lost nothing."""
    return -1.0 if 0.1 < rate < 0.3 else apart(0.01)(rate)


def test_a_network_that_was_lucky_between_two_that_were_not_does_not_win() -> None:
    told = FakeRace(lucky)
    assert found(NETWORK, told).lr == pytest.approx(0.01, rel=0.4)
    assert any(lucky(rate) < 0 for rates in told.rounds for rate in rates)


def unlucky(rate: float) -> float:
    """Is low to both sides of 0.05 or so, and high at every rate in between."""
    return 5.0 if 0.03 < rate < 0.08 else apart(0.03)(rate)


def test_a_network_does_not_win_by_its_neighbours_alone() -> None:
    told = FakeRace(unlucky)
    answer = found(NETWORK, told)
    assert unlucky(answer.lr / evidence(answer)["race"]["horizon_factor"]) < 1.0
    assert any(unlucky(rate) == 5.0 for rates in told.rounds for rate in rates)


@pytest.mark.parametrize(
    ("fields", "steps", "factor"),
    [
        ({}, 100, 1.0),
        ({}, 1600, (160 / 1600) ** 0.25),
        ({}, 10_000, 0.5),
        ({"batch_size": "full"}, 1600, 1.0),
        ({"schedule": {"kind": "cosine"}}, 1600, 1.0),
    ],
)
def test_a_job_longer_than_its_race_gets_a_lower_rate(
    fields: Json, steps: int, factor: float
) -> None:
    answer = found(job(DIGITS, {"kind": "adam"}, steps, **fields), FakeRace(apart(0.01)))
    told = evidence(answer)["race"]
    assert told["horizon_factor"] == pytest.approx(factor, rel=1e-3)
    best = min(told["candidates"], key=lambda each: float(each["loss"]))["lr"]
    assert answer.lr == pytest.approx(factor * best, rel=5e-3)


@pytest.mark.parametrize("kind", ["lion", "ademamix", "soap", "rmsprop"])
def test_a_rate_that_falls_with_the_number_of_steps_is_told_by_it(kind: str) -> None:
    assert horizon(job(DIGITS, {"kind": kind}, 1600), 160) == pytest.approx(0.1)
    assert horizon(job(DIGITS, {"kind": kind}, 100_000), 200) == 0.02
    assert horizon(job(DIGITS, {"kind": kind}, 100), 100) == 1.0
    assert horizon(job(DIGITS, {"kind": kind}, 1600, batch_size="full"), 160) == 1.0


@pytest.mark.parametrize("kind", TAKERS)
def test_where_seconds_alone_end_a_job_its_rate_falls_by_half_at_most(kind: str) -> None:
    """Nobody knows then how many steps there will be: the limit of the history is no guess."""
    for budget, least in (
        ({"max_seconds": 5.0}, 0.5),
        ({"max_seconds": 5.0, "max_steps": 100_000}, 0.02),
        ({"max_seconds": 5.0, "max_epochs": 10_000}, 0.02),
    ):
        spec = job(DIGITS, {"kind": kind}, budget=budget)
        rises = rectification(spec.optimizer, 200)  # of radam
        assert least * rises <= horizon(spec, 200) <= 0.5, budget


def test_a_rate_that_rises_by_itself_is_told_by_what_it_comes_to() -> None:
    """RAdam's factor, against an update of torch's: its first moment is the gradient itself, and so
    is the root of its second one, where the gradient is constant."""
    spec = job(DIGITS, {"kind": "radam", "betas": [0.9, 0.99]}, 1600)
    x = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.RAdam([x], lr=1.0, betas=(0.9, 0.99), eps=0.0)
    for step in range(1, 200):
        before = x.item()
        x.grad = torch.ones_like(x)
        optimizer.step()
        assert rectification(spec.optimizer, step) == pytest.approx(before - x.item(), rel=1e-9)
    rises = rectification(spec.optimizer, 160) / rectification(spec.optimizer, 1600)
    assert horizon(spec, 160) == pytest.approx(0.1**0.25 * rises)
    assert rises < 1.0
    assert horizon(job(DIGITS, {"kind": "adam"}, 1600), 160) == pytest.approx(0.1**0.25)


@pytest.mark.parametrize("problem", [ROSENBROCK, LARGE])
def test_a_function_has_no_batches_that_throw_it_about(problem: Json) -> None:
    answer = found(job(problem, {"kind": "adam"}, 3000), FakeRace(apart(0.01)))
    assert evidence(answer)["race"]["horizon_factor"] == 1.0


def test_a_functions_race_knows_no_luck() -> None:
    assert 0.1 < found(ADAM, FakeRace(lucky)).lr < 0.3


def test_no_candidate_is_above_nine_tenths_of_the_largest_stable_rate() -> None:
    told = FakeRace(lambda rate: -rate)
    answer = found(job(quadratic(1.0, 10.0), {"kind": "sgd"}), told)
    assert answer.lr == max(rate for rates in told.rounds for rate in rates) == 0.18
    curvature = evidence(answer)["curvature"]
    assert curvature["capped"] is True
    assert curvature["largest_stable_lr"] == pytest.approx(0.2)
    assert curvature["lambda_max"] == pytest.approx(10.0)


def test_without_a_bound_the_evidence_says_why() -> None:
    curvature = evidence(found(ADAM, FakeRace(lambda _: 1.0)))["curvature"]
    assert curvature["capped"] is False
    assert curvature["largest_stable_lr"] is None
    assert curvature["lambda_max"] is None
    assert "adam" in curvature["reason"]


def test_at_a_stationary_point_the_optimizers_default_is_settled_without_a_race() -> None:
    told = FakeRace(lambda _: 1.0)
    problem = {"kind": "function", "function": {"kind": "sphere", "dim": 2}, "start": [0.0, 0.0]}
    answer = found(job(problem, {"kind": "adam"}), told)
    assert answer.lr == 1e-3
    assert told.rounds == []
    assert evidence(answer)["range_test"]["reason"] is not None
    assert evidence(answer)["race"]["candidates"] == []


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("scale", [1e-310, 1e-150, 1e150])
def test_whatever_the_scale_of_the_function_a_finite_number_is_settled(
    kind: str, scale: float
) -> None:
    lr = found(job(quadratic(scale, 10 * scale), {"kind": kind}, 20)).lr
    assert 0.0 < lr < math.inf


# --- candidates


@pytest.mark.parametrize(
    ("problem", "steps", "expected"),
    [
        (DIGITS, 10_000, 200), (DIGITS, 1_500, 150), (DIGITS, 600, 100), (DIGITS, 40, 40),
        (ROSENBROCK, 10_000, 1000), (ROSENBROCK, 300, 300), (LARGE, 3_000, 200),
    ],
)  # fmt: skip
def test_a_race_is_a_bounded_share_of_the_budget(problem: Json, steps: int, expected: int) -> None:
    assert race_steps(job(problem, {"kind": "adam"}, steps)) == expected


def test_a_candidate_starts_where_the_seed_puts_the_job_but_draws_from_another_seed() -> None:
    start = {"kind": "uniform", "low": -5.0, "high": 5.0}
    spec = job({**ROSENBROCK, "start": start}, {"kind": "adam"}, seed=3)
    runner = candidate(spec, 0.1, 50, torch.device("cpu"))
    assert isinstance(runner.problem, FunctionProblem)
    x = runner.problem.start
    assert isinstance(x, tuple)
    assert all(-5.0 <= each <= 5.0 for each in x)
    assert runner.seed != spec.seed
    other = candidate(spec.model_copy(update={"seed": 4}), 0.1, 50, torch.device("cpu"))
    assert isinstance(other.problem, FunctionProblem)
    assert other.problem.start != x


def test_what_would_end_a_candidate_early_is_left_out() -> None:
    spec = job(
        DIGITS, {"kind": "adam"}, 3000, schedule={"kind": "one_cycle"},
        stop={"target_loss": 5.0, "patience": 1, "max_loss": 50.0},
        on_divergence={"action": "rollback"},
    )  # fmt: skip
    runner = candidate(spec, 0.1, 200, torch.device("cpu"))
    assert runner.stop.max_loss == 50.0
    assert (runner.stop.target_loss, runner.stop.patience) == (None, None)
    assert runner.schedule.kind == "constant"
    assert runner.on_divergence.action == "stop"


# --- the whole of it


def test_the_same_spec_settles_the_same_rate_and_evidence() -> None:
    spec = job(DIGITS, {"kind": "adam"})
    first, again = found(spec), found(spec)
    assert first.spec == again.spec
    for answer in (first, again):
        evidence(answer)["cost"].pop("seconds")
    assert first.resolved == again.resolved


@pytest.mark.parametrize("reads", [0, 1, 60, 130, 160])
def test_asked_to_stop_it_settles_nothing(reads: int) -> None:
    assert settle(ADAM, race, control=Going(reads), device="cpu") is None


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        ({"kind": "adam"}, {"kind": "one_cycle"}),
        ({"kind": "sgd", "momentum": 0.9}, {"kind": "cosine"}),
    ],
    ids=["adam", "sgd"],
)
def test_the_run_is_that_of_a_job_posted_with_the_settled_rate_to_the_bit(
    optimizer: Json, schedule: Json, tmp_path: Path
) -> None:
    body: Json = {"schedule": schedule, "record": {"eval_every": 20}}
    problem = {**DIGITS, "model": {**DIGITS["model"], "dropout": 0.1}}
    spec = job(problem, optimizer, 60, **body)
    answer = found(spec)
    posted = job(problem, {**optimizer, "lr": answer.lr}, 60, **body)
    ours = train(answer.spec, tmp_path / "ours")
    theirs = train(posted, tmp_path / "theirs")
    for name in ("loss", "lr", "grad_norm"):
        assert ours.column(name) == theirs.column(name)
    assert ours.column("loss", "eval") == theirs.column("loss", "eval")
    for name, value in ours.weights().items():
        assert (value == theirs.weights()[name]).all()


def test_a_maximized_function_is_settled_too() -> None:
    spec = job(quadratic(-1.0, -10.0), {"kind": "sgd", "maximize": True})
    answer = found(spec)
    assert 0.05 < answer.lr <= 0.18


def test_an_optimizer_that_cannot_be_fused_is_raced_one_by_one() -> None:
    spec = job(WINE, {"kind": "adafactor"}, 60)
    answer = found(spec)
    assert len(evidence(answer)["race"]["candidates"]) >= 5
    assert 1e-3 < answer.lr < 1.0


def test_the_evidence_is_small_and_tells_the_whole_way() -> None:
    answer = found(job(DIGITS, {"kind": "sgd"}, 300))
    told = evidence(answer)
    assert len(json.dumps(answer.resolved)) < 8_000
    test, cost = told["range_test"], told["cost"]
    assert len(test["rates"]) == len(test["losses"]) <= 100
    assert test["rates"] == sorted(test["rates"])
    assert test["minimum"] == pytest.approx(10 * test["suggestion"], rel=1e-3)
    raced = told["race"]["candidates"]
    assert [each["lr"] for each in raced] == sorted(each["lr"] for each in raced)
    best = min(raced, key=lambda each: max(each["loss"], each["eval_loss"]))
    assert told["race"]["horizon_factor"] == pytest.approx((100 / 300) ** 0.25, rel=1e-3)
    settled_at = told["race"]["horizon_factor"] * best["lr"]
    assert answer.resolved["optimizer.lr"]["value"] == answer.lr
    assert answer.lr == pytest.approx(settled_at, rel=5e-3)
    assert cost["num_steps"] == test["num_steps"] + 100 * len(raced)
    assert 0 < cost["hessian_products"] <= 30
    assert cost["seconds"] > 0
