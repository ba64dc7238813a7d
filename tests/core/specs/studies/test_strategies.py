"""Strategies of a study: what is written out of a search, rungs, and the warnings of short ones."""

import pytest

from core.specs.studies.runs import configurations, run_spec
from tests.core.specs.studies.specs_of_studies import (
    Json,
    assert_posted_again_it_is_the_same,
    job,
    parsed,
    study,
)


def test_tpe_says_how_many_it_asks_for_at_a_time() -> None:
    sweep = {"optimizer.lr": {"log": [1e-4, 1.0]}}
    for repeats, num_runs, asked, size in (
        (1, 60, None, 4),
        (1, 299, None, 4),
        (1, 300, None, 5),
        (1, 1_920, None, 32),
        (1, 9_000, None, 32),
        (4, 900, None, 8),
        (5, 100, None, 4),
        (30, 300, None, 4),
        (1, 3, None, 3),
        (1, 100, 9, 9),
        (1, 7, 9, 9),
        (1, 7, 2**53, 2**53),
    ):
        strategy = {"kind": "tpe", "num_runs": num_runs, "batch_size": asked}
        resolved = parsed(study(sweep=sweep, strategy=strategy, repeats=repeats))
        assert resolved.spec["strategy"]["batch_size"] == size
        assert resolved.num_runs == num_runs * repeats
        assert configurations(resolved.spec) == []
        assert_posted_again_it_is_the_same(resolved)


@pytest.mark.parametrize(
    ("repeats", "num_runs", "factor", "size"),
    [(1, 60, 3, 9), (1, 60, 2, 4), (1, 60, 5, 25), (1, 60, 10, 32), (8, 60, 3, 4), (1, 6, 3, 6)],
)
def test_a_batch_that_is_thinned_out_has_two_rungs_where_it_may(
    repeats: int, num_runs: int, factor: int, size: int
) -> None:
    stopper = {"kind": "successive_halving", "factor": factor}
    strategy = {"kind": "tpe", "num_runs": num_runs, "stopper": stopper}
    sweep = {"optimizer.lr": {"log": [1e-4, 1.0]}}
    resolved = parsed(study(sweep=sweep, strategy=strategy, repeats=repeats))
    assert resolved.spec["strategy"]["batch_size"] == size


def test_what_shapes_a_search_is_written_out() -> None:
    sweep = {"optimizer.lr": {"log": [1e-4, 1.0]}}
    resolved = parsed(study(sweep=sweep, strategy={"kind": "tpe", "num_runs": 60}))
    assert resolved.spec["strategy"] == {
        "kind": "tpe", "num_runs": 60, "seed": 0, "batch_size": 4, "num_startup": 10,
        "num_candidates": 24, "multivariate": True, "group": False, "constant_liar": True,
        "stopper": None,
    }  # fmt: skip


def test_the_first_rung_is_written_out() -> None:
    # A third of 2,000: by a ninth, what would be best at the end is stopped too often.
    sweep = {"optimizer.lr": {"log": [1e-4, 1.0], "count": 27}}
    halving: Json = {"kind": "successive_halving"}
    resolved = parsed(study(sweep=sweep, strategy={"kind": "grid", "stopper": halving}))
    assert resolved.spec["strategy"]["stopper"] == {**halving, "factor": 3, "min_steps": 667}
    assert resolved.warnings == ()
    # 27·667 + 9·(2000 − 667)
    assert resolved.max_updates == 18_009 + 11_997
    assert_posted_again_it_is_the_same(resolved)
    best = {"name": "eval.loss", "at": "best"}
    resolved = parsed(
        study(sweep=sweep, strategy={"kind": "grid", "stopper": halving}, metric=best)
    )
    assert resolved.spec["strategy"]["stopper"]["min_steps"] == 700


@pytest.mark.parametrize(
    ("min_steps", "steps", "said"),
    [
        (30, 270, "is 30, less than an eighth of the 270 updates of a run: "),
        (33, 270, "give 34 or more"),
        (34, 270, None),
        (250, 2_000, None),
        (74, 2_000, "is 74, less than an eighth of the 2,000 updates"),
        (None, 2_000, None),
        (None, 270, None),
        (1, 2, None),
    ],
)
@pytest.mark.parametrize("kind", ["grid", "random", "tpe"])
def test_a_first_rung_that_is_short_is_warned_of(
    kind: str, min_steps: int | None, steps: int, said: str | None
) -> None:
    counted = (
        {} if kind == "grid" else {"num_runs": 27, **({"batch_size": 27} if kind == "tpe" else {})}
    )
    stopper = {"kind": "successive_halving", "min_steps": min_steps}
    strategy = {"kind": kind, "stopper": stopper, **counted}
    sweep = {"optimizer.lr": {"log": [1e-4, 1.0], "count": 27 if kind == "grid" else None}}
    found = parsed(study(job(budget={"max_steps": steps}), sweep, strategy=strategy)).warnings
    assert [warning.code for warning in found] == ([] if said is None else ["short_rung"])
    assert all(said is not None and said in warning.message for warning in found)
    without = {"kind": kind, **counted}
    assert parsed(study(job(), sweep, strategy=without)).warnings == ()


def test_the_longest_run_says_whether_a_rung_is_short() -> None:
    sweep = {"budget.max_steps": {"values": [100, 1_000]}, "seed": {"integers": [0, 3]}}
    stopper = {"kind": "successive_halving", "min_steps": 50}
    found = parsed(study(sweep=sweep, strategy={"kind": "grid", "stopper": stopper})).warnings
    assert "an eighth of the 1,000 updates" in found[0].message


def test_the_same_time_for_all_is_written_out_as_steps() -> None:
    sweep = {"optimizer.lr": {"values": [0.1, 0.2]}}
    resolved = parsed(study(job(budget={"max_seconds": 5.0}), sweep))
    budget = resolved.spec["base"]["budget"]
    assert budget["max_seconds"] == 5.0
    assert budget["max_steps"] == 1_000_000
    # Whatever the limits say later.
    assert run_spec(resolved.spec, {"optimizer.lr": 0.1}, 0).budget.max_steps == 1_000_000
