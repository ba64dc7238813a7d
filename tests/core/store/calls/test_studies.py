"""Studies in the store: rounds of tasks, runs that end once, their rows, and the queue."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from core.errors import ConflictError
from core.store.history.layout import HistoryLayout, RunRows
from core.store.protocols.types import Claim, Idempotency, JobFilter, Layouts, NewJob
from core.store.redis import AsyncRedisStore, RedisStore
from core.studies import run_id
from tests.core.store.places import positions
from tests.core.store.study_makers import (
    LAYOUT,
    new_study,
    planned,
    round_of,
    rows,
    run_of,
    take,
)

pytestmark = pytest.mark.anyio


async def test_a_new_study_is_queued_with_its_first_plan(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    new = new_study(labels={"team": "vision"})

    created = await api.studies.create(new, None)

    assert created.study == await api.studies.get(new.id)
    assert (created.study.status, created.study.version) == ("queued", 1)
    assert await positions(api, [new.id]) == [0]
    assert worker.num_queued() == 1
    claim = take(worker)
    assert (claim.task.kind, claim.task.round, claim.attempt) == ("plan", 0, 1)
    study = await api.studies.get(new.id)
    assert claim.study.status == study.status == "running"
    assert study.started_at is not None
    assert await positions(api, [new.id]) == [None]


async def test_a_worker_is_told_how_the_histories_of_runs_were_planned_to_lie(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    new = new_study()
    await api.studies.create(new, None)
    evaluations = HistoryLayout(100, {"loss": 1, "accuracy": 1}, 4)
    layouts: list[Layouts] = [{"train": LAYOUT}, {"train": LAYOUT, "eval": evaluations}]
    claim = take(worker)
    round_ = round_of(claim.study, [0, 1])
    runs = [replace(run, layouts=found) for run, found in zip(round_.new, layouts, strict=True)]
    worker.studies.plan(claim, replace(round_, new=tuple(runs)))

    assert worker.studies.layouts(new.id, [1, 0]) == {1: layouts[1], 0: layouts[0]}


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
    assert await api.status(name) == "running"


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
