"""Studies in the store: rounds of tasks, runs that end once, cancels, losses and removal."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import redis

from core.errors import ConflictError, NotFoundError, StaleAttemptError
from core.names import new_id, rfc3339, utc_now
from core.store.base import Claim, Idempotency, JobFilter, NewJob
from core.store.layout import Columns, HistoryLayout
from core.store.redis import AsyncRedisStore, RedisStore
from core.store.studies_base import NewRun, NewStudy, Round, RunRows, TaskClaim
from core.studies import RunRecord, StudyRecord, TaskRecord, run_id

pytestmark = pytest.mark.anyio
LAYOUT = HistoryLayout(1, {"loss": 1, "lr": 1, "grad_norm": 1}, 100)


def new_study(**changes: Any) -> NewStudy:
    fields: dict[str, Any] = {
        "id": new_id("study"),
        "spec": {"base": {}, "sweep": {"optimizer.lr": {"values": [0.1, 0.2]}}},
        "labels": {},
        "created_at": rfc3339(utc_now()),
        "priority": 5,
        "max_attempts": 3,
        "device": "auto",
        "num_runs": 4,
        "max_updates": 400,
    }
    return NewStudy(**{**fields, **changes})


def run_of(index: int, **changes: Any) -> RunRecord:
    return replace(RunRecord(index, index, 0, 7, {"optimizer.lr": 0.1 * index}), **changes)


def round_of(study: StudyRecord, *groups: Sequence[int], number: int = 0) -> Round:
    """A round that plans these runs anew and puts each group into a task."""
    return Round(
        tuple(
            TaskRecord(study.id, number, place + 1, "train", tuple(group))
            for place, group in enumerate(groups)
        ),
        tuple(NewRun(run_of(index), {"train": LAYOUT}) for group in groups for index in group),
    )


def take(worker: RedisStore, name: str = "w") -> TaskClaim:
    claim = worker.claim_next(name, ["cpu"], 60.0)
    assert isinstance(claim, TaskClaim)
    return claim


def rows(first: int, count: int) -> Columns:
    numbers = np.arange(first, first + count, dtype=np.float64)
    return {"step": numbers, "loss": numbers + 0.5, "lr": numbers, "grad_norm": -numbers}


async def planned(
    api: AsyncRedisStore, worker: RedisStore, *groups: Sequence[int], **changes: Any
) -> str:
    """A study whose first plan is done: its tasks train these runs."""
    new = new_study(**changes)
    await api.studies.create(new, None)
    claim = take(worker)
    assert claim.task.kind == "plan"
    worker.studies.plan(claim, round_of(claim.study, *groups))
    return new.id


async def test_a_new_study_is_queued_with_its_first_plan(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    new = new_study(labels={"team": "vision"})

    created = await api.studies.create(new, None)

    assert created.study == await api.studies.get(new.id)
    assert (created.study.status, created.study.version) == ("queued", 1)
    assert await api.queue_position(new.id) == 0
    assert worker.num_queued() == 1
    claim = take(worker)
    assert (claim.task.kind, claim.task.round, claim.attempt) == ("plan", 0, 1)
    study = await api.studies.get(new.id)
    assert claim.study.status == study.status == "running"
    assert study.started_at is not None
    assert await api.queue_position(new.id) is None


async def test_a_round_ends_with_its_last_task_and_the_next_plan_follows(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    study_id = await planned(api, worker, [0, 1], [2, 3])
    first, second = take(worker, "a"), take(worker, "b")
    assert [first.task.runs, second.task.runs] == [(0, 1), (2, 3)]
    ended = [
        run_of(index, status="succeeded", outcome="converged", metric=0.1) for index in range(4)
    ]

    worker.studies.close(first, "succeeded", "finished", runs=ended[:2])
    assert worker.claim_next("a", ["cpu"], 60.0) is None
    status = worker.studies.close(second, "succeeded", "finished", runs=ended[2:], num_updates=50)

    assert status == "running"
    plan = take(worker)
    assert (plan.task.kind, plan.task.round, plan.study.round) == ("plan", 1, 1)
    assert worker.studies.finish(plan, "succeeded", {"result": {"best": 2}}) == "succeeded"
    study = await api.studies.get(study_id)
    assert (study.status, study.result, study.num_updates) == ("succeeded", {"best": 2}, 50)
    assert study.counts["succeeded"] == 4
    assert study.finished_at is not None
    assert await api.studies.runs(study_id) == ended
    assert worker.num_queued() == 0


async def test_the_counts_follow_the_runs_and_what_has_ended_stays(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    study_id = await planned(api, worker, [0, 1, 2])
    claim = take(worker)
    running = [run_of(index, status="running") for index in range(3)]
    worker.studies.write(claim, runs=running, device="cpu")
    diverged = run_of(0, status="succeeded", outcome="diverged", result={"final_loss": math.inf})
    failed = run_of(1, status="failed", error={"code": "out_of_memory"})

    for _ in range(2):  # an answer may be lost, and the call made again
        worker.studies.write(claim, runs=[diverged, failed], num_updates=30)
    worker.studies.write(claim, runs=[run_of(0, status="running")], num_updates=20)

    study = await api.studies.get(study_id)
    assert study.counts == {
        "queued": 0, "running": 1, "succeeded": 1, "failed": 1, "cancelled": 0, "diverged": 1,
    }  # fmt: skip
    assert study.num_updates == 20
    assert await api.studies.runs(study_id, [0, 1]) == [diverged, failed]
    # What is known later than a run's end may still be written, and counts nothing twice.
    weights = {"file": "weights/0_1.safetensors", "row": 0, "steps": {"initial": 0, "final": 9}}
    worker.studies.write(claim, runs=[replace(diverged, weights=weights)])
    assert (await api.studies.runs(study_id, [0]))[0].weights == weights
    assert (await api.studies.get(study_id)).counts == study.counts


async def test_rows_of_a_run_lie_under_its_name(api: AsyncRedisStore, worker: RedisStore) -> None:
    study_id = await planned(api, worker, [0, 1])
    claim = take(worker)

    worker.studies.write(
        claim,
        rows=[
            RunRows(0, "train", LAYOUT, 0, rows(0, 10)),
            RunRows(1, "train", LAYOUT, 0, rows(0, 4)),
            RunRows(0, "train", LAYOUT, 10, rows(10, 5)),
        ],
    )
    worker.studies.write(claim, rows=[RunRows(0, "train", LAYOUT, 12, rows(12, 1), truncate=True)])

    name = run_id(study_id, 0)
    meta = await api.history_meta(name, "train")
    assert (meta.num_rows, meta.last_step) == (13, 12)
    found = await api.history_rows(name, "train", meta, ("step", "loss"), 3, 2)
    assert found["loss"].tolist() == [3.5, 4.5]
    assert worker.read_columns(run_id(study_id, 1), "train")["step"].tolist() == [0, 1, 2, 3]
    assert worker.studies.num_rows(study_id, [0, 1]) == {
        0: {"train": 13, "eval": 0},
        1: {"train": 4, "eval": 0},
    }
    assert await api.status(name) == "queued"


async def test_a_stale_attempt_writes_nothing(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    study_id = await planned(api, worker, [0])
    stale = take(worker, "frozen")
    worker.studies.write(stale, runs=[run_of(0, status="running")])
    raw.zadd(f"{namespace}:leases", {stale.task.id: 1}, xx=True)
    assert worker.reap() == [stale.task.id]
    (run,) = await api.studies.runs(study_id)
    assert run.status == "queued"
    second = take(worker, "other")
    assert (second.attempt, second.task) == (2, stale.task)

    for write in (
        lambda: worker.studies.write(stale, runs=[run_of(0, status="failed")]),
        lambda: worker.studies.write(stale, rows=[RunRows(0, "train", LAYOUT, 0, rows(0, 1))]),
        lambda: worker.studies.close(stale, "succeeded", "finished"),
        lambda: worker.renew(stale, 60.0),
        lambda: worker.hand_over(stale),
    ):
        with pytest.raises(StaleAttemptError):
            write()

    assert (await api.history_meta(run_id(study_id, 0), "train")).num_rows == 0
    assert worker.renew(second, 60.0) == "running"


async def test_a_task_that_kills_its_workers_fails_its_runs_and_the_study_goes_on(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    study_id = await planned(api, worker, [0, 1], max_attempts=2)
    first = take(worker)
    worker.studies.write(first, runs=[run_of(0, status="succeeded", outcome="converged")])
    worker.lose(first)
    second = take(worker)

    worker.lose(second)

    done, lost = await api.studies.runs(study_id)
    assert (done.status, lost.status) == ("succeeded", "failed")
    assert lost.error is not None
    assert lost.error["code"] == "worker_lost"
    assert take(worker).task.round == 1


async def test_a_plan_that_kills_its_workers_fails_the_study(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    new = new_study(max_attempts=1)
    await api.studies.create(new, None)

    worker.lose(take(worker))

    study = await api.studies.get(new.id)
    assert study.status == "failed"
    assert study.error is not None
    assert study.error["code"] == "worker_lost"


async def test_a_task_that_is_handed_over_costs_no_attempt(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    await planned(api, worker, [0], max_attempts=1)
    for _ in range(3):
        worker.hand_over(take(worker))

    assert take(worker).attempt == 4


async def test_a_queued_study_is_cancelled_at_once(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    new = new_study()
    await api.studies.create(new, None)

    study = await api.studies.request_cancel(new.id)

    assert (study.status, study.cancel_requested_at is None) == ("cancelled", False)
    assert worker.claim_next("w", ["cpu"], 60.0) is None
    assert worker.num_queued() == 0
    again = await api.studies.request_cancel(new.id)
    assert again == study


async def test_a_cancel_ends_what_waits_and_asks_what_trains(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    study_id = await planned(api, worker, [0, 1], [2, 3])
    claim = take(worker)
    worker.studies.write(claim, runs=[run_of(0, status="running"), run_of(1, status="running")])

    study = await api.studies.request_cancel(study_id)

    assert study.status == "cancelling"
    statuses = [run.status for run in await api.studies.runs(study_id)]
    assert statuses == ["running", "running", "cancelled", "cancelled"]
    assert worker.renew(claim, 60.0) == "cancelling"
    kept = run_of(0, status="cancelled", result={"num_steps": 5})
    assert worker.studies.close(claim, "cancelled", "cancelled", runs=[kept]) == "cancelled"
    study = await api.studies.get(study_id)
    assert (study.status, study.counts["cancelled"]) == ("cancelled", 4)
    assert (await api.studies.runs(study_id))[0] == kept
    assert worker.claim_next("w", ["cpu"], 60.0) is None


async def test_a_cancel_beats_the_plan_in_hand(api: AsyncRedisStore, worker: RedisStore) -> None:
    for act in ("plan", "finish"):
        new = new_study()
        await api.studies.create(new, None)
        claim = take(worker)
        await api.studies.request_cancel(new.id)

        if act == "plan":
            worker.studies.plan(claim, round_of(claim.study, [0]))
        else:
            assert worker.studies.finish(claim, "succeeded", {}) == "cancelled"

        assert (await api.studies.get(new.id)).status == "cancelled"
        assert worker.claim_next("w", ["cpu"], 60.0) is None


async def test_calls_whose_answer_was_lost_may_be_repeated(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    new = new_study()
    await api.studies.create(new, None)
    plan = take(worker)
    for _ in range(2):
        worker.studies.plan(plan, round_of(plan.study, [0]))
    task = take(worker)
    ended = run_of(0, status="succeeded", outcome="stalled")
    for _ in range(2):
        worker.studies.close(task, "succeeded", "finished", runs=[ended])
    last = take(worker)
    for _ in range(2):
        assert worker.studies.finish(last, "succeeded", {"result": {}}) == "succeeded"

    study = await api.studies.get(new.id)
    assert (study.status, study.round, study.counts["succeeded"]) == ("succeeded", 1, 1)
    assert worker.num_queued() == 0


async def test_jobs_and_tasks_stand_in_one_queue_by_priority_and_age(
    api: AsyncRedisStore, worker: RedisStore, new_job: Callable[..., NewJob]
) -> None:
    first, study = new_job(), new_study()
    await api.create(first, None)
    await api.studies.create(study, None)
    later, urgent = new_job(), new_job(priority=9)
    await api.create(later, None)
    await api.create(urgent, None)

    names = []
    for _ in range(4):
        claim = worker.claim_next("w", ["cpu"], 60.0)
        assert claim is not None
        names.append(claim.job.id if isinstance(claim, Claim) else claim.study.id)

    assert names == [urgent.id, first.id, study.id, later.id]


async def test_studies_are_listed_apart_from_jobs(
    api: AsyncRedisStore, worker: RedisStore, new_job: Callable[..., NewJob]
) -> None:
    await api.create(new_job(labels={"team": "a"}), None)
    studies = [new_study(labels={"team": "a"}), new_study(), new_study(labels={"team": "a"})]
    for study in studies:
        await api.studies.create(study, None)
    await api.studies.request_cancel(studies[0].id)

    async def listed(**where: Any) -> list[str]:
        page = await api.studies.list(JobFilter(**where), 10, None)
        return [study.id for study in page.studies]

    ids = [study.id for study in studies]
    assert await listed() == ids[::-1]
    assert await listed(labels=(("team", "a"),)) == [ids[2], ids[0]]
    assert await listed(statuses=("cancelled",)) == [ids[0]]
    assert len((await api.list(JobFilter(), 10, None)).jobs) == 1
    page = await api.studies.list(JobFilter(), 2, None)
    assert page.has_more
    rest = await api.studies.list(JobFilter(), 2, page.studies[-1].id)
    assert ([study.id for study in rest.studies], rest.has_more) == ([ids[0]], False)


async def test_a_key_makes_one_study_and_is_no_jobs_key(
    api: AsyncRedisStore, new_job: Callable[..., NewJob]
) -> None:
    key = Idempotency("again", "body", 60)
    await api.create(new_job(), Idempotency("again", "a job's body", 60))
    first = await api.studies.create(new_study(), key)

    second = await api.studies.create(new_study(), key)

    assert (first.replayed, second.replayed) == (False, True)
    assert second.study == first.study
    with pytest.raises(ConflictError):
        await api.studies.create(new_study(), Idempotency("again", "other", 60))


@pytest.mark.parametrize("whole", [False, True])
async def test_nothing_of_a_deleted_study_stays(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, whole: bool
) -> None:
    study_id = await planned(api, worker, [0, 1], [2], labels={"team": "a"})
    for _ in range(2):
        claim = take(worker)
        found = [
            RunRows(index, "train", LAYOUT, 0, rows(0, 3), whole=whole) for index in claim.task.runs
        ]
        ended = [run_of(i, status="succeeded", outcome="stalled") for i in claim.task.runs]
        worker.studies.close(claim, "succeeded", "finished", rows=found, runs=ended)
    with pytest.raises(ConflictError):
        await api.studies.delete(study_id)
    worker.studies.finish(take(worker), "succeeded", {})

    await api.studies.delete(study_id)

    assert worker.trashed(10) == [study_id]
    with pytest.raises(NotFoundError):
        await api.studies.get(study_id)
    await api.free(study_id)
    worker.free(study_id)
    assert [key.decode() for key in raw.scan_iter(f"{namespace}:*")] == []


async def test_the_retention_takes_studies_too(api: AsyncRedisStore, worker: RedisStore) -> None:
    new = new_study()
    await api.studies.create(new, None)
    await api.studies.request_cancel(new.id)

    assert worker.expire(None, 0, 10) == [new.id]

    assert worker.trashed(10) == [new.id]


async def test_a_study_of_ten_thousand_runs_is_planned_and_freed(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    study_id = await planned(api, worker, *(range(i, i + 100) for i in range(0, 10_000, 100)))

    runs = await api.studies.runs(study_id)

    assert [run.index for run in runs] == list(range(10_000))
    await api.studies.request_cancel(study_id)
    assert (await api.studies.get(study_id)).counts["cancelled"] == 10_000
    await api.studies.delete(study_id)
    await api.free(study_id)
    assert [key.decode() for key in raw.scan_iter(f"{namespace}:*")] == []
