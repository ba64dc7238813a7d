"""A study's way through workers to its end: real store, real processes, no torch."""

from collections.abc import Sequence
from typing import Any

import pytest

from core.specs.studies.extension import Extension
from core.studies import RunRecord, StudyRecord, run_id
from tests.worker.bench import Bench, there
from tests.worker.scenarios import Finish, GoBack, Rung, Stream
from tests.worker.study_bench import StudyBench, as_written


@pytest.fixture
def studies(bench: Bench) -> StudyBench:
    return StudyBench(bench)


def test_a_study_runs_to_its_end_and_all_is_written(bench: Bench, studies: StudyBench) -> None:
    bench.worker()
    study_id = studies.submit(Finish(5), [[0, 1], [2]])
    study = studies.until_status(study_id, "succeeded")
    assert study.counts["succeeded"] == 3
    assert study.num_updates == 15
    assert there(study.result)["best"] == {"configuration": 0, "params": {}, "metric": 0.2}
    for index, run in enumerate(studies.runs(study_id)):
        assert (run.status, run.outcome) == ("succeeded", "budget_exhausted")
        assert there(run.result)["num_steps"] == 5
        assert run.metric == there(run.result)["final_loss"] == index + 0.2
        assert run.best == {"step": 4, "loss": index + 0.2}
        assert (run.fused, run.share_s) == (True, 0.25)
        assert run.target == {"step": 2, "seconds": 0.5}
        assert studies.steps(study_id, index) == list(range(5))
        losses = bench.store.read_columns(run_id(study_id, index), "train")["loss"]
        assert losses.tolist() == [index + 1 / (1 + step) for step in range(5)]
    steps = {"initial": 0, "final": 5}
    assert [run.weights for run in studies.runs(study_id)] == [
        {"file": "weights/0_1.safetensors", "row": 0, "steps": steps},
        {"file": "weights/0_1.safetensors", "row": 1, "steps": steps},
        {"file": "weights/0_2.safetensors", "row": 0, "steps": steps},
    ]


def test_the_best_metric_is_over_the_history(bench: Bench, studies: StudyBench) -> None:
    bench.worker()
    for goal, metrics in (("min", [0.2, 1.2]), ("max", [1.0, 2.0])):
        study_id = studies.submit(Finish(5), [[0, 1]], metric={"at": "best", "goal": goal})
        studies.until_status(study_id, "succeeded")
        assert [run.metric for run in studies.runs(study_id)] == metrics


@pytest.mark.parametrize("at", ["best", "final"])
def test_rows_that_were_taken_back_count_for_nothing(
    bench: Bench, studies: StudyBench, at: str
) -> None:
    bench.worker()
    study_id = studies.submit(GoBack(), [[1]], metric={"at": at})
    studies.until_status(study_id, "succeeded")
    assert studies.steps(study_id, 1) == list(range(7))
    [run] = studies.runs(study_id)
    assert run.metric == 1 + 1 / 7
    assert run.weights is not None


def test_rounds_follow_one_another_and_go_on_where_runs_paused(
    bench: Bench, studies: StudyBench
) -> None:
    bench.worker()
    study_id = studies.submit(Rung(), [[0, 1, 2]], [[0, 2]], stop_steps=[2])
    study = studies.until_status(study_id, "succeeded")
    assert (study.round, study.num_updates) == (2, 2 * 3 + 5 * 2)
    first, paused, last = studies.runs(study_id)
    assert studies.steps(study_id, 0) == list(range(5))
    assert [first.status, paused.status, last.status] == ["succeeded", "failed", "succeeded"]
    assert (first.paused, first.metric) == (None, 0.2)
    assert studies.steps(study_id, 1) == [0, 1]
    places = [("weights/1_1.safetensors", 0, 5), ("weights/0_1.safetensors", 1, 2)]
    assert [where(first), where(paused)] == places
    assert where(last) == ("weights/1_1.safetensors", 1, 5)


def where(run: RunRecord) -> tuple[str, int, int]:
    """Where its weights are, and how many updates the final ones have seen."""
    assert run.weights is not None
    return run.weights["file"], run.weights["row"], run.weights["steps"]["final"]


