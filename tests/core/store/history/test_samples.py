"""Samples of a job's process in the store."""

import math
from collections.abc import Callable

import pytest
import redis

from core.errors import StaleAttemptError
from core.store.history.samples import SERIES
from core.store.protocols.types import NewJob
from core.store.redis import AsyncRedisStore, RedisStore
from tests.core.store.history.test_times import claimed

pytestmark = pytest.mark.anyio


def row(seconds: float) -> list[float | None]:
    return [seconds, 50.0, 2.0**30, None, None]


async def test_the_last_two_thousand_are_kept(
    api: AsyncRedisStore, worker: RedisStore, new_job: Callable[..., NewJob]
) -> None:
    claim = await claimed(api, worker, new_job)
    for first in range(0, 2_100, 300):
        worker.update(claim, {}, samples=[row(5.0 * at) for at in range(first, first + 300)])
    found = await api.samples(claim.job.id)
    assert tuple(found) == SERIES
    assert found["time_s"].tolist() == [5.0 * at for at in range(100, 2_100)]
    assert set(found["memory_bytes"].tolist()) == {2.0**30}
    assert all(map(math.isnan, found["device_percent"]))


async def test_those_of_a_lost_attempt_go_where_the_next_one_goes_on(
    api: AsyncRedisStore, worker: RedisStore, new_job: Callable[..., NewJob]
) -> None:
    claim = await claimed(api, worker, new_job)
    worker.update(claim, {}, samples=[row(5), row(10), row(15)])
    worker.update(claim, {}, samples=[row(15)])  # the same again
    worker.lose(claim)
    again = worker.claim_next("w", ["cpu"], 60.0)
    assert again is not None
    with pytest.raises(StaleAttemptError):
        worker.update(claim, {}, samples=[row(20)])
    worker.update(again, {}, samples=[row(12)])  # type: ignore[arg-type]
    assert (await api.samples(claim.job.id))["time_s"].tolist() == [5, 10, 12]


async def test_they_go_with_their_job(
    api: AsyncRedisStore,
    worker: RedisStore,
    new_job: Callable[..., NewJob],
    raw: redis.Redis,
    namespace: str,
) -> None:
    claim = await claimed(api, worker, new_job)
    worker.update(claim, {}, samples=[row(5)])
    worker.close(claim, "succeeded", "finished", outcome="converged", fields={})
    await api.delete(claim.job.id)
    await api.free(claim.job.id)
    assert raw.keys(f"{namespace}:*{claim.job.id}*") == []
    assert (await api.samples(claim.job.id))["time_s"].tolist() == []
