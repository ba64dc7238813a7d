"""Which runs and tasks come next: grid, random, and successive halving in rounds."""

import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from core.specs.sizes.fusing import CPU_STACK_BYTES, bytes_per_run
from core.specs.studies.runs import configurations, run_spec
from core.store.history.layout import layouts_of
from core.studies import RunRecord
from tests.core.specs.studies.specs_of_studies import IRIS, SPHERE, Json, job, parsed, study
from tests.core.strategies.halving_costs import cost, grid, trained
from tests.core.strategies.simulated import STUDY_ID, Simulated, configurations_of, simulate

LRS: Json = {"optimizer.lr": {"log": [1e-4, 1.0], "count": 9}}
HALVING: Json = {"kind": "grid", "stopper": {"kind": "successive_halving", "min_steps": 100}}


def far_from_a_hundredth(run: RunRecord, steps: int) -> float:
    return abs(math.log10(run.params["optimizer.lr"]) + 2)


def test_a_grid_is_one_round_of_all_runs() -> None:
    simulated = simulate(study(job(seed=7), LRS, repeats=2))
    round_ = simulated.plan()
    assert round_ is not None
    (task,) = round_.tasks
    assert (task.study_id, task.round, task.number, task.kind) == (STUDY_ID, 0, 1, "train")
    assert (task.runs, task.stop_step) == (tuple(range(18)), None)
    assert round_.changed == ()
    assert [new.record.index for new in round_.new] == list(range(18))
    assert [(r.configuration, r.repeat, r.seed) for r in simulated.records[:4]] == [
        (0, 0, 7), (0, 1, 8), (1, 0, 7), (1, 1, 8),
    ]  # fmt: skip
    assert [run.params for run in simulated.records[::2]] == configurations(simulated.resolved.spec)
    assert {run.status for run in simulated.records} == {"queued"}
    simulated.train(round_, far_from_a_hundredth, 2000, lambda _: None)
    assert simulated.plan() is None


def test_a_new_run_knows_how_its_histories_will_lie() -> None:
    sweep = {"budget.max_steps": {"values": [10, 300]}, "problem": {"values": [IRIS, SPHERE]}}
    simulated = simulate(study({"optimizer": {"kind": "sgd"}}, sweep))
    round_ = simulated.plan()
    assert round_ is not None
    for new in round_.new:
        spec = run_spec(simulated.resolved.spec, new.record.params, new.record.repeat)
        assert new.layouts == layouts_of(spec)
    assert [set(new.layouts) for new in round_.new] == [
        {"train", "eval"}, {"train"}, {"train", "eval"}, {"train"},
    ]  # fmt: skip


def test_runs_of_other_structure_train_in_tasks_of_their_own() -> None:
    sweep = {
        "optimizer": {"values": [{"kind": kind} for kind in ("adam", "sgd", "lbfgs", "asgd")]},
        "seed": {"integers": [0, 1]},
    }
    round_ = simulate(study({"problem": IRIS}, sweep)).plan()
    assert round_ is not None
    # Adam and SGD share nothing; LBFGS and ASGD cannot be fused.
    assert [task.runs for task in round_.tasks] == [(0, 1), (2, 3), (4,), (5,), (6,), (7,)]
    assert [task.number for task in round_.tasks] == [1, 2, 3, 4, 5, 6]


def test_a_stack_is_cut_by_its_memory_and_a_gpu_holds_more() -> None:
    problem = {**IRIS, "model": {"kind": "mlp", "hidden": [256, 256]}}

    def sizes(device: str) -> list[int]:
        round_ = simulate(study(job(problem, device=device), repeats=100)).plan()
        assert round_ is not None
        return [len(task.runs) for task in round_.tasks]

    most = CPU_STACK_BYTES // bytes_per_run(run_spec(parsed(study(job(problem))).spec, {}, 0))
    parts = math.ceil(100 / most)
    assert 1 < parts < 100
    assert len(sizes("cpu")) == parts
    assert max(sizes("cpu")) - min(sizes("cpu")) <= 1
    assert sizes("auto") == sizes("cpu")
    assert sizes("cuda:1") == [100]


def test_random_draws_are_planned_like_a_grid() -> None:
    sweep = {"optimizer.lr": {"log": [1e-4, 1.0]}}
    strategy = {"kind": "random", "num_runs": 5, "seed": 1}
    simulated = simulate(study(sweep=sweep, strategy=strategy, repeats=2))
    round_ = simulated.plan()
    assert round_ is not None
    assert [run.params for run in simulated.records[::2]] == configurations(simulated.resolved.spec)
    assert len(simulated.records) == 10