def test_a_paused_run_says_what_is_known_of_it(bench: Bench, studies: StudyBench) -> None:
    seen: list[RunRecord] = []

    def look(study: StudyRecord, runs: Sequence[RunRecord]) -> Any:
        seen.extend(runs)
        return as_written(study, runs)

    bench.decide = look
    bench.worker()
    study_id = studies.submit(Rung(), [[0, 1]], stop_steps=[2])
    studies.until_status(study_id, "succeeded", "failed")
    for index, run in enumerate(seen):
        assert run.status == "queued"
        assert run.metric == index + 0.5
        assert run.paused == {
            "step": 2, "initial_loss": index + 1.0, "loss": index + 0.5, "eval": None,
            "file": "paused/0_1.safetensors",
        }  # fmt: skip
        assert where(run) == ("weights/0_1.safetensors", index, 2)


def test_queued_tasks_go_to_all_workers(bench: Bench, studies: StudyBench) -> None:
    workers = [bench.worker(), bench.worker()]
    study_id = studies.submit(Stream(), [[0], [1]])
    studies.until_running(study_id, 2)
    bench.until(lambda: {worker.heartbeat._held is not None for worker in workers} == {True})
    names = {each.name: each.current_job for each in busy_workers(bench)}
    assert names == {"worker-0": study_id, "worker-1": study_id}
    studies.cancel(study_id)
    studies.until_status(study_id, "cancelled")


def busy_workers(bench: Bench) -> list[Any]:
    found: list[Any] = []

    async def ask(store: Any) -> None:
        found.extend(await store.workers())

    def both() -> bool:
        found.clear()
        bench.api(ask)
        return len(found) == 2 and all(each.current_job for each in found)

    bench.until(both)
    return found


def test_jobs_and_studies_come_from_the_same_queues(bench: Bench, studies: StudyBench) -> None:
    study_ids = [studies.submit(Finish(5), [[0, 1]]) for _ in range(3)]
    jobs = [bench.submit(Finish(5)) for _ in range(3)]
    bench.worker()
    for study_id in study_ids:
        studies.until_status(study_id, "succeeded")
    for job_id in jobs:
        bench.until_status(job_id, "succeeded")


def test_a_plan_that_stumbles_fails_the_study(bench: Bench, studies: StudyBench) -> None:
    def stumble(study: StudyRecord, runs: Sequence[RunRecord]) -> Any:
        raise ZeroDivisionError("password=secret")

    bench.decide = stumble
    bench.worker()
    study = studies.until_status(studies.submit(Finish(5), [[0]]), "failed")
    assert there(study.error)["code"] == "internal_error"
    assert "secret" not in there(study.error)["message"]
    bench.until_status(bench.submit(Finish(1)), "succeeded")


def test_runs_that_cannot_be_made_fail_and_the_worker_goes_on(
    bench: Bench, studies: StudyBench
) -> None:
    bench.worker()
    study = studies.until_status(
        studies.submit(Finish(5), [[0, 1]], params={"0": {"optimizer.lr": "fast"}}), "failed"
    )
    assert study.counts["failed"] == 2
    assert there(study.error)["code"] == "internal_error"
    bench.until_status(bench.submit(Finish(1)), "succeeded")


def test_a_plan_beside_which_runs_were_added_is_decided_anew(
    bench: Bench, studies: StudyBench
) -> None:
    """It would have ended the study; it plans what was added, and the next one ends it."""
    decided: list[tuple[int, int]] = []

    def add_while_it_decides(study: StudyRecord, runs: Sequence[RunRecord]) -> Any:
        decided.append((study.round, study.num_extensions))
        round_ = as_written(study, runs)
        if round_ is None and not study.num_extensions:
            parts = {"rounds": [*study.spec["rounds"], [[1]]], "stop_steps": [None, None]}
            more = Extension({**study.spec, **parts}, 2, 200, 0)
            bench.api(lambda store: store.studies.extend(study.id, 0, more))
        return round_

    bench.decide = add_while_it_decides
    bench.worker()
    ended = studies.until_status(studies.submit(Finish(5), [[0]]), "succeeded", "failed")
    assert ended.status == "succeeded"
    assert decided == [(0, 0), (1, 0), (1, 1), (2, 1)]
    assert (ended.num_runs, ended.counts["succeeded"]) == (2, 2)
