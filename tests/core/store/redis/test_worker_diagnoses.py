"""Diagnoses asked for after a job's end: durable, leased, given back by the reaper."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from core.errors import ConflictError, NotFoundError, StaleAttemptError
from core.store.protocols.types import DiagnosisClaim
from core.store.redis import AsyncRedisStore, RedisStore

pytestmark = pytest.mark.anyio
BringTo = Callable[..., Any]
FOUND = {"verdict": "converged", "confidence": 0.9, "findings": [], "remedies": []}


@pytest.fixture
async def job_id(bring_to: BringTo) -> str:
    found: str = (await bring_to("succeeded"))[0]
    return found


def claim(worker: RedisStore, lease_s: float = 60.0) -> DiagnosisClaim:
    claimed = worker.diagnoses.claim("w", ["cpu"], lease_s)
    assert claimed is not None
    return claimed


def expire(raw: redis.Redis, namespace: str, job_id: str) -> None:
    """Let the lease have run out, without waiting for it."""
    assert raw.zadd(f"{namespace}:diagnosis:leases", {job_id: 1}, xx=True, ch=True) == 1


async def test_what_was_asked_for_is_claimed_once_and_its_answer_kept(
    api: AsyncRedisStore, worker: RedisStore, job_id: str
) -> None:
    version = await api.version(job_id)
    assert not worker.requests_wait()
    await api.request_diagnosis(job_id, "best")
    assert worker.num_queued() == 1
    assert worker.requests_wait()
    held = claim(worker)
    assert not worker.requests_wait()
    assert (held.job.id, held.checkpoint, held.job.status) == (job_id, "best", "succeeded")
    assert worker.diagnoses.claim("w", ["cpu"], 60.0) is None
    assert worker.num_queued() == 0
    assert (await api.get(job_id)).asked_diagnosis == "best"
    worker.diagnoses.renew(held, 60.0)
    worker.diagnoses.finish(held, FOUND)
    job = await api.get(job_id)
    assert job.diagnosis == FOUND
    assert job.asked_diagnosis is None
    assert job.status == "succeeded"
    assert job.version > version


async def test_the_oldest_comes_first(
    api: AsyncRedisStore,
    worker: RedisStore,
    bring_to: BringTo,
    raw: redis.Redis,
    namespace: str,
) -> None:
    ids = [(await bring_to("succeeded"))[0] for _ in range(3)]
    for age, job_id in enumerate(ids):
        await api.request_diagnosis(job_id, "final")
        raw.zadd(f"{namespace}:diagnoses", {job_id: 1000 - age})
    assert [claim(worker).job.id for _ in ids] == ids[::-1]


async def test_asking_again_changes_nothing_and_asking_for_another_is_a_conflict(
    api: AsyncRedisStore, worker: RedisStore, job_id: str
) -> None:
    await api.request_diagnosis(job_id, "final")
    await api.request_diagnosis(job_id, "final")
    held = claim(worker)
    await api.request_diagnosis(job_id, "final")
    assert worker.diagnoses.claim("w", ["cpu"], 60.0) is None
    with pytest.raises(ConflictError, match="final") as refused:
        await api.request_diagnosis(job_id, "best")
    assert refused.value.conflict_code == "diagnosis_pending"
    worker.diagnoses.finish(held, FOUND)
    await api.request_diagnosis(job_id, "best")
    assert claim(worker).checkpoint == "best"


@pytest.mark.parametrize("status", ["queued", "running", "cancelling"])
async def test_a_job_that_has_not_ended_is_a_conflict(
    api: AsyncRedisStore, worker: RedisStore, bring_to: BringTo, status: str
) -> None:
    job_id, _ = await bring_to(status)
    with pytest.raises(ConflictError) as refused:
        await api.request_diagnosis(job_id, "final")
    assert refused.value.conflict_code == "not_terminal"
    assert worker.diagnoses.claim("w", ["cpu"], 60.0) is None


async def test_a_job_that_is_not_there_is_not_found(api: AsyncRedisStore) -> None:
    with pytest.raises(NotFoundError):
        await api.request_diagnosis("job_00000000000000000000000000", "final")


async def test_a_dead_workers_diagnosis_is_claimed_by_another_and_fenced(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, job_id: str
) -> None:
    await api.request_diagnosis(job_id, "final")
    dead = claim(worker)
    expire(raw, namespace, job_id)
    assert worker.reap() == []  # no job was lost
    assert worker.num_queued() == 1
    with pytest.raises(StaleAttemptError):
        worker.diagnoses.renew(dead, 60.0)
    with pytest.raises(StaleAttemptError):
        worker.diagnoses.finish(dead, FOUND)
    held = claim(worker)
    with pytest.raises(StaleAttemptError):
        worker.diagnoses.finish(dead, FOUND)
    worker.diagnoses.finish(held, FOUND)
    assert (await api.get(job_id)).diagnosis == FOUND


async def test_it_is_given_up_when_its_workers_keep_dying(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, job_id: str
) -> None:
    await api.request_diagnosis(job_id, "final")
    for _ in range(3):
        claim(worker)
        expire(raw, namespace, job_id)
        worker.reap()
    assert worker.diagnoses.claim("w", ["cpu"], 60.0) is None
    job = await api.get(job_id)
    assert job.asked_diagnosis is None
    assert job.failed_diagnosis is not None
    assert "died" in job.failed_diagnosis
    await api.request_diagnosis(job_id, "final")
    held = claim(worker)
    assert (await api.get(job_id)).failed_diagnosis is None
    worker.diagnoses.finish(held, FOUND)


async def test_a_worker_may_leave_it_to_another(
    api: AsyncRedisStore, worker: RedisStore, job_id: str
) -> None:
    await api.request_diagnosis(job_id, "final")
    first = claim(worker)
    worker.diagnoses.hand_over(first)
    assert claim(worker).token == first.token + 1
    with pytest.raises(StaleAttemptError):
        worker.diagnoses.hand_over(first)


async def test_one_that_fails_leaves_the_diagnosis_that_there_was(
    api: AsyncRedisStore, worker: RedisStore, job_id: str
) -> None:
    await api.request_diagnosis(job_id, "final")
    worker.diagnoses.finish(claim(worker), FOUND)
    await api.request_diagnosis(job_id, "best")
    worker.diagnoses.fail(claim(worker), "The weights are gone.")
    job = await api.get(job_id)
    assert (job.diagnosis, job.failed_diagnosis) == (FOUND, "The weights are gone.")


async def test_a_deleted_job_takes_what_was_asked_with_it(
    api: AsyncRedisStore,
    worker: RedisStore,
    bring_to: BringTo,
    raw: redis.Redis,
    namespace: str,
    job_id: str,
) -> None:
    other, _ = await bring_to("failed")
    await api.request_diagnosis(job_id, "final")
    held = claim(worker)
    await api.request_diagnosis(other, "final")
    await api.delete(job_id)
    await api.delete(other)
    with pytest.raises(StaleAttemptError):
        worker.diagnoses.finish(held, FOUND)
    assert worker.diagnoses.claim("w", ["cpu"], 60.0) is None
    worker.reap()
    assert not raw.exists(f"{namespace}:job:{job_id}", f"{namespace}:job:{other}")
