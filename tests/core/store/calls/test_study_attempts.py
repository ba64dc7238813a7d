"""Attempts at tasks: stale ones, lost workers, hand-overs and answers that were lost."""

import pytest
import redis

from core.errors import StaleAttemptError
from core.store.history.layout import RunRows
from core.store.redis import AsyncRedisStore, RedisStore
from core.studies import run_id
from tests.core.store.study_makers import LAYOUT, new_study, planned, round_of, rows, run_of, take

pytestmark = pytest.mark.anyio


async def test_a_stale_attempt_writes_nothing(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    study_id = await planned(api, worker, [0])
    stale = take(worker, "frozen")
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


async def test_the_runs_of_a_claimed_task_are_running_until_its_worker_is_gone(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    study_id = await planned(api, worker, [0, 1], [2])

    async def statuses() -> list[str]:
        return [run.status for run in await api.studies.runs(study_id)]

    assert await statuses() == ["queued", "queued", "queued"]
    first = take(worker)
    assert await statuses() == ["running", "running", "queued"]
    assert (await api.studies.get(study_id)).counts["running"] == 2
    worker.studies.write(first, runs=[run_of(0, status="succeeded", outcome="converged")])

    worker.hand_over(first)

    assert await statuses() == ["succeeded", "queued", "queued"]
    assert take(worker).task == first.task
    assert await statuses() == ["succeeded", "running", "queued"]
    assert (await api.studies.get(study_id)).counts["running"] == 1


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