def halved(**parts: Any) -> Simulated:
    return simulate(study(sweep=LRS, **{"strategy": HALVING, "repeats": 2, **parts}))


def test_successive_halving_by_hand() -> None:
    """Nine configurations, factor 3: at 100 steps 3 of 9 go on, at 300 one of 3."""
    simulated = halved().go(far_from_a_hundredth)
    first, second, third = simulated.rounds
    assert [(task.round, task.stop_step) for r in simulated.rounds for task in r.tasks] == [
        (0, 100), (1, 300), (2, None),
    ]  # fmt: skip
    # The rates are 10^(-4 + i/2): number 4 is a hundredth, 3 and 5 are as near on both sides.
    assert configurations_of([new.record for new in first.new]) == list(range(9))
    assert second.tasks[0].runs == (6, 7, 8, 9, 10, 11)
    assert third.tasks[0].runs == (8, 9)
    assert configurations_of(second.changed) == [0, 1, 2, 6, 7, 8]
    assert configurations_of(third.changed) == [3, 5]
    assert {run.status for run in second.changed} == {"cancelled"}
    stopped = {run.configuration: run.stopped for run in simulated.records}
    assert stopped[4] is None
    assert stopped[3] == {"by": "successive_halving", "step": 300, "rank": 2, "of": 3}
    assert stopped[5] == {"by": "successive_halving", "step": 300, "rank": 3, "of": 3}
    assert stopped[2] == {"by": "successive_halving", "step": 100, "rank": 4, "of": 9}
    assert stopped[6] == {"by": "successive_halving", "step": 100, "rank": 5, "of": 9}
    assert stopped[8] == {"by": "successive_halving", "step": 100, "rank": 9, "of": 9}
    # 2 repeats of 9·100 + 3·200 + 1·1,700
    assert simulated.updates == 2 * 3200 == simulated.resolved.max_updates


def test_a_stopped_run_keeps_what_it_had() -> None:
    simulated = halved().go(far_from_a_hundredth)
    run = simulated.runs[0]
    value = far_from_a_hundredth(run, 100)
    assert run.metric == value
    assert run.paused is None
    assert run.result == {
        "initial_loss": 9.0, "final_loss": value, "best_loss": value, "num_steps": 100,
        "train_s": 1.0, "num_parameters": None, "eval": {"loss": value}, "test": None,
    }  # fmt: skip


def test_what_is_to_be_largest_is_ranked_the_other_way() -> None:
    simulated = halved(metric={"name": "eval.accuracy"})
    simulated.go(lambda run, steps: -far_from_a_hundredth(run, steps))
    assert configurations_of([r for r in simulated.records if r.status == "succeeded"]) == [4]


def test_configurations_are_ranked_by_the_mean_of_their_repeats() -> None:
    # Number 0 has the best single run, number 8 the best mean.
    def metric(run: RunRecord, steps: int) -> float:
        return {0: (0.0, 9.0), 8: (2.0, 2.0)}.get(run.configuration, (3.0, 3.0))[run.repeat]

    simulated = halved().go(metric)
    assert configurations_of([r for r in simulated.records if r.status == "succeeded"]) == [8]
    stopped = simulated.runs[0].stopped
    assert stopped is not None
    assert stopped["rank"] == 9


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_at_a_rung_comes_last(bad: float) -> None:
    def metric(run: RunRecord, steps: int) -> float:
        return bad if run.configuration == 4 and run.repeat == 1 else far_from_a_hundredth(run, 0)

    simulated = halved().go(metric)
    stopped = simulated.runs[8].stopped
    assert stopped == {"by": "successive_halving", "step": 100, "rank": 9, "of": 9}
    assert configurations_of([r for r in simulated.records if r.status == "succeeded"]) == [3]


