"""`stop.metric`: what ends a run, and what is its best, by hand from the evaluations of the run
that nothing stops; alone, in a stack, interrupted anywhere."""

import math
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from core.specs.losses import METRICS
from tests.core.train.checkpoint.test_resume import assert_same, interrupted
from tests.core.train.fused.harness import compare_with_alone
from tests.core.train.fused.test_evaluated import job
from tests.core.train.harness import Trained, train

Json = dict[str, Any]

STEPS: Final = 24
RATES: Final = (0.3, 1.5, 6.0)
SMALLER: Final = (0.02, 0.1, 0.3)


class Case(NamedTuple):
    problem: str
    stop: Json


CASES: Final[dict[str, Case]] = {
    "accuracy-patience": Case("classes", {"metric": "eval.accuracy", "patience": 2}),
    "f1-target": Case("classes", {"metric": "eval.f1", "target": 0.3}),
    "auroc-min-delta": Case("classes", {"metric": "eval.auroc", "patience": 3, "min_delta": 0.02}),
    "loss-patience": Case("one-logit", {"metric": "eval.loss", "patience": 2}),
    "rmse-target": Case("values", {"metric": "eval.rmse", "target": 2.2}),
    "r2-both": Case("values", {"metric": "eval.r2", "target": 0.9, "patience": 4}),
    "perplexity-best-alone": Case("classes", {"metric": "eval.perplexity"}),
}


def expected_end(steps: list[float], values: list[float], stop: Json) -> tuple[int, str | None]:
    """Step and outcome, from the evaluations of the whole run."""
    name = stop["metric"].removeprefix("eval.")
    sign = 1 if name == "loss" or METRICS[name].goal == "min" else -1
    reference, waited = math.inf, 0
    for step, value in zip(steps, values, strict=True):
        level = sign * value
        if level < reference - stop.get("min_delta", 0.0):
            reference, waited = level, 0
        else:
            waited += 1
        if level <= sign * stop.get("target", -sign * math.inf):
            return int(step), "converged"
        if waited >= stop.get("patience", math.inf) and step < STEPS:
            return int(step), "stalled"
    return STEPS, None


def runs(case: Case, *, stops: bool) -> list[Any]:
    metric = case.stop["metric"].removeprefix("eval.")
    metrics = [] if metric == "loss" else [metric]
    return [
        job(
            case.problem, *metrics, budget={"max_steps": STEPS},
            optimizer={"kind": "sgd", "lr": lr}, **({"stop": case.stop} if stops else {}),
        )
        for lr in (SMALLER if case.problem == "values" else RATES)
    ]  # fmt: skip


def check_end(case: Case, whole: Trained, cut: Trained) -> None:
    name = case.stop["metric"].removeprefix("eval.")
    steps, values = whole.column("step", "eval"), whole.column(name, "eval")
    end, outcome = expected_end(steps, values, case.stop)
    assert cut.ending.result["num_steps"] == end
    assert cut.ending.outcome == (outcome or whole.ending.outcome)
    seen = [step for step in steps if step <= end]
    assert cut.column("step", "eval") == seen
    last_row = end if end < STEPS else STEPS - 1
    assert cut.column("step")[-1] == last_row
    assert cut.column("loss") == whole.column("loss")[: last_row + 1]
    rises = name != "loss" and METRICS[name].goal == "max"
    best = (max if rises else min)(values[: len(seen)])
    at = values.index(best)
    assert cut.ending.best == {
        "step": steps[at], "metric": case.stop["metric"], "value": best
    }  # fmt: skip
    assert cut.ending.result["best_loss"] == whole.column("loss", "eval")[at]


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_run_ends_where_its_evaluations_say(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    for number, (free, bound) in enumerate(
        zip(runs(case, stops=False), runs(case, stops=True), strict=True)
    ):
        whole = train(free, tmp_path / f"{number}.whole")
        cut = train(bound, tmp_path / f"{number}.cut")
        check_end(case, whole, cut)
        in_blocks = train(bound, tmp_path / f"{number}.blocks", block_size=5)
        assert_same(cut, in_blocks)


def test_the_cases_end_early_and_late_by_every_rule() -> None:
    """What the others compare with is no run that nothing stops."""
    assert {tuple(sorted(case.stop)) for case in CASES.values()} >= {
        ("metric",), ("metric", "patience"), ("metric", "target"), ("metric", "patience", "target"),
        ("metric", "min_delta", "patience"),
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(CASES))
def test_runs_of_a_stack_end_as_each_alone(name: str, tmp_path: Path) -> None:
    compare_with_alone(runs(CASES[name], stops=True), tmp_path)


def test_runs_of_a_stack_may_look_at_different_metrics(tmp_path: Path) -> None:
    metrics = ["accuracy", "perplexity"]
    stops: list[Json] = [
        {"metric": "eval.accuracy", "patience": 2}, {}, {"metric": "eval.perplexity", "patience": 2}
    ]  # fmt: skip
    specs = [
        job("classes", *metrics, budget={"max_steps": STEPS}, stop=stop,
            optimizer={"kind": "sgd", "lr": lr})
        for stop, lr in zip(stops, RATES, strict=True)
    ]  # fmt: skip
    together = compare_with_alone(specs, tmp_path)
    bests = [together.endings[run].ending.best for run in range(3)]
    assert [sorted(best or {}) for best in bests] == [
        ["metric", "step", "value"], ["loss", "step"], ["metric", "step", "value"]
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["accuracy-patience", "r2-both", "auroc-min-delta"])
def test_an_interrupted_run_ends_at_the_same_bits(name: str, tmp_path: Path) -> None:
    spec = runs(CASES[name], stops=True)[1]
    whole = train(spec, tmp_path / "whole")
    last = int(whole.ending.result["num_steps"])
    for step in sorted({1, 2, 3, last - 1, last} & set(range(1, min(last + 1, STEPS)))):
        assert_same(whole, interrupted(spec, tmp_path / str(step), step))


def test_what_is_not_defined_stops_nothing_and_is_never_the_best(tmp_path: Path) -> None:
    """The last rows are of one class: there is no ROC curve of them."""
    rows = {"targets": [0, 1] * 20 + [0] * 20, "split": {"kind": "tail", "eval": 0.25}}
    spec = job(
        "one-logit", rows=rows, budget={"max_steps": 12},
        stop={"metric": "eval.auroc", "patience": 1, "target": 0.1},
    )  # fmt: skip

    done = train(spec, tmp_path / "alone")

    assert all(map(math.isnan, done.column("auroc", "eval")))
    assert (done.ending.outcome, done.ending.best) == ("budget_exhausted", None)
    assert done.ending.result["best_loss"] is None
    assert "best.safetensors" not in done.artifacts.list()
    compare_with_alone([spec, spec], tmp_path / "stack")
