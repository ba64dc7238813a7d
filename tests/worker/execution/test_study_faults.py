"""What becomes of a study whose runs fail, whose workers die, or which is stopped: real store, real
processes, no torch."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from core.artifacts.build import open_artifacts
from core.store.history.bundles import num_bytes
from core.store.protocols.types import TaskClaim
from core.studies import RunRecord, StudyRecord, TaskRecord, run_id
from tests.worker.bench import Bench, no_renewal, there
from tests.worker.scenarios import (
    Deaf,
    Die,
    Fail,
    Fault,
    Finish,
    FirstEnds,
    FirstFails,
    Forget,
    Rung,
    Stream,
    Wait,
)
from tests.worker.study_bench import Json, StudyBench, as_written
from worker.janitor import Janitor


@pytest.fixture
def studies(bench: Bench) -> StudyBench:
    return StudyBench(bench)


@pytest.fixture
def process(bench: Bench) -> Iterator[subprocess.Popen[str]]:
    """A worker process that can be killed."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-P",
            str(Path(__file__).parents[1] / "fake_worker.py"),
            "--name",
            "mortal",
        ],
        stderr=subprocess.DEVNULL,
        text=True,
        env=bench.environment | {"THALWEG_LEASE_S": "0.6"},
    )
    yield process
    process.kill()
    process.wait()


def statuses(studies: StudyBench, study_id: str) -> list[str]:
    return [run.status for run in studies.runs(study_id)]


def held(studies: StudyBench, study_id: str, token: int = 1) -> TaskClaim:
    """The claim of the study's first training task, as its worker has it."""
    study = studies.get(study_id)
    return TaskClaim(study, TaskRecord(study_id, 0, 1, "train"), token=token, attempt=token)


def test_a_task_whose_trainer_was_killed_goes_on_in_the_next_attempt(
    bench: Bench, studies: StudyBench
) -> None:
    bench.worker()
    study_id = studies.submit(FirstEnds(Die()), [[0, 1]], resumed=Finish(9))
    studies.until_status(study_id, "succeeded")
    first, second = studies.runs(study_id)
    assert [first.status, second.status] == ["succeeded", "succeeded"]
    assert there(first.result)["num_steps"] == 3  # it had ended before: nothing changes that
    assert first.weights is not None
    assert there(second.result)["num_steps"] == 9
    assert studies.steps(study_id, 1) == list(range(9))


@pytest.mark.parametrize(("goal", "metric"), [("min", 1 + 1 / 9), ("max", 2.0)])
def test_the_best_metric_counts_the_rows_of_a_former_attempt(
    bench: Bench, studies: StudyBench, goal: str, metric: float
) -> None:
    bench.worker()
    study_id = studies.submit(
        FirstEnds(Die()), [[0, 1]], resumed=Finish(9), metric={"at": "best", "goal": goal}
    )
    studies.until_status(study_id, "succeeded")
    assert studies.runs(study_id)[1].metric == metric


def test_a_killed_workers_task_is_resumed_by_another(
    bench: Bench, studies: StudyBench, process: subprocess.Popen[str]
) -> None:
    study_id = studies.submit(Stream(), [[0, 1]], resumed=Finish(900), max_attempts=2)
    plan = bench.claim_task()
    bench.store.studies.plan(plan, there(bench.decide(plan.study, [])))
    studies.until(lambda: bench.store.studies.num_rows(study_id, [1])[1]["train"] >= 5)
    process.kill()
    bench.worker()
    studies.until_status(study_id, "succeeded")
    assert [there(run.result)["num_steps"] for run in studies.runs(study_id)] == [900, 900]
    assert studies.steps(study_id, 1) == list(range(900))