def test_runs_that_diverge_before_the_rung_are_ranked_last_and_take_no_place() -> None:
    def ends(run: RunRecord) -> dict[str, Any] | None:
        if run.configuration >= 7 and run.paused is None:
            return {"outcome": "diverged", "metric": 0.0}
        return None

    simulated = halved().go(far_from_a_hundredth, ends=ends)
    assert [task.runs for r in simulated.rounds[1:] for task in r.tasks] == [
        (6, 7, 8, 9, 10, 11), (8, 9),
    ]  # fmt: skip
    diverged = [run for run in simulated.records if run.outcome == "diverged"]
    assert configurations_of(diverged) == [7, 8]
    assert all(run.status == "succeeded" and run.stopped is None for run in diverged)
    # They do not compete at the second rung.
    stopped = simulated.runs[6].stopped
    assert stopped == {"by": "successive_halving", "step": 300, "rank": 2, "of": 3}


def test_a_run_that_has_converged_among_the_best_keeps_its_place() -> None:
    def ends(run: RunRecord) -> dict[str, Any] | None:
        if run.configuration == 4 and run.paused is None:
            return {"outcome": "converged", "metric": 0.0}
        return None

    simulated = halved().go(far_from_a_hundredth, ends=ends)
    # Of the best three (3, 4, 5) two train on; at 300 steps number 4 is still first, and since it
    # has ended one of the others goes on.
    assert [task.runs for r in simulated.rounds[1:] for task in r.tasks] == [
        (6, 7, 10, 11), (6, 7),
    ]  # fmt: skip
    stopped = simulated.runs[10].stopped
    assert stopped == {"by": "successive_halving", "step": 300, "rank": 3, "of": 3}


def test_when_all_have_ended_before_the_rung_the_study_is_through() -> None:
    simulated = halved().go(
        far_from_a_hundredth, ends=lambda _: {"outcome": "converged", "metric": 1.0}
    )
    assert len(simulated.rounds) == 1


def test_one_repeat_that_ended_does_not_hold_the_others_back() -> None:
    def ends(run: RunRecord) -> dict[str, Any] | None:
        done = run.configuration == 4 and run.repeat == 0 and run.paused is None
        return {"outcome": "converged", "metric": 0.0} if done else None

    simulated = halved().go(far_from_a_hundredth, ends=ends)
    assert [task.runs for r in simulated.rounds[1:] for task in r.tasks] == [
        (6, 7, 9, 10, 11), (9,),
    ]  # fmt: skip


def test_survivors_of_several_stacks_share_one_again() -> None:
    problem = {**IRIS, "model": {"kind": "mlp", "hidden": [256, 256]}}
    simulated = simulate(study(job(problem), LRS, strategy=HALVING, repeats=20))
    simulated.go(far_from_a_hundredth)
    numbers = [len(round_.tasks) for round_ in simulated.rounds]
    assert numbers[0] > numbers[1] >= numbers[2]
    for round_ in simulated.rounds:
        assert sorted(i for task in round_.tasks for i in task.runs) == sorted(
            {i for task in round_.tasks for i in task.runs}
        )


def test_a_failed_run_is_ranked_last() -> None:
    simulated = halved()
    round_ = simulated.plan()
    assert round_ is not None
    simulated.train(round_, far_from_a_hundredth, 2000, lambda _: None)
    for index in (8, 9):
        simulated.runs[index] = replace(
            simulated.runs[index], status="failed", metric=None, paused=None,
            error={"code": "out_of_memory", "message": "", "param": None},
        )  # fmt: skip
    second = simulated.plan()
    assert second is not None
    # Without number 4, 3 and 5 are the nearest, then 2 and 6: the first by number.
    assert second.tasks[0].runs == (4, 5, 6, 7, 10, 11)


def test_the_rooms_of_strategies_are_light() -> None:
    code = (
        "import sys, core.strategies.plan;"
        "print(sorted({'torch', 'scipy', 'sklearn', 'optuna'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", ["grid", "random"])
