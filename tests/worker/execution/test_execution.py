"""What becomes of a claim when the store is away or the claim is another's, whatever it is of: real
store, real processes, no torch."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import cast

import pytest

from core.artifacts.build import open_artifacts
from core.errors import StoreUnavailableError
from core.jobs import JobRecord
from core.store.redis import RedisStore
from core.studies import RunRecord, StudyRecord
from tests.worker.bench import FAKE, Away, Bench, there
from tests.worker.scenarios import Fail, Finish, Foretell
from tests.worker.study_bench import StudyBench, as_written
from worker.execution.context import ExecutionContext, Shutdown
from worker.execution.execution import Execution
from worker.execution.job import JobExecution
from worker.execution.plan import PlanExecution
from worker.execution.requested_diagnosis import DiagnosisExecution
from worker.execution.supervision import TrainerLine
from worker.execution.task import TaskExecution
from worker.trainer.client import TrainerClient

Seen = JobRecord | tuple[StudyRecord, list[RunRecord]]


@dataclass
class Claimed:
    """Something that was claimed by hand.

    Attributes:
        execute: carries it out.
        lose: makes the claim stale.
        look: what is stored of it.
        ended: whether its end is stored.
    """

    execute: Callable[[ExecutionContext], Execution]
    lose: Callable[[], object]
    look: Callable[[], Seen]
    ended: Callable[[], bool]


def a_job(bench: Bench) -> Claimed:
    job_id = bench.submit(Finish(5))
    claim = bench.claim_job()
    return Claimed(
        lambda context: JobExecution(claim, context),
        lambda: bench.store.lose(claim),
        lambda: bench.get(job_id),
        lambda: bench.get(job_id).status == "succeeded" and bench.steps(job_id) == [0, 1, 2, 3, 4],
    )


def a_plan(bench: Bench) -> Claimed:
    studies = StudyBench(bench)
    study_id = studies.submit(Finish(5), [[0]])
    claim = bench.claim_task()
    return Claimed(
        lambda context: PlanExecution(claim, context, as_written),
        lambda: bench.store.lose(claim),
        lambda: (studies.get(study_id), studies.runs(study_id)),
        lambda: [run.status for run in studies.runs(study_id)] == ["queued"],
    )


def a_task(bench: Bench) -> Claimed:
    studies = StudyBench(bench)
    study_id = studies.submit(Finish(5), [[0]])
    plan = bench.claim_task()
    bench.store.studies.plan(plan, there(as_written(plan.study, [])))
    claim = bench.claim_task()
    return Claimed(
        lambda context: TaskExecution(claim, context),
        lambda: bench.store.lose(claim),
        lambda: (studies.get(study_id), studies.runs(study_id)),
        lambda: [run.status for run in studies.runs(study_id)] == ["succeeded"],
    )


def a_diagnosis(bench: Bench) -> Claimed:
    job_id = bench.submit(Finish(5))
    bench.store.close(bench.claim_job(), "succeeded", "finished", outcome="converged", fields={})
    bench.ask(job_id, "final")
    claim = there(bench.store.diagnoses.claim("w", ["cpu"], 60.0))
    return Claimed(
        lambda context: DiagnosisExecution(claim, context, "cpu"),
        lambda: bench.store.diagnoses.hand_over(claim),
        lambda: bench.get(job_id),
        lambda: there(bench.get(job_id).diagnosis)["measured"]["step"] == 50,
    )


KINDS = pytest.mark.parametrize("kind", [a_job, a_plan, a_task, a_diagnosis])


@pytest.fixture
def trainer() -> Iterator[TrainerClient]:
    client = TrainerClient(command=FAKE)
    client.start()
    yield client
    client.stop()


def context_of(
    bench: Bench,
    trainer: TrainerClient,
    refuse: Callable[[str], None] = lambda call: None,
    shutdown: Shutdown | None = None,
) -> ExecutionContext:
    """What a runner would give; `refuse` is asked before each call of the store."""
    line = TrainerLine(trainer, 1, SimpleQueue())
    trainer.hear = line.mailbox.put
    return ExecutionContext(
        store=cast(RedisStore, Away(bench.store, refuse)),
        line=line,
        artifacts=open_artifacts(bench.settings.artifacts_location),
        settings=bench.settings,
        device=lambda wanted: "cpu",
        shutdown=shutdown or Shutdown(),
        cannot_write=lambda error: None,
    )


@KINDS
def test_it_comes_to_its_end(
    bench: Bench, trainer: TrainerClient, kind: Callable[[Bench], Claimed]
) -> None:
    claimed = kind(bench)
    claimed.execute(context_of(bench, trainer)).run()
    assert claimed.ended()
    assert trainer.alive


@KINDS
def test_a_store_that_is_away_is_waited_for(
    bench: Bench, trainer: TrainerClient, kind: Callable[[Bench], Claimed]
) -> None:
    claimed = kind(bench)
    calls: Counter[str] = Counter()

    def first_refused(call: str) -> None:
        calls[call] += 1
        if calls[call] == 1:
            raise StoreUnavailableError("away")

    claimed.execute(context_of(bench, trainer, first_refused)).run()
    assert claimed.ended()
    assert calls


@KINDS
def test_a_store_that_stays_away_through_a_shutdown_leaves_the_claim_as_it_is(
    bench: Bench, trainer: TrainerClient, kind: Callable[[Bench], Claimed]
) -> None:
    """Its lease expires, and another worker takes it."""
    claimed = kind(bench)
    before = claimed.look()

    def refused(call: str) -> None:
        raise StoreUnavailableError("away")

    overdue = Shutdown(deadline=time.monotonic())
    claimed.execute(context_of(bench, trainer, refused, overdue)).run()
    assert claimed.look() == before
    assert not trainer.alive


@KINDS
def test_a_claim_that_is_anothers_by_now_writes_nothing(
    bench: Bench, trainer: TrainerClient, kind: Callable[[Bench], Claimed]
) -> None:
    claimed = kind(bench)
    claimed.lose()
    before = claimed.look()
    claimed.execute(context_of(bench, trainer)).run()
    assert claimed.look() == before


@pytest.mark.parametrize(("rightly", "rows"), [(True, 5), (False, 60)])
def test_a_diagnosis_made_while_files_are_written_stands_if_the_end_is_as_was_told(
    rightly: bool, rows: int, bench: Bench, trainer: TrainerClient
) -> None:
    """Rows that came after it are seen only by a diagnosis that was made at the end."""
    told, usual = (
        bench.submit(each, diagnose="history") for each in (Foretell(rightly), Finish(rows))
    )
    for _ in range(2):
        JobExecution(bench.claim_job(), context_of(bench, trainer)).run()
    assert bench.get(told).diagnosis == bench.get(usual).diagnosis
    assert there(bench.get(told).diagnosis)["findings"]
    assert bench.get(told).result == bench.get(usual).result
    assert len(bench.steps(told)) == 60


@pytest.fixture
def studies(bench: Bench) -> StudyBench:
    return StudyBench(bench)


@pytest.fixture
def unwritable(bench: Bench) -> Iterator[Callable[[], None]]:
    """Put a file where the folder of the artifacts was; the block ends with the folder back. Yields
    what brings it back sooner."""
    folder = Path(bench.settings.artifacts)
    away = folder.with_name(f"{folder.name}-away")
    folder.rename(away)
    folder.touch()

    def back() -> None:
        if folder.is_file():
            folder.unlink()
            away.rename(folder)

    yield back
    back()


@pytest.mark.parametrize("kind", ["job", "task"])
def test_a_worker_that_cannot_write_gives_the_work_back_and_takes_no_more(
    kind: str, bench: Bench, studies: StudyBench, unwritable: Callable[[], None]
) -> None:
    fails, goes_on = Fail("disk"), Finish(3)
    if kind == "job":
        work = bench.submit(fails, resumed=goes_on, max_attempts=1)
    else:
        work = studies.submit(fails, [[0]], resumed=goes_on, max_attempts=1)
    worker = bench.worker()
    bench.until(lambda: worker.runner.unwritable is not None)
    assert "cannot be made" in there(worker.runner.unwritable)
    second = bench.submit(goes_on)
    if kind == "job":
        job = bench.until_status(work, "queued")
        assert [attempt.end for attempt in job.attempts] == ["handed_over"]
    assert bench.get(second).status == "queued"
    unwritable()
    bench.until_status(second, "succeeded")
    if kind == "job":
        assert bench.until_status(work, "succeeded").error is None
    else:
        bench.until(lambda: studies.get(work).status == "succeeded")
    assert worker.runner.unwritable is None
    assert worker.runner.takes_work


def test_another_worker_that_can_write_does_the_work_meanwhile(
    bench: Bench, tmp_path: Path, unwritable: Callable[[], None]
) -> None:
    job_id = bench.submit(Fail("disk"), resumed=Finish(3))
    worker = bench.worker()
    bench.until(lambda: worker.runner.unwritable is not None)
    bench.worker(artifacts=str(tmp_path.with_name(f"{tmp_path.name}-good")))
    bench.until_status(job_id, "succeeded")
    assert worker.runner.unwritable is not None
    assert not worker.runner.takes_work


def test_what_cannot_be_written_where_others_can_fails_as_it_did(bench: Bench) -> None:
    worker = bench.worker()
    job = bench.until_status(bench.submit(Fail("disk")), "failed")
    assert there(job.error)["code"] == "artifact_store_unavailable"
    assert worker.runner.unwritable is None
    bench.until_status(bench.submit(Finish(1)), "succeeded")
