"""A child run against its parent: every way to be better, worse, or the same."""

import numpy as np

from core.diagnosis.remedies.effect import compare, facts
from core.jobs import Outcome
from tests.core.diagnosis.runs import Columns, Floats, Json, curve, digits_job, evaluations

FULL = digits_job({"kind": "sgd", "lr": 0.1}, batch_size="full")
BATCHES = digits_job({"kind": "sgd", "lr": 0.1})


def fall(to: float, steps: int = 100, rate: float = 0.1) -> Floats:
    return np.asarray(to + (2.0 - to) * np.exp(-rate * np.arange(steps)))


def facts_of(
    loss: Floats, outcome: Outcome = "budget_exhausted", evaluation: Columns | None = None,
    verdict: str = "too_slow", measured: Json | None = None, noisy: bool = False,
) -> Json:  # fmt: skip
    said = {"verdict": verdict, "measured": measured}
    spec = BATCHES if noisy else FULL
    return facts(spec, outcome, None, curve(loss), evaluation, said)


def test_a_lower_end_is_an_improvement_and_a_higher_one_is_reported_as_worse() -> None:
    high, low = facts_of(fall(0.5)), facts_of(fall(0.1))
    better = compare(high, low)
    assert better["verdict"] == "improved"
    assert better["measure"] == "loss"
    assert better["before"]["final_loss"] > better["after"]["final_loss"]
    assert compare(low, high)["verdict"] == "worse"


def test_a_run_that_no_longer_diverges_is_an_improvement_whatever_its_loss() -> None:
    blown = facts_of(np.array([1.0, 10.0, np.inf]), "diverged")
    fine = facts_of(fall(1.5))
    assert compare(blown, fine)["verdict"] == "improved"
    assert compare(fine, blown)["verdict"] == "worse"
    assert compare(blown, blown)["verdict"] == "no_change"


def test_noise_alone_is_no_change() -> None:
    draw = np.random.Generator(np.random.PCG64(1))
    one, other = (0.5 + 0.2 * draw.standard_normal(2000) ** 2 for _ in range(2))
    found = compare(facts_of(one, noisy=True), facts_of(other, noisy=True))
    assert found["verdict"] == "no_change"


def test_a_measured_loss_over_all_rows_sees_through_the_noise() -> None:
    draw = np.random.Generator(np.random.PCG64(2))
    rows = 0.5 + 0.2 * draw.standard_normal(400) ** 2
    before = facts_of(rows, noisy=True, measured={"loss": 0.5})
    after = facts_of(rows, noisy=True, measured={"loss": 0.4})
    assert compare(before, after)["verdict"] == "improved"


def test_an_overfitted_parent_is_compared_by_the_evaluation_loss() -> None:
    parent = facts_of(
        fall(0.0), evaluation=evaluations(np.array([2.0, 1.0, 1.5, 3.0]), 25), verdict="overfitting"
    )
    child = facts_of(fall(0.3, 50), evaluation=evaluations(np.array([2.0, 1.1, 1.0]), 25))
    found = compare(parent, child)
    assert (found["verdict"], found["measure"]) == ("improved", "eval_loss")


def test_where_the_ends_agree_the_steps_decide() -> None:
    slow, quick = facts_of(fall(0.5, 600, 0.1)), facts_of(fall(0.5, 600, 0.5))
    found = compare(slow, quick)
    assert (found["verdict"], found["measure"]) == ("improved", "steps")
    assert found["after"]["steps_to_parents_best"] < found["before"]["steps_to_parents_best"]
    assert compare(slow, slow)["verdict"] == "no_change"


def test_runs_without_rows_are_no_change() -> None:
    empty = facts(FULL, None, None, {}, None)
    assert compare(empty, empty)["verdict"] == "no_change"
