"""Who leads, whether that is more than chance, and what is said where it is not."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from core.compare.comparison import best_configuration, compare
from core.compare.statistics.intervals import means
from core.compare.statistics.multiple_comparisons import adjusted
from tests.core.compare import page_cases
from tests.core.compare.studies import run, runs, study

NAN = math.nan
Json = dict[str, Any]


def compared(values: list[list[float | None]], **fields: Any) -> Json:
    return compare(study(repeats=len(values[0]), **fields), runs(values), complete=True)


def order(body: Json) -> list[int]:
    return [row["configuration"] for row in body["configurations"]]


def test_the_leader_wins_if_it_differs_from_each_of_the_others() -> None:
    body = compared([[3.0, 3.1, 3.2], [1.0, 1.1, 1.0], [2.0, 2.2, 2.1]])
    assert (body["leader"], body["winner"], order(body)) == (1, 1, [1, 2, 0])
    assert all(row["difference_to_leader"]["distinguishable"] for row in body["configurations"][1:])
    # Differences 1.0, 1.1, 1.1: s/√3 = 1/30; t(0.975, 2) = 4.3027, two thirds of 2 t below.
    assert body["reason"] == (
        "Configuration 1 (lr 0.2) differs from each of the 2 other configurations compared; the "
        "interval nearest to 0 is that of configuration 2 (lr 0.3): 1.067 [0.8754, 1.162]."
    )


def test_differences_are_paired_by_the_repeat() -> None:
    """The repeats differ by far more than the configurations; within each the order is clear."""
    body = compared([[1.0, 5.0, 9.0, 2.0], [1.2, 5.3, 9.25, 2.21]])
    difference = body["configurations"][1]["difference_to_leader"]
    assert difference["num"] == 4
    assert difference["mean"] == pytest.approx(0.24)
    # 0.2, 0.21, 0.25, 0.3: Student's interval is as long.
    low, high = difference["ci95"]
    expected = stats.ttest_1samp([0.2, 0.3, 0.25, 0.21], 0.0).confidence_interval()
    assert high - low == pytest.approx(expected.high - expected.low)
    assert body["winner"] == 0
    own = body["configurations"][0]["ci95"]
    assert own[0] < body["configurations"][1]["mean"] < own[1]


def test_a_tie_names_who_is_tied_and_how_many_repeats_might_settle_it() -> None:
    body = compared([[1.0, 1.2, 1.4], [1.1, 1.1, 1.6], [9.0, 9.0, 9.1]])
    assert (body["leader"], body["winner"]) == (0, None)
    flags = [row["difference_to_leader"] for row in body["configurations"]]
    assert [one and one["distinguishable"] for one in flags] == [None, False, True]
    # d = 0.0667, s = 0.1528: s/d = 2.29; n = 44 has 2.0167 + 0.8502 against 2.895.
    assert body["reason"] == (
        "Configuration 0 (lr 0.1) leads, but is not told apart from 1 other: configuration 1 "
        "(lr 0.2). About 44 repeats might settle it, if the differences stay as they are."
    )


def test_equal_configurations_are_never_told_apart() -> None:
    body = compared([[1.0, 2.0], [1.0, 2.0]])
    assert (body["leader"], body["winner"]) == (0, None)
    assert "Not even 1,000 repeats" in body["reason"]


def test_one_repeat_has_a_leader_and_no_winner() -> None:
    body = compared([[2.0], [1.5], [7.0]])
    assert (body["leader"], body["winner"]) == (1, None)
    assert body["reason"] == (
        "Configuration 1 (lr 0.2) leads by 0.5, but one repeat says nothing about the spread."
    )
    row = body["configurations"][1]
    assert (row["mean"], row["ci95"]) == (2.0, None)
    assert row["difference_to_leader"] == {
        "num": 1, "mean": 0.5, "ci95": None, "p": None, "p_adjusted": None, "distinguishable": None,
    }  # fmt: skip


def test_survivors_do_not_speak_for_those_that_diverged() -> None:
    body = compared([[1.0, 1.1, 1.2], [0.1, 0.1, NAN], [NAN, NAN, NAN], [5.0, 5.1, 5.3]])
    assert order(body) == [0, 3, 1, 2]
    assert (body["leader"], body["winner"]) == (0, 0)
    rows = {row["configuration"]: row for row in body["configurations"]}
    assert (rows[1]["mean"], rows[1]["ci95"]) == (None, None)
    assert rows[1]["survivors"] == {"num": 2, "mean": pytest.approx(0.1)}
    assert rows[1]["num_diverged"] == 1
    assert rows[1]["difference_to_leader"] is None
    assert math.isnan(rows[1]["values"][2])
    assert rows[2]["survivors"] is None
    assert body["reason"].endswith("2 others lost runs and cannot win.")


def test_a_metric_that_is_not_finite_counts_as_lost_whatever_the_outcome() -> None:
    made = [
        run(0, 0, repeats=2, metric=1.0),
        run(0, 1, repeats=2, metric=math.inf),
        run(1, 0, repeats=2, metric=3.0),
        run(1, 1, repeats=2, metric=None),
        run(2, 0, repeats=2, metric=9.0),
        run(2, 1, repeats=2, metric=9.5),
    ]
    body = compare(study(repeats=2), made, complete=True)
    assert order(body) == [2, 0, 1]
    assert body["configurations"][1]["values"] == [1.0, math.inf]
    assert body["configurations"][1]["num_diverged"] == 0


def test_runs_that_failed_are_unknown_rather_than_bad() -> None:
    """They cannot lead; but where the rest of such a configuration may be as good as the leader,
    there is no winner either."""
    body = compared([[1.0, 1.1, 1.2, 1.1], [0.9, 1.0, None, 1.2], [5.0, 5.1, 5.3, 5.0]])
    assert (body["leader"], body["winner"]) == (0, None)
    assert "not told apart from 1 other: configuration 1 (lr 0.2)" in body["reason"]
    far = compared([[1.0, 1.1, 1.2, 1.1], [4.0, 4.2, None, 4.1], [5.0, 5.1, 5.3, 5.0]])
    assert far["winner"] == 0
    # What is left is too little to tell.
    unknown = compared([[1.0, 1.1, 1.2], [4.0, None, None], [5.0, 5.1, 5.3]])
    assert unknown["winner"] is None
    # A configuration that failed in all repeats cannot be run.
    hopeless = compared([[1.0, 1.1, 1.2], [None, None, None], [5.0, 5.1, 5.3]])
    assert hopeless["winner"] == 0


def test_with_losses_everywhere_there_is_a_leader_and_no_winner() -> None:
    body = compared([[1.0, NAN], [2.0, 3.0 * NAN]])
    assert (body["leader"], body["winner"]) == (0, None)
    assert "No configuration went through all its repeats" in body["reason"]
    none = compared([[NAN, None]])
    assert (none["leader"], none["winner"]) == (None, None)
    assert none["reason"] == ("No run ended with a value of the metric: 1 diverged, 1 failed.")


def test_the_goal_may_be_the_largest() -> None:
    values: list[list[float | None]] = [[0.90, 0.91, 0.92], [0.97, 0.98, 0.99], [0.1, 0.2, 0.1]]
    body = compared(values, goal="max", name="eval.accuracy")
    assert (body["winner"], order(body)) == (1, [1, 0, 2])
    assert body["configurations"][1]["difference_to_leader"]["mean"] == pytest.approx(-0.07)
    assert best_configuration(study(repeats=3, goal="max"), runs(values)) == 1


def test_equal_shares_of_rows_do_not_mean_that_there_is_no_spread() -> None:
    """Accuracies come in steps of one row: here of 1/100."""
    values: list[list[float | None]] = [[0.95] * 3, [0.94] * 3, [0.90, 0.91, 0.90]]
    body = compared(values, goal="max", name="eval.accuracy")
    assert (body["leader"], body["winner"]) == (0, None)
    low, high = body["configurations"][0]["ci95"]
    # t(0.975, 2) · 0.01/√12 / √3.
    assert (low, high) == pytest.approx((0.95 - 0.007171, 0.95 + 0.007171), abs=1e-6)
    # A loss has no such steps: the same numbers are a difference for certain.
    assert compared(values, goal="max", name="eval.loss")["winner"] == 0


def stopped(configuration: int, repeat: int, step: int, rank: int, metric: float) -> Any:
    return run(
        configuration, repeat, repeats=2, status="cancelled", outcome=None,
        result={"num_steps": step}, metric=metric,
        stopped={"by": "successive_halving", "step": step, "rank": rank, "of": 4},
    )  # fmt: skip


def test_what_a_stopper_stopped_ranks_below_what_went_on_and_is_not_compared() -> None:
    made = [
        *(stopped(0, repeat, 10, 4, 0.01) for repeat in range(2)),
        *(stopped(1, repeat, 30, 2, 0.9) for repeat in range(2)),
        *(stopped(2, repeat, 10, 3, 0.5) for repeat in range(2)),
        *runs([[NAN, NAN], [NAN, NAN], [NAN, NAN], [1.0, 1.01], [2.0, 2.02]])[6:],
    ]
    body = compare(study(repeats=2), made, complete=True)
    assert order(body) == [3, 4, 1, 2, 0]
    assert body["winner"] == 3
    assert body["reason"].endswith(
        "3 configurations were stopped early and not compared at the end."
    )
    row = body["configurations"][2]
    assert (row["mean"], row["num_stopped"], row["num_updates"]) == (None, 2, 60)
    assert row["values"] == [0.9, 0.9]
    assert row["stopped"]["step"] == 30
    alone = compare(study(repeats=2), made[:8], complete=True)
    assert (alone["leader"], alone["winner"]) == (3, None)
    assert "only one that was trained to its end" in alone["reason"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([[1.0, 1.2], [1.1, 1.1]], "is not told apart"),
        ([[1.0, NAN], [2.0, 3.0]], "the only one that was trained to its end"),
        ([[1.0, NAN], [2.0, NAN]], "No configuration came to its end in all its repeats"),
        ([[1.0, 1.1]], "the only one that was trained to its end"),
        ([[1.0, None]], "No configuration came to its end in all its repeats"),
        ([[NAN, NAN]], "No configuration came to its end in all its repeats"),
        ([], "No configuration came to its end in all its repeats"),
    ],
)
def test_how_many_were_stopped_is_said_whether_there_is_a_winner_or_not(
    values: list[list[float | None]], said: str
) -> None:
    made = [
        *runs(values),
        *(stopped(7, repeat, 10, 3, 9.0) for repeat in range(2)),
        *(stopped(8, repeat, 10, 4, 9.5) for repeat in range(2)),
    ]
    for complete in (True, False):
        body = compare(study(repeats=2), made, complete=complete)
        assert (said if complete else "not at its end") in body["reason"]
        assert body["reason"].endswith(
            " 2 configurations were stopped early and not compared at the end."
        )
        assert body["reason"].count("stopped") == 1 + ("being stopped" in body["reason"])


def test_one_repeat_says_how_many_were_stopped() -> None:
    made = [*runs([[1.0], [2.0]]), stopped(2, 0, 10, 3, 9.0)]
    body = compare(study(), made, complete=True)
    assert body["reason"].endswith(
        "the spread. 1 configuration was stopped early and not compared at the end."
    )


def test_a_study_under_way_has_means_so_far_and_no_winner() -> None:
    made = [
        *runs([[1.0, 1.1, 1.2], [3.0, 3.1, 3.3]])[:5],
        run(1, 2, repeats=3, status="running"),
    ]
    body = compare(study(repeats=3), made, complete=False)
    assert (body["leader"], body["winner"], body["complete"]) == (0, None, False)
    assert body["reason"] == "The study is not at its end: 1 of its runs have not ended."
    assert body["configurations"][1]["mean"] == pytest.approx(3.05)
    assert body["configurations"][1]["num_pending"] == 1
    empty = compare(study(), [], complete=False)
    assert (empty["leader"], empty["configurations"], empty["problems"]) == (None, [], [])
    assert best_configuration(study(), []) is None


def test_a_cancelled_study_has_no_winner() -> None:
    made = [
        *runs([[1.0, 1.1], [3.0, 3.1]])[:3],
        run(1, 1, repeats=2, status="cancelled", outcome=None, result=None),
    ]
    body = compare(study(repeats=2), made, complete=True)
    assert (body["winner"], body["reason"]) == (None, "1 run was cancelled before the end.")


def test_one_configuration_is_compared_with_nothing() -> None:
    body = compared([[1.0, 2.0, 3.0]])
    assert (body["leader"], body["winner"]) == (0, None)
    assert "only one configuration" in body["reason"]


def test_other_problems_are_other_comparisons() -> None:
    params = [
        {"problem.data.name": name, "optimizer.lr": lr}
        for name in ("iris", "wine")
        for lr in (0.1, 0.2)
    ]
    made = runs([[5.0, 5.1, 5.2], [4.0, 4.2, 4.1], [0.1, 0.2, 0.15], [0.3, 0.1, 0.2]], params)
    body = compare(study(repeats=3), made, complete=True)
    assert (body["leader"], body["winner"]) == (None, None)
    assert body["reason"].startswith("The configurations have 2 different problems")
    iris, wine = body["problems"]
    assert (iris["params"], iris["winner"]) == ({"problem.data.name": "iris"}, 1)
    assert (wine["params"], wine["leader"], wine["winner"]) == (
        {"problem.data.name": "wine"}, 2, None,
    )  # fmt: skip
    assert [row["rank"] for row in body["configurations"]] == [1, 2, 1, 2]
    assert best_configuration(study(repeats=3), made) is None


def test_the_order_of_the_runs_and_the_numbers_of_configurations_do_not_matter() -> None:
    rng = np.random.default_rng(5)
    values = rng.lognormal(size=(6, 4))
    values[2, 1] = NAN
    plain = compare(study(repeats=4), runs(values.tolist()), complete=True)
    shuffled = runs(values.tolist())
    rng.shuffle(shuffled)
    assert (
        compare(study(repeats=4), shuffled, complete=True)["configurations"][0]
        == (plain["configurations"][0])
    )
    turned = compare(study(repeats=4), runs(values[::-1].tolist()), complete=True)
    for one, other in zip(plain["configurations"], turned["configurations"], strict=True):
        assert one["configuration"] == 5 - other["configuration"]
        assert (one["mean"], one["ci95"]) == (other["mean"], other["ci95"])
        assert one["difference_to_leader"] == other["difference_to_leader"]


def test_the_unit_of_the_metric_does_not_matter() -> None:
    values = np.random.default_rng(6).lognormal(size=(5, 3))
    plain = compare(study(repeats=3), runs(values.tolist()), complete=True)
    scaled = compare(study(repeats=3), runs((1e3 * values).tolist()), complete=True)
    for one, other in zip(plain["configurations"], scaled["configurations"], strict=True):
        assert one["configuration"] == other["configuration"]
        assert np.multiply(one["ci95"], 1e3) == pytest.approx(other["ci95"])
        if one["difference_to_leader"]:
            assert one["difference_to_leader"]["p"] == pytest.approx(
                other["difference_to_leader"]["p"]
            )


def test_tuning_budgets_are_stated() -> None:
    params = [
        {"optimizer": {"kind": "sgd"}, "optimizer.lr": 0.1},
        {"optimizer": {"kind": "sgd"}, "optimizer.lr": 0.2},
        {"optimizer": {"kind": "adam"}, "optimizer.lr": 0.1},
    ]
    made = runs([[1.0, 2.0], [1.0, 2.0], [3.0, 4.0]], params)
    budget = compare(study(repeats=2), made, complete=True)["tuning_budget"]
    assert budget == {
        "equal": False,
        "choices": [
            {"params": {"optimizer.kind": "sgd"}, "num_configurations": 2, "num_runs": 4,
             "num_updates": 400, "seconds": 2.0},
            {"params": {"optimizer.kind": "adam"}, "num_configurations": 1, "num_runs": 2,
             "num_updates": 200, "seconds": 1.0},
        ],
    }  # fmt: skip
    assert compare(study(repeats=2), made[2:], complete=True)["tuning_budget"]["equal"] is True


def errs(draws: NDArray[np.float64]) -> tuple[float, float]:
    """How often, of studies (many, configurations, repeats) whose first configuration is as good as
    any, another one wins, and how often the first is told apart from the leader."""
    wins = excluded = 0
    for x in draws:
        leader = int(x.mean(axis=1).argmin())
        others = np.delete(np.arange(len(x)), leader)
        apart = adjusted(means(x[others] - x[leader]).p) < 0.05
        wins += bool(apart.all()) and leader != 0
        excluded += bool(apart[others == 0].any())
    return wins / len(draws), excluded / len(draws)


@pytest.mark.parametrize("n", [3, 5])
def test_the_best_is_told_apart_from_the_leader_in_less_than_5_of_100(n: int) -> None:
    rng = np.random.default_rng(n)
    equal = rng.standard_normal((1_000, 10, n))
    # As good, and all but one ever noisier.
    unlike = rng.standard_normal((1_000, 10, n)) * np.geomspace(0.01, 10.0, 10)[:, None]
    # Two best ones: the hardest case for the winner.
    two = rng.standard_normal((1_000, 4, n))
    two[:, 2:] += 50.0
    for draws in (equal, unlike, two):
        false_winner, excluded = errs(draws)
        assert false_winner < 0.05
        assert excluded < 0.05
    # Without the correction the best would often be told apart from a leader by luck.
    naive = 0
    for x in equal:
        leader = int(x.mean(axis=1).argmin())
        naive += leader != 0 and bool(means(x[:1] - x[leader]).p[0] < 0.05)
    assert naive > 0.05 * len(equal)


def test_ten_thousand_runs_take_a_moment() -> None:
    """No time is measured here: only that the many ways through are all vectorized enough for the
    suite's own limit."""
    rng = np.random.default_rng(0)
    for shape in ((10_000, 1), (2_000, 5), (10, 1_000)):
        body = compare(
            study(repeats=shape[1], target=1.0), runs(rng.lognormal(size=shape).tolist()),
            complete=True,
        )  # fmt: skip
        assert len(body["configurations"]) == shape[0]


def test_the_pages_test_has_the_reasons_that_are_given() -> None:
    text = page_cases.text()
    assert page_cases.FILE.read_text() == text, "run: python -m tests.core.compare.page_cases"
