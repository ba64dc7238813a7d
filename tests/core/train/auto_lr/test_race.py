"""A race: what is told of each run's end, and that it stops when asked."""

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from core.settings import Settings
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.train.auto_lr.race import race

LIMITS = Limits.of(Settings())


@dataclass
class Going:
    """Asks to stop at the read after `reads`; None: never."""

    reads: int | None = None
    dropped: tuple[int, ...] = ()

    @property
    def stop_requested(self) -> Literal["cancel", "hand_over"] | None:
        if self.reads is None:
            return None
        self.reads -= 1
        return "cancel" if self.reads < 0 else None


def parabola(lr: float, kind: str = "sgd", steps: int = 40) -> JobSpec:
    """x² from 1: by gradient descent x_k = (1 − 2η)^k."""
    body = {
        "problem": {
            "kind": "function",
            "function": {"kind": "expression", "expression": "x**2"},
            "start": {"x": 1.0},
        },
        "optimizer": {"kind": kind, "lr": lr},
        "budget": {"max_steps": steps},
    }
    return parse_job(json.dumps(body).encode(), LIMITS)


def test_a_runs_loss_is_the_mean_of_its_last_tenth() -> None:
    finishes = race([parabola(0.1), parabola(0.2)], control=Going(), device="cpu")
    assert finishes is not None
    for finish, factor in zip(finishes, (0.8, 0.6), strict=True):
        last = [factor ** (2 * k) for k in range(36, 40)]
        assert finish.loss == pytest.approx(sum(last) / 4, rel=1e-12)
        assert finish.final_loss == pytest.approx(last[-1], rel=1e-12)
        assert (finish.eval_loss, finish.outcome, finish.num_steps) == (
            None,
            "budget_exhausted",
            40,
        )


def test_a_run_that_diverges_does_not_disturb_the_others() -> None:
    finishes = race([parabola(1e200), parabola(0.1)], control=Going(), device="cpu")
    assert finishes is not None
    assert finishes[0].outcome == "diverged"
    assert not math.isfinite(finishes[0].final_loss)
    assert finishes[1].final_loss == pytest.approx(0.8**78, rel=1e-12)


def test_with_evaluation_data_the_last_evaluation_counts() -> None:
    body: Any = {
        "problem": {
            "kind": "supervised",
            "data": {"kind": "builtin", "name": "iris"},
            "model": {"kind": "linear"},
        },
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "budget": {"max_steps": 20},
        "record": {"eval_every": None},
    }
    finishes = race([parse_job(json.dumps(body).encode(), LIMITS)], control=Going(), device="cpu")
    assert finishes is not None
    assert finishes[0].eval_loss is not None
    assert 0.0 < finishes[0].eval_loss < 1.0


@pytest.mark.parametrize("kind", ["sgd", "asgd"])
def test_the_mean_of_the_last_three_evaluations_stands_for_the_end(kind: str) -> None:
    def specs(steps: int, every: int | None) -> list[JobSpec]:
        problem = {
            "kind": "supervised",
            "data": {"kind": "builtin", "name": "iris"},
            "model": {"kind": "linear"},
        }
        body = {
            "problem": problem, "optimizer": {"kind": kind, "lr": 0.5}, "batch_size": 4,
            "budget": {"max_steps": steps}, "record": {"eval_every": every},
        }  # fmt: skip
        return [parse_job(json.dumps(body).encode(), LIMITS)]

    def loss_at(steps: int) -> float:
        finishes = race(specs(steps, None), control=Going(), device="cpu")
        assert finishes is not None
        assert finishes[0].eval_loss is not None
        return finishes[0].eval_loss

    finishes = race(specs(20, 5), control=Going(), device="cpu")
    assert finishes is not None
    last = [loss_at(steps) for steps in (10, 15, 20)]
    assert len(set(last)) == 3
    assert finishes[0].eval_loss == pytest.approx(sum(last) / 3, rel=1e-6)


@pytest.mark.parametrize("kind", ["sgd", "asgd"])
@pytest.mark.parametrize("reads", [0, 5, 30])
def test_asked_to_stop_it_tells_nothing(kind: str, reads: int) -> None:
    specs = [parabola(0.1, kind), parabola(0.2, kind)]
    assert race(specs, control=Going(reads), device="cpu") is None