@pytest.mark.parametrize("ends", ["failed", "cancelled"])
def test_rows_of_a_killed_workers_last_attempt_are_counted(
    bench: Bench, studies: StudyBench, process: subprocess.Popen[str], ends: str
) -> None:
    study_id = studies.submit(Stream(), [[0, 1]], max_attempts=1)
    plan = bench.claim_task()
    bench.store.studies.plan(plan, there(bench.decide(plan.study, [])))
    studies.until(lambda: bench.store.studies.num_rows(study_id, [1])[1]["train"] >= 5)
    process.kill()
    process.wait()
    if ends == "cancelled":
        studies.cancel(study_id)
    bench.worker()
    usage = there(studies.until_status(study_id, ends).usage)
    rows = bench.store.studies.num_rows(study_id, [0, 1])
    layouts = bench.store.studies.layouts(study_id, [0, 1])
    assert usage.stored_bytes == sum(
        num_bytes(layout, rows[run][kind])
        for run, kinds in layouts.items()
        for kind, layout in kinds.items()
    )


def test_rows_of_a_job_without_a_checkpoint_are_counted_when_its_last_worker_is_killed(
    bench: Bench, process: subprocess.Popen[str]
) -> None:
    job_id = bench.submit(Stream(), max_attempts=1)
    bench.until(lambda: len(bench.steps(job_id)) >= 5)
    process.kill()
    process.wait()
    bench.worker()
    usage = there(bench.until_status(job_id, "failed").usage)
    num_rows = len(bench.steps(job_id))
    assert there(usage.stored_bytes) >= 8 * num_rows
    assert there(usage.stored_bytes) % num_rows == 0


def test_a_task_that_kills_its_trainers_ends_at_max_attempts(
    bench: Bench, studies: StudyBench
) -> None:
    bench.worker()
    poison = studies.submit(FirstEnds(Die()), [[0, 1], [2]], max_attempts=2)
    other = bench.submit(Finish(3))
    study = studies.until_status(poison, "succeeded")
    assert study.counts["failed"] == 1
    assert statuses(studies, poison) == ["succeeded", "failed", "succeeded"]
    assert there(studies.runs(poison)[1].error)["code"] == "worker_lost"
    bench.until_status(other, "succeeded")


def test_a_cancel_keeps_what_there_is(bench: Bench, studies: StudyBench) -> None:
    bench.worker()
    study_id = studies.submit(FirstEnds(Wait()), [[0, 1], [2]], max_attempts=2)
    studies.until_running(study_id, 1)
    studies.cancel(study_id)
    studies.until_status(study_id, "cancelled")
    first, second, untried = studies.runs(study_id)
    assert (first.status, first.outcome) == ("succeeded", "budget_exhausted")
    assert (second.status, second.outcome, second.metric) == ("cancelled", None, None)
    assert there(second.result)["num_steps"] == 3
    assert there(second.weights)["row"] == 1
    assert (untried.status, untried.result) == ("cancelled", None)
    assert studies.steps(study_id, 1) == [0, 1, 2]
    bench.until_status(bench.submit(Finish(1)), "succeeded")


def test_a_cancel_between_two_rungs_keeps_the_weights_of_the_first(
    bench: Bench, studies: StudyBench
) -> None:
    def cancelled_meanwhile(study: StudyRecord, runs: Sequence[RunRecord]) -> Any:
        if study.round == 1:
            studies.cancel(study.id)
        return as_written(study, runs)

    bench.decide = cancelled_meanwhile
    bench.worker()
    study_id = studies.submit(Rung(), [[0, 1]], [[0]], stop_steps=[2])
    studies.until_status(study_id, "cancelled")
    assert statuses(studies, study_id) == ["cancelled", "cancelled"]
    assert [run.weights for run in studies.runs(study_id)] == [of_the_rung(0), of_the_rung(1)]


def of_the_rung(row: int) -> Json:
    """Weights of the task 0.1, whose runs paused after two steps."""
    return {"file": "weights/0_1.safetensors", "row": row, "steps": {"initial": 0, "final": 2}}


def test_a_run_that_is_killed_after_a_rung_keeps_the_weights_of_the_rung(
    bench: Bench, studies: StudyBench
) -> None:
    bench.worker(cancel_grace_s=0.3)
    study_id = studies.submit(Rung(FirstEnds(Deaf())), [[0, 1]], [[0, 1]], stop_steps=[2])
    studies.until(lambda: [run.status for run in studies.runs(study_id)][:1] == ["succeeded"])
    studies.cancel(study_id)
    studies.until_status(study_id, "cancelled")
    ended, killed = studies.runs(study_id)
    # What was to be written with the weights of its end is lost; those of the rung are not these.
    assert (ended.status, ended.weights) == ("succeeded", None)
    assert (killed.status, killed.weights) == ("cancelled", of_the_rung(1))