def test_a_study_accepted_with_copies_keeps_their_numbers_to_its_end(kind: str) -> None:
    """Versions before counted a value that is written twice twice, in `num_runs` too."""
    rates = [1.0, 0.1, 0.1, 0.02, 0.02, 0.001, 0.001, 0.0001, 0.0001]
    strategy = {**HALVING, "kind": kind, **({} if kind == "grid" else {"num_runs": 9})}
    body = study(job(), {"optimizer.lr": {"values": rates}}, strategy=strategy, repeats=2)
    resolved = parsed(body)
    assert resolved.num_runs < 18
    simulated = Simulated(replace(resolved, num_configurations=9, num_runs=18))
    first = simulated.plan()
    assert first is not None
    chosen = [run.params["optimizer.lr"] for run in simulated.records[::2]]
    if kind == "grid":
        assert chosen == rates
    assert len(chosen) == 9 > len(set(chosen))
    assert [run.index for run in simulated.records] == list(range(18))
    simulated.train(first, far_from_a_hundredth, 2000, lambda _: None)
    simulated.go(far_from_a_hundredth)
    assert len(simulated.rounds) == 3
    assert not any(round_.new for round_ in simulated.rounds[1:])
    assert {run.status for run in simulated.records} == {"succeeded", "cancelled"}
    best = min(range(9), key=lambda number: abs(math.log10(chosen[number]) + 2))
    succeeded = [run for run in simulated.records if run.status == "succeeded"]
    assert configurations_of(succeeded) == [best]
    assert [run.params["optimizer.lr"] for run in simulated.records[::2]] == chosen


def test_a_later_first_rung_keeps_the_best_of_a_grid() -> None:
    # `make trials TRIALS_ARGS=halving` has four data sets, two lengths and eight seeds.
    body = grid("digits", 270, 1)
    curves = trained(body)
    early, late = (cost(body, curves, part) for part in (27, 3))
    assert early.updates == 30 / 270
    assert late.updates == 150 / 270
    assert 1.0 <= late.loss < 1.02
    assert early.loss >= late.loss


def extended(simulated: Simulated, **changes: Any) -> Simulated:
    """The study after `extend` or `enqueue`."""
    spec = simulated.resolved.spec
    strategy = {**spec["strategy"], **changes.pop("strategy", {})}
    resolved = replace(simulated.resolved, spec={**spec, "strategy": strategy, **changes})
    return replace(simulated, resolved=resolved, num_extensions=simulated.num_extensions + 1)


DRAWN: Json = {"kind": "random", "num_runs": 9}


def test_draws_that_are_added_compete_among_themselves() -> None:
    sweep = {"optimizer.lr": {"log": [1e-4, 1.0]}}
    strategy = {**DRAWN, "stopper": {**HALVING["stopper"]}}
    first = simulate(study(sweep=sweep, strategy=strategy)).go(far_from_a_hundredth)
    assert {run.bracket for run in first.records} == {0}
    num_rounds = len(first.rounds)
    more = extended(first, strategy={"num_runs": 18}).go(far_from_a_hundredth)
    added = [run for run in more.records if run.configuration >= 9]
    assert len(added) == 9
    assert {run.bracket for run in added} == {9}
    assert more.rounds[num_rounds].tasks[0].stop_step == 100
    stopped = [run.stopped for run in added if run.stopped is not None]
    assert len(stopped) == 8
    assert {each["of"] for each in stopped} == {9, 3}
    longer = simulate(study(sweep=sweep, strategy={"kind": "random", "num_runs": 18})).plan()
    assert longer is not None
    assert [run.params for run in more.records] == [new.record.params for new in longer.new]


def test_a_bracket_of_an_earlier_version_is_told_by_its_batch() -> None:
    strategy = {"kind": "tpe", "num_runs": 6, "batch_size": 3, "num_startup": 100,
                "stopper": HALVING["stopper"]}  # fmt: skip
    new, old = (simulate(study(sweep=LRS, strategy=strategy)) for _ in range(2))
    new.go(far_from_a_hundredth)
    while (round_ := old.plan()) is not None:
        old.runs = {index: replace(run, bracket=None) for index, run in old.runs.items()}
        old.train(round_, far_from_a_hundredth, 2000, lambda _: None)
    assert [replace(run, bracket=None) for run in new.records] == old.records


def test_what_is_enqueued_comes_next_and_the_search_knows_it() -> None:
    strategy = {"kind": "tpe", "num_runs": 4, "batch_size": 4, "num_startup": 2}
    sweep = {"optimizer.lr": {"log": [1e-4, 1.0]}}
    simulated = simulate(study(sweep=sweep, strategy=strategy)).go(far_from_a_hundredth)
    more = extended(simulated, configurations=[{"optimizer.lr": 0.01}], strategy={"num_runs": 10})
    more.go(far_from_a_hundredth)
    assert [len(round_.new) for round_ in more.rounds] == [4, 1, 4, 2]
    (given,) = (run for run in more.records if run.enqueued)
    assert (given.configuration, given.params) == (4, {"optimizer.lr": 0.01})
    assert [run.configuration for run in more.records] == list(range(11))
