"""Removing studies from the store: nothing of one stays, however many runs it had."""

from dataclasses import replace

import pytest
import redis

from core.errors import ConflictError, NotFoundError
from core.store.history.layout import RunRows
from core.store.protocols.types import Idempotency
from core.store.redis import AsyncRedisStore, RedisStore
from tests.core.store.study_makers import LAYOUT, keys_left, new_study, planned, rows, run_of, take

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("bundled", [False, True])
async def test_nothing_of_a_deleted_study_stays(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, bundled: bool
) -> None:
    study_id = await planned(api, worker, [0, 1], [2], labels={"team": "a"})
    for _ in range(2):
        claim = take(worker)
        found = [
            RunRows(index, "train", LAYOUT, 0, rows(0, 3), bundled=bundled)
            for index in claim.task.runs
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
    assert keys_left(raw, namespace) == []


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
    assert keys_left(raw, namespace) == []


async def test_what_a_study_inherits_goes_with_it_and_passes_without_it(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    origin = {"study_id": "study_" + "1" * 26, "configuration": 4, "is_known": True}
    run = run_of(-1, status="succeeded", metric=0.5, inherited=origin, weights={"file": "x"})
    first, again = (new_study(inherited=(run,)) for _ in range(2))
    key = Idempotency("key", "body", 60)

    await api.studies.create(first, key)
    await api.studies.create(again, key)

    kept = replace(run, weights=None)
    assert await api.studies.inherited(first.id) == worker.studies.inherited(first.id) == [kept]
    names = [f"{namespace}:study:{each.id}/inherited" for each in (first, again)]
    assert raw.ttl(names[0]) == -1
    assert 0 < raw.ttl(names[1]) <= 600
    await api.studies.request_cancel(first.id)
    await api.studies.delete(first.id)
    await api.free(first.id)
    assert [name for name in keys_left(raw, namespace) if "/inherited" in name] == names[1:]