def test_a_cancel_before_anything_began_is_done_at_once(bench: Bench, studies: StudyBench) -> None:
    study_id = studies.submit(Finish(5), [[0, 1]])
    studies.cancel(study_id)
    assert studies.get(study_id).status == "cancelled"
    bench.worker()
    bench.until_status(bench.submit(Finish(1)), "succeeded")
    assert studies.runs(study_id) == []


def test_a_loop_that_does_not_listen_is_killed_and_its_runs_keep_their_rows(
    bench: Bench, studies: StudyBench
) -> None:
    worker = bench.worker(cancel_grace_s=0.3)
    study_id = studies.submit(FirstEnds(Deaf()), [[0, 1]])
    studies.until_running(study_id, 1)
    former = worker.link.pid
    studies.cancel(study_id)
    studies.until_status(study_id, "cancelled")
    assert statuses(studies, study_id) == ["succeeded", "cancelled"]
    result = there(studies.runs(study_id)[1].result)
    assert (result["final_loss"], result["num_steps"]) == (1 + 1 / 3, 2)
    assert studies.steps(study_id, 1) == [0, 1, 2]
    bench.until_status(bench.submit(Finish(1)), "succeeded")
    assert worker.link.pid != former


def test_runs_beyond_the_time_limit_fail_and_the_others_keep_their_end(
    bench: Bench, studies: StudyBench
) -> None:
    bench.worker(max_job_seconds=0.2)
    study_id = studies.submit(FirstEnds(Wait()), [[0, 1]])
    studies.until_status(study_id, "succeeded")
    assert statuses(studies, study_id) == ["succeeded", "failed"]
    run = studies.runs(study_id)[1]
    assert there(run.error)["code"] == "time_limit_exceeded"
    assert there(run.result)["num_steps"] == 3


@pytest.mark.parametrize(
    ("how", "code"),
    [("memory", "out_of_memory"), ("data", "data_unavailable"), ("fault", "internal_error")],
)
def test_a_tasks_failure_is_that_of_its_runs_which_had_not_ended(
    bench: Bench, studies: StudyBench, how: Fault, code: str
) -> None:
    bench.worker()
    study_id = studies.submit(FirstEnds(Fail(how)), [[0, 1], [2]])
    studies.until_status(study_id, "succeeded")
    assert statuses(studies, study_id) == ["succeeded", "failed", "succeeded"]
    run = studies.runs(study_id)[1]
    assert there(run.error)["code"] == code
    assert "secret" not in there(run.error)["message"]
    assert studies.steps(study_id, 1) == [0, 1, 2]
    bench.until_status(bench.submit(Finish(1)), "succeeded")


def test_a_run_that_could_not_be_computed_fails_and_says_why(
    bench: Bench, studies: StudyBench
) -> None:
    bench.worker()
    study_id = studies.submit(FirstFails(), [[0, 1, 2]], metric={"at": "best"})
    study = studies.until_status(study_id, "succeeded")
    assert study.counts["failed"] == 1
    assert statuses(studies, study_id) == ["failed", "succeeded", "succeeded"]
    run = studies.runs(study_id)[0]
    error = {"code": "internal_error", "message": "a division by zero", "param": None}
    assert (run.error, run.metric, run.outcome, run.fused) == (error, None, None, False)
    assert studies.steps(study_id, 0) == [0, 1, 2]


def test_a_run_that_fails_after_a_rung_keeps_the_weights_of_the_rung(
    bench: Bench, studies: StudyBench
) -> None:
    bench.worker()
    study_id = studies.submit(Rung(FirstFails()), [[0, 1]], [[0, 1]], stop_steps=[2])
    studies.until_status(study_id, "succeeded")
    assert statuses(studies, study_id) == ["failed", "succeeded"]
    failed = studies.runs(study_id)[0]
    assert (failed.paused, failed.metric) == (None, None)
    assert failed.weights == of_the_rung(0)


