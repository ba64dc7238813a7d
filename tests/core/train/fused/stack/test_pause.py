"""Rungs: runs pause at a step and go on in other stacks, as if nothing had been."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import ArtifactError
from core.messages.parts import PausedRun
from core.messages.requests import TrainTask
from core.specs.job import JobSpec
from tests.core.train.fused.harness import Tolerance
from tests.core.train.fused.task_harness import (
    ALWAYS,
    After,
    Done,
    Reported,
    assert_same_task,
    do_task,
    kill_and_resume,
    request,
)
from tests.core.train.fused.test_isolation import POPULATIONS, with_troubles
from tests.core.train.harness import blobs_job, function_job, parabola

Json = dict[str, Any]
NEAR = Tolerance(1e-9, 1e-11)
NORMED: Json = {"kind": "mlp", "hidden": [7], "norm": {"kind": "batch"}, "dropout": 0.2}
SCHEDULES: list[Json] = [
    {"kind": "constant"},
    {"kind": "reduce_on_plateau", "patience": 1, "factor": 0.5},
    {"kind": "cosine", "T_max": 20},
    {"kind": "one_cycle", "max_lr": 0.1, "total_steps": 40},
    {"kind": "exponential", "gamma": 0.9},
    {"kind": "warmup", "steps": 6, "then": {"kind": "reduce_on_plateau", "patience": 1}},
    {"kind": "cosine", "T_max": 20},
]


def varied(optimizer: Json, count: int = 7, **rest: Any) -> list[JobSpec]:
    """Runs of one structure with numbers, schedules, lengths of their own."""
    options = {"model": NORMED, "precision": "float64", "record": {"every": 3, "eval_every": 4}}
    return [
        blobs_job(
            {**optimizer, "lr": 0.01 * (1 + n)}, 22 + n, seed=n % 3,
            schedule=SCHEDULES[n % len(SCHEDULES)], **(options | rest),
        )
        for n in range(count)
    ]  # fmt: skip


RUNS: dict[str, list[JobSpec]] = {
    **{
        kind: varied({"kind": kind})
        for kind in (
            "adam", "adamw", "adamax", "nadam", "radam", "adagrad", "adadelta", "rmsprop", "rprop",
            "muon", "lion", "adopt", "ademamix", "schedule_free_sgd",
            "schedule_free_adamw", "prodigy",
        )
    },
    "cautious": varied({"kind": "adopt", "cautious": True}),
    "amsgrad": varied({"kind": "adam", "amsgrad": True}),
    "momentum": varied({"kind": "sgd", "momentum": 0.9, "dampening": 0.1}),
    "clipped": varied({"kind": "adam"}, gradient_clip={"kind": "norm", "max_norm": 0.3}),
    "by evaluations": varied(
        {"kind": "adam"}, 6, stop={"metric": "eval.f1", "patience": 2},
        record={"every": 3, "eval_every": 4, "metrics": ["perplexity", "f1"]},
    ),
    "by rows": varied({"kind": "adam"}, eval_fraction=0.0, record={"every": 4}),
    "functions": [
        function_job("x**2 + cos(y)", {"x": float(n), "y": 1.0}, {"kind": "sgd", "lr": 0.05},
                     20 + n, record={"every": 4})
        for n in range(7)
    ],
    "schedule_free, by rows": varied(
        {"kind": "schedule_free_adamw"}, eval_fraction=0.0, record={"every": 4}
    ),
    "schedule_free, one by one": varied(
        {"kind": "schedule_free_sgd"}, 3, record={"every": 3, "eval_every": 4,
                                                  "gradient_cosine": True}
    ),
    "asgd": varied({"kind": "asgd"}, 3),
    "adafactor": varied({"kind": "adafactor"}, 3),
    "lbfgs": [
        blobs_job({"kind": "lbfgs", "lr": 0.1 * (1 + n)}, 22, precision="float64",
                  model={"kind": "mlp", "hidden": [4]}, record={"every": 3, "eval_every": 4})
        for n in range(3)
    ],
}  # fmt: skip


def tasks_of(specs: Sequence[JobSpec]) -> list[list[int]]:
    """Two tasks of a round, each with runs of one kind of structure."""
    runs = range(len(specs))
    return [[run for run in runs if run % 2 == half] for half in (0, 1)]


def sub_request(specs: Sequence[JobSpec], runs: Sequence[int], **fields: Any) -> TrainTask:
    places = [[run, place, specs[run].seed] for place, run in enumerate(runs)]
    return request([specs[run] for run in runs], runs=places, **fields)


def ended_at(spec: JobSpec, step: int) -> JobSpec:
    return spec.model_copy(update={"budget": spec.budget.model_copy(update={"max_steps": step})})


def in_rungs(
    specs: Sequence[JobSpec], steps: Sequence[int], folder: Path, device: str = "cpu"
) -> tuple[Reported, list[Done]]:
    """Train in rounds: the first of two tasks, all later ones of one that takes from all before."""
    reported, sources = Reported(), dict[int, str]()
    done: list[Done] = []
    rounds = [tasks_of(specs), *[[list(range(len(specs)))] for _ in steps]]
    for number, (tasks, stop_step) in enumerate(zip(rounds, [*steps, None], strict=True)):
        paused: dict[int, PausedRun] = {}
        for place, members in enumerate(tasks):
            runs = [run for run in members if number == 0 or run in sources]
            job = sub_request(
                specs, runs, stem=f"{number}_{place}", stop_step=stop_step,
                sources={run: sources[run] for run in runs if run in sources},
            )  # fmt: skip
            found = do_task(replace(job, device=device), folder, reported=reported)
            paused |= found.ended.paused
            done.append(found)
        sources = {run: known["file"] for run, known in paused.items()}
    assert not sources
    return reported, done


def assert_same_reports(got: Reported, wanted: Reported, runs: Sequence[int]) -> None:
    for run in runs:
        for kind, rows in wanted.received[run].histories.items():
            mine = got.received[run].histories[kind]
            assert sorted(mine) == sorted(rows), (run, kind)
            for row, values in rows.items():
                for name, value in values.items():
                    NEAR.close(mine[row][name], value, f"{run} {kind} {row} {name}")
        one, other = got.endings[run], wanted.endings[run]
        assert (one.reason, one.outcome) == (other.reason, other.outcome)
        for name in ("num_steps", "final_loss", "best_loss", "value", "num_parameters"):
            NEAR.close(one.result.get(name), other.result.get(name), name)
        parts: list[tuple[Any, Any]] = [
            (one.best, other.best),
            (one.result["eval"], other.result["eval"]),
        ]
        for mine, its in parts:
            assert (mine is None) == (its is None)
            for name in its or {}:
                NEAR.close(mine[name], its[name], name)


def assert_same_weights(parts: Sequence[Done], whole: Done) -> None:
    wanted, stacked = whole.places, whole.weights()
    seen = set()
    for done in parts:
        if done.ended.weights is None:
            continue
        mine, tensors = done.places, done.weights()
        for run, row in mine["rows"].items():
            if run in done.ended.paused:
                continue
            seen.add(run)
            assert mine["steps"][run] == wanted["steps"][run]
            for name, tensor in stacked.items():
                NEAR.close(tensors[name][row], tensor[wanted["rows"][run]], f"{run} {name}")
    assert seen == set(wanted["rows"])


@pytest.mark.parametrize("steps", [(5,), (4, 12, 18)])
@pytest.mark.parametrize("name", RUNS)
def test_runs_that_paused_go_on_as_if_they_had_not(
    name: str, steps: tuple[int, ...], tmp_path: Path
) -> None:
    specs = RUNS[name]
    whole = do_task(sub_request(specs, range(len(specs))), tmp_path / "whole")
    reported, done = in_rungs(specs, steps, tmp_path / "parts")
    assert_same_reports(reported, whole.reported, range(len(specs)))
    assert_same_weights(done, whole)
    assert done[0].ended.paused


def test_what_is_known_of_a_paused_run_is_that_of_a_run_that_ends_there(tmp_path: Path) -> None:
    for name in ("adam", "asgd", "lbfgs"):
        specs = RUNS[name]
        for step in (7, 8):  # 8: an evaluation is due
            short = [ended_at(spec, step) for spec in specs]
            runs = range(len(specs))
            wanted = do_task(sub_request(short, runs), tmp_path / "w")
            at_rung = do_task(sub_request(specs, runs, stop_step=step), tmp_path / "p")
            of_best = [each.places["steps"] for each in (at_rung, wanted)]
            for run in runs:
                ended = wanted.reported.endings[run]
                result, best = ended.result, ended.best
                known = at_rung.ended.paused[run]
                assert known["best"] is not None
                assert best is not None
                assert known["best"]["step"] == best["step"]
                assert of_best[0][run]["best"] == of_best[1][run]["best"]
                assert known["step"] == step
                NEAR.close(known["loss"], result["final_loss"], "loss")
                assert known["initial_loss"] == result["initial_loss"] is not None
                evaluation = known["eval"]
                assert evaluation is not None
                assert evaluation.keys() == result["eval"].keys()
                for key, value in result["eval"].items():
                    NEAR.close(evaluation[key], value, key)
                assert known["share_s"] > 0
                assert known["file"] == "paused/1_0.safetensors"


def test_an_evaluation_at_a_rung_is_recorded_only_where_it_is_due(tmp_path: Path) -> None:
    for name in ("adam", "asgd"):
        for step, recorded in ((7, [0, 4]), (8, [0, 4, 8])):
            done = do_task(sub_request(RUNS[name], [0, 1], stop_step=step), tmp_path)
            assert done.reported.column(0, "step", "eval") == recorded


def test_the_best_of_a_paused_run_counts_what_is_recorded(tmp_path: Path) -> None:
    specs = [parabola(0.1, 30, record={"every": 4}), parabola(0.2, 30, record={"every": 4})]
    done = do_task(sub_request(specs, [0, 1], stop_step=7), tmp_path)
    known = done.ended.paused[0]
    assert known["loss"] == pytest.approx((10 * 0.8**6) ** 2)
    assert known["best"] == {"step": 4, "loss": pytest.approx((10 * 0.8**4) ** 2)}
    assert known["eval"] is None
    assert done.places["steps"][0] == {"initial": 0, "best": 4, "final": 7}
    assert done.weights()["best.x"].ravel() == pytest.approx([10 * 0.8**4, 10 * 0.6**4])


def test_runs_that_end_before_the_rung_do_not_pause(tmp_path: Path) -> None:
    specs = [parabola(0.1, steps) for steps in (5, 9, 10, 11)]
    done = do_task(sub_request(specs, range(4), stop_step=10), tmp_path)
    assert sorted(done.reported.endings) == [0, 1, 2]
    assert sorted(done.ended.paused) == [3]
    weights = done.places
    assert weights["rows"] == {0: 0, 1: 1, 2: 2, 3: 3}
    assert [weights["steps"][run]["final"] for run in range(4)] == [5, 9, 10, 10]


def test_only_the_runs_of_the_task_go_on(tmp_path: Path) -> None:
    specs = RUNS["adam"]
    first = do_task(sub_request(specs, range(7), stop_step=6), tmp_path)
    sources = {run: first.ended.paused[run]["file"] for run in (1, 5)}
    done = do_task(sub_request(specs, [1, 5], stem="2_0", sources=sources), tmp_path)
    assert sorted(done.reported.endings) == [1, 5]
    assert min(done.reported.received[1].histories["train"]) == 2
    whole = do_task(sub_request(specs, range(7)), tmp_path / "whole")
    for run in (1, 5):
        first.reported.received[run].histories["train"].update(
            done.reported.received[run].histories["train"])  # fmt: skip
        first.reported.received[run].histories["eval"].update(
            done.reported.received[run].histories["eval"])  # fmt: skip
    merged = Reported(first.reported.received, done.reported.endings)
    assert_same_reports(merged, whole.reported, [1, 5])


def test_momentum_that_only_some_runs_have_survives_a_merge(tmp_path: Path) -> None:
    """Two stacks, one without and one with a velocity, become one."""
    momenta = (0.0, 0.9, 0.0, 0.5)
    specs = [
        blobs_job({"kind": "sgd", "lr": 0.05, "momentum": momentum}, 20, precision="float64")
        for momentum in momenta
    ]
    whole = do_task(sub_request(specs, range(4)), tmp_path / "whole")
    reported, done = in_rungs(specs, (5, 9), tmp_path / "parts")
    assert_same_reports(reported, whole.reported, range(4))
    assert_same_weights(done, whole)


@pytest.mark.parametrize("name", ["odd sizes", "batch norm", "dropout", "plateau", "expression"])
def test_a_rung_changes_no_bit_of_the_others(name: str, tmp_path: Path) -> None:
    """Whatever becomes of some runs before a rung, the others pause as they would have."""
    specs = POPULATIONS[name]
    survivors = [2, 7, 20, len(specs) - 4, len(specs) - 1]
    runs = range(len(specs))
    quiet = do_task(sub_request(specs, runs, stop_step=19), tmp_path / "quiet")
    job = sub_request(with_troubles(specs, set(survivors)), runs, stop_step=19)
    troubled = do_task(job, tmp_path / "troubled")
    for run in survivors:
        one, other = (repr(d.reported.received[run].histories) for d in (quiet, troubled))
        assert one == other
    together = []
    for done in (quiet, troubled):
        sources = dict.fromkeys(survivors, "paused/1_0.safetensors")
        again = sub_request(specs, survivors, stem="2_0", sources=sources)
        ended = do_task(again, tmp_path / ("quiet" if done is quiet else "troubled"))
        together.append(Done(ended.ended, done.reported, done.artifacts))
    bits = [
        {name: tensor.tobytes() for name, tensor in done.weights().items()} for done in together
    ]
    assert bits[0] == bits[1]


@pytest.mark.parametrize("name", ["adam", "momentum", "functions", "asgd"])
def test_a_killed_rung_goes_on_to_the_bit(name: str, tmp_path: Path) -> None:
    specs = RUNS[name]
    runs = list(range(len(specs)))
    first = sub_request(specs, runs, stop_step=7)
    sources = dict.fromkeys(runs, "paused/1_0.safetensors")
    second = sub_request(specs, runs, stem="2_0", stop_step=15, sources=sources)
    whole = [do_task(job, tmp_path / "whole") for job in (first, second)]
    kills = (3, 9) if name == "asgd" else (3, 2)
    parts = [kill_and_resume(job, tmp_path / "parts", kills, pace=ALWAYS)
             for job in (first, second)]  # fmt: skip
    for got, wanted in zip(parts, whole, strict=True):
        assert_same_task(got, wanted)
        assert got.ended.paused.keys() == wanted.ended.paused.keys()


def test_updates_before_the_task_are_not_counted(tmp_path: Path) -> None:
    for name in ("functions", "asgd"):
        specs = RUNS[name]
        runs = list(range(3))
        first = do_task(sub_request(specs, runs, stop_step=7), tmp_path)
        assert first.reported.progressed[-1][0] == 3 * 7
        sources = dict.fromkeys(runs, "paused/1_0.safetensors")
        job = sub_request(specs, runs, stem="2_0", stop_step=15, sources=sources)
        assert do_task(job, tmp_path).reported.progressed[-1][0] == 3 * 8


def test_a_target_reached_before_a_rung_is_kept(tmp_path: Path) -> None:
    specs = [parabola(0.2, 30), parabola(0.25, 30)]
    wanted = {"name": "loss", "goal": "min", "at": "final", "target": 1.0}
    first = do_task(sub_request(specs, [0, 1], stop_step=10, target=wanted), tmp_path)
    reached = first.ended.paused[0]["target"]
    assert reached is not None
    assert reached["step"] == 5
    sources = dict.fromkeys((0, 1), "paused/1_0.safetensors")
    job = sub_request(specs, [0, 1], stem="2_0", sources=sources, target=wanted)
    second = do_task(job, tmp_path)
    assert second.reported.endings[0].target == reached


def test_time_before_a_rung_counts(tmp_path: Path) -> None:
    ticks = iter(range(10**6))
    specs = [parabola(0.1, 30), parabola(0.2, 30)]
    clock = lambda: float(next(ticks))  # noqa: E731
    first = do_task(sub_request(specs, [0, 1], stop_step=10), tmp_path, clock=clock)
    sources = dict.fromkeys((0, 1), "paused/1_0.safetensors")
    job = sub_request(specs, [0, 1], stem="2_0", sources=sources)
    second = do_task(job, tmp_path, clock=clock)
    assert second.reported.endings[0].share_s > first.ended.paused[0]["share_s"] > 0
    assert second.reported.endings[0].result["train_s"] > 30


def test_a_time_limit_counts_over_the_rungs(tmp_path: Path) -> None:
    ticks = iter(range(10**6))
    clock = lambda: float(next(ticks))  # noqa: E731
    specs = [parabola(0.1, 400, budget={"max_seconds": 100.0, "max_steps": 400})] * 2
    first = do_task(sub_request(specs, [0, 1], stop_step=10), tmp_path, clock=clock)
    assert sorted(first.ended.paused) == [0, 1]
    straight = do_task(sub_request(specs, [0, 1], stem="3_0"), tmp_path / "s", clock=clock)
    sources = dict.fromkeys((0, 1), "paused/1_0.safetensors")
    job = sub_request(specs, [0, 1], stem="2_0", sources=sources)
    second = do_task(job, tmp_path, clock=clock)
    steps = [d.reported.endings[0].result["num_steps"] for d in (straight, second)]
    assert steps[1] == pytest.approx(steps[0], abs=6)


def test_a_damaged_state_begins_anew_and_says_so_and_a_missing_one_is_an_error(
    tmp_path: Path,
) -> None:
    specs = [parabola(0.1, 30), parabola(0.2, 30)]
    do_task(sub_request(specs, [0, 1], stop_step=10), tmp_path)
    file = "paused/1_0.safetensors"
    job = sub_request(specs, [0, 1], stem="2_0", sources={0: file, 1: file})
    path = next((tmp_path).rglob("paused/1_0.safetensors"))
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    anew = do_task(job, tmp_path)
    whole = do_task(sub_request(specs, [0, 1], stem="3_0"), tmp_path)
    assert anew.reported.received[0].histories == whole.reported.received[0].histories
    (told,) = anew.reported.restarts
    assert told.startswith(f"task 2_0 from its start: {file} cannot be read (damaged paused runs")
    path.unlink()
    with pytest.raises(ArtifactError, match="gone"):
        do_task(job, tmp_path)


def test_a_cancel_in_a_rung_ends_what_trains(tmp_path: Path) -> None:
    specs = RUNS["adam"]
    done = do_task(sub_request(specs, range(7), stop_step=15), tmp_path, control=After(6, "cancel"))
    assert done.ended.reason == "cancelled"
    assert done.ended.paused == {}
    assert {ending.reason for ending in done.reported.endings.values()} == {"cancelled"}
