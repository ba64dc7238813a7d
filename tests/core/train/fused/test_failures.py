"""Whatever fails in one run of a stack fails that run; the others come to their ends."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core.train.fused.task
from core.specs.job import JobSpec
from core.train.fused.stack.stack import Stack
from tests.core.train.fused.harness import train_population
from tests.core.train.fused.task_harness import (
    ALWAYS,
    KINDS,
    do_task,
    kill_and_resume,
    request,
)
from tests.core.train.harness import blobs_job

Json = dict[str, Any]
STEPS = 12
INIT: Json = {"kind": "uniform", "low": -0.5, "high": 0.5}
# Specs that no parser lets through: torch takes but one of the two, first weights from no interval.
BOTH: Json = {"foreach": True, "fused": True}
NO_INTERVAL: Json = {"kind": "uniform", "low": 1.0, "high": 0.0}


class Breaks(Stack):
    """In its fifth step."""

    def _take_step(self) -> None:
        if self.step == 4:
            raise ZeroDivisionError("float division by zero")
        super()._take_step()


class BreaksWithOne(Stack):
    """In its seventh step, as long as run 12 is in it."""

    def _take_step(self) -> None:
        if self.step == 6 and 12 in self.names(self.training()[1]):
            raise ZeroDivisionError("float division by zero")
        super()._take_step()


def specs(bad: set[int], fault: str = "") -> list[JobSpec]:
    def one(number: int) -> JobSpec:
        here = fault if number in bad else ""
        init = NO_INTERVAL if here == "before the first step" else INIT
        return blobs_job(
            {"kind": "adam", **(BOTH if here == "in a step" else {})},
            STEPS if number else 2,
            seed=number,
            model={"kind": "mlp", "hidden": [6], "init": init},
        )

    return [one(number) for number in range(6)]


@pytest.mark.parametrize("bad", [{2}, {1, 5}])
@pytest.mark.parametrize("fault", ["in a step", "before the first step"])
def test_the_others_train_on_and_the_run_says_why(fault: str, bad: set[int]) -> None:
    make_stack = Breaks if fault == "in a step" else Stack
    got = train_population(specs(bad, fault), make_stack=make_stack, isolate=True)
    wanted = train_population(specs(set()))
    assert got.failures.keys() == bad
    for failed in got.failures.values():
        assert failed.error["code"] == "internal_error"
        wanted_text = "`fused` and `foreach`" if make_stack is Breaks else "from=1"
        assert wanted_text in failed.error["message"]
    assert got.order.count(0) == 1, "a run that had ended trains no second time"
    assert got.endings.keys() == set(range(6)) - bad
    for number, ending in got.endings.items():
        assert ending.ending.outcome == "budget_exhausted"
        mine, others = (each.column(number, "loss") for each in (got, wanted))
        np.testing.assert_allclose(mine, others, rtol=1e-4)
        mine, others = (each.column(number, "loss", "eval") for each in (got, wanted))
        np.testing.assert_allclose(mine, others, rtol=1e-4)


def test_a_task_that_is_killed_and_resumed_says_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = {10 + place: spec for place, spec in enumerate(specs({2}, "in a step"))}
    monkeypatch.setattr(core.train.fused.task, "specs_of", lambda task: faulty)
    task = request(specs(set()))
    options: dict[str, Any] = {"make_stack": Breaks, "pace": ALWAYS}
    wanted = do_task(task, tmp_path / "whole", **options)
    assert wanted.reported.failures.keys() == {12}
    assert wanted.reported.endings.keys() == {10, 11, 13, 14, 15}
    for kills in ([3], [30], [50], [20, 20]):
        got = kill_and_resume(task, tmp_path / str(kills), kills, **options)
        assert got.reported.failures == wanted.reported.failures
        assert got.reported.endings.keys() == wanted.reported.endings.keys()
        for run in wanted.reported.endings:
            for kind in KINDS:
                mine, others = (each.reported.column(run, "loss", kind) for each in (got, wanted))
                np.testing.assert_allclose(mine, others, rtol=1e-4)


def test_runs_that_go_on_from_a_rung_train_again_from_there(tmp_path: Path) -> None:
    task = request(specs(set()), stop_step=3)
    rung = do_task(task, tmp_path)
    sources = {run: known["file"] for run, known in rung.ended.paused.items()}
    runs = [each for each in task.runs if each[0] in sources]
    second = replace(task, stem="2_0", stop_step=None, runs=runs, sources=sources)
    got = do_task(second, tmp_path, reported=rung.reported, make_stack=BreaksWithOne)
    assert got.reported.failures.keys() == {12}
    assert got.reported.failures[12].fused
    assert got.reported.endings.keys() == {10, 11, 13, 14, 15}
    wanted = train_population(specs(set()))
    for number in (1, 3, 4, 5):
        for kind in KINDS:
            mine = got.reported.column(10 + number, "loss", kind)
            np.testing.assert_allclose(mine, wanted.column(number, "loss", kind), rtol=1e-4)


def test_where_runs_are_not_isolated_a_failure_is_everybodys() -> None:
    with pytest.raises(RuntimeError, match="from=1"):
        train_population(specs({2}, "before the first step"))