def test_a_study_all_of_whose_runs_failed_says_by_what(bench: Bench, studies: StudyBench) -> None:
    bench.worker()
    study_id = studies.submit(Fail("memory"), [[0, 1], [2]], others={2: Fail("data")})
    study = studies.until_status(study_id, "failed")
    assert there(study.error)["code"] == "out_of_memory"
    assert there(study.error)["message"].startswith("All 3 runs failed, 2 of them like run 0: ")
    assert study.result is None


def test_a_run_that_the_trainer_says_nothing_of_fails(bench: Bench, studies: StudyBench) -> None:
    bench.worker()
    study_id = studies.submit(FirstEnds(Forget()), [[0, 1]])
    studies.until_status(study_id, "succeeded")
    assert statuses(studies, study_id) == ["succeeded", "failed"]
    assert there(studies.runs(study_id)[1].error)["code"] == "internal_error"


def test_a_shutdown_hands_the_task_over_and_counts_no_attempt(
    bench: Bench, studies: StudyBench
) -> None:
    first = bench.worker()
    study_id = studies.submit(FirstEnds(Wait()), [[0, 1]], resumed=Finish(7), max_attempts=1)
    studies.until_running(study_id, 1)
    first.stop()
    assert statuses(studies, study_id) == ["succeeded", "queued"]
    bench.worker()
    studies.until_status(study_id, "succeeded")
    assert there(studies.runs(study_id)[1].result)["num_steps"] == 7
    assert studies.steps(study_id, 1) == list(range(7))


def test_an_attempt_that_lost_its_lease_writes_nothing_more(
    bench: Bench, studies: StudyBench
) -> None:
    worker = bench.worker()
    study_id = studies.submit(FirstEnds(Wait()), [[0, 1]], resumed=Finish(4))
    studies.until(lambda: any(run.terminal for run in studies.runs(study_id)))
    bench.store.lose(held(studies, study_id))
    studies.until_status(study_id, "succeeded")
    assert [there(run.result)["num_steps"] for run in studies.runs(study_id)] == [3, 4]
    assert worker.link.alive


def test_what_a_stale_attempt_wrote_after_the_delete_goes_when_it_notices(
    bench: Bench, studies: StudyBench
) -> None:
    worker = bench.worker()
    study_id = studies.submit(FirstEnds(Wait()), [[0, 1]], max_attempts=1)
    studies.until_running(study_id, 1)
    worker.janitor.stop()  # only the attempt itself can do it
    artifacts = open_artifacts(bench.settings.artifacts_location).job(study_id)
    with no_renewal(bench):
        bench.store.lose(held(studies, study_id))
        artifacts.write("weights/0_1.safetensors", [b"too late"])
        bench.store.studies.finish(bench.claim_task(), "succeeded", {})
        studies.delete(study_id)
        bench.store.free(study_id)
    studies.until(lambda: not artifacts.list())


def test_a_deleted_study_goes_whole(bench: Bench, studies: StudyBench) -> None:
    bench.worker()
    study_id = studies.submit(Finish(5), [[0, 1]])
    studies.until_status(study_id, "succeeded")
    artifacts = open_artifacts(bench.settings.artifacts_location).job(study_id)
    artifacts.write("weights/0_1.safetensors", [b"weights"])
    studies.delete(study_id)
    studies.until(lambda: not artifacts.list())
    studies.until(lambda: not bench.store.trashed(10))
    with pytest.raises(Exception, match=study_id):
        bench.store.read_columns(run_id(study_id, 0), "train")


def test_studies_past_their_retention_go_like_jobs(bench: Bench, studies: StudyBench) -> None:
    worker = bench.worker()
    old = studies.submit(Finish(5), [[0]])
    studies.until_status(old, "succeeded")
    artifacts = open_artifacts(bench.settings.artifacts_location)
    artifacts.job(old).write("weights/0_1.safetensors", [b"weights"])
    bench.until_status(bench.submit(Finish(1)), "succeeded")
    worker.stop()
    bench.workers.clear()
    settings = bench.settings.model_copy(update={"retention_count": 1})
    assert Janitor(bench.store, artifacts, settings).look() == 1
    assert artifacts.job(old).list() == {}
    with pytest.raises(Exception, match=old):
        studies.get(old)
