"""The stop rules, by hand."""

import json
import math

import pytest

from core.jobs import Outcome
from core.specs.job import Stop
from core.train.stopping import (
    Rules,
    Trace,
    ended_far_above,
    final_outcome,
    observe,
    rules_of,
)


def outcomes(losses: list[float], rules: Rules, norm: float = 1.0) -> list[Outcome | None]:
    trace = Trace()
    return [observe(trace, loss, norm, rules) for loss in losses]


def test_without_rules_no_finite_row_ends_a_run() -> None:
    assert outcomes([1e300, -1e300, 0.0] * 10, rules_of(Stop())) == [None] * 30


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_divergence(loss: float) -> None:
    assert outcomes([1.0, loss], rules_of(Stop())) == [None, "diverged"]


def test_the_target_is_reached_at_equality() -> None:
    rules = rules_of(Stop(target_loss=0.5))
    assert outcomes([0.6, 0.5], rules) == [None, "converged"]


def test_a_gradient_norm_at_the_bound_converges_and_nan_does_not() -> None:
    rules = rules_of(Stop(gradient_norm=0.0))
    assert outcomes([1.0], rules, norm=0.0) == ["converged"]
    assert outcomes([1.0], rules, norm=math.nan) == [None]


def test_max_loss_is_exceeded_above_it_only() -> None:
    rules = rules_of(Stop(max_loss=2.0))
    assert outcomes([2.0, 2.5], rules) == [None, "diverged"]


def test_patience_counts_the_rows_without_progress() -> None:
    rules = rules_of(Stop(patience=3))
    assert outcomes([5.0, 4.0, 4.0, 4.1, 4.2], rules) == [None] * 4 + ["stalled"]


def test_progress_must_exceed_min_delta_below_the_best_before() -> None:
    rules = rules_of(Stop(patience=2, min_delta=1.0))
    assert outcomes([5.0, 4.5, 4.0], rules) == [None, None, "stalled"]
    assert outcomes([5.0, 4.5, 3.9, 3.9, 3.9], rules) == [None, None, None, None, "stalled"]


def test_convergence_goes_before_a_stall_at_the_same_row() -> None:
    rules = rules_of(Stop(patience=1, gradient_norm=2.0))
    assert outcomes([1.0], rules, norm=1.0) == ["converged"]
    trace = Trace()
    observe(trace, 1.0, 9.0, rules)
    assert observe(trace, 1.0, 1.0, rules) == "converged"


def test_a_run_has_diverged_when_its_end_lies_three_times_its_descent_above_its_start() -> None:
    # E − L₀ = 31 − 1 = 30 against 3·max(1, 1 − (−9)) = 30: not above.
    assert not ended_far_above(1.0, -9.0, [31.0] * 10)
    assert ended_far_above(1.0, -9.0, [31.5] * 10)
    # The median of ten is the mean of the middle two.
    assert ended_far_above(1.0, 1.0, [0.0] * 5 + [9.0] * 5)
    assert not ended_far_above(1.0, 1.0, [0.0] * 6 + [9.0] * 4)


def test_the_rule_applies_to_spent_budgets_and_stalls_only() -> None:
    far = Trace()
    for loss in [1.0] + [100.0] * 10:
        observe(far, loss, 1.0, Rules())
    assert final_outcome("budget_exhausted", far, finite=True) == "diverged"
    assert final_outcome("stalled", far, finite=True) == "diverged"
    assert final_outcome("converged", far, finite=True) == "converged"


def test_a_final_value_that_is_not_finite_is_divergence_whatever_the_rows_say() -> None:
    trace = Trace()
    observe(trace, 1.0, 1.0, Rules())
    assert final_outcome("converged", trace, finite=False) == "diverged"
    assert final_outcome("budget_exhausted", trace, finite=False) == "diverged"


def test_the_state_goes_through_json_unchanged() -> None:
    trace = Trace()
    for loss in [3.0, 0.1 + 0.2, 5e-324] * 5:
        observe(trace, loss, 1.0, rules_of(Stop(patience=99)))
    assert Trace.from_state(json.loads(json.dumps(trace.state())), Rules()) == trace
    assert Trace.from_state(json.loads(json.dumps(Trace().state())), Rules()).reference == math.inf
