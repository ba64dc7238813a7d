"""What nobody wants any more goes away, to the last file and key, whoever died on the way."""

import asyncio
from collections.abc import Iterator

import pytest
import redis

from core.artifacts.base import ArtifactStore, JobArtifacts
from core.artifacts.build import open_artifacts
from core.errors import ArtifactError, NotFoundError
from core.store.protocols.types import Claim
from core.store.redis import AsyncRedisStore
from tests.worker.bench import Bench, no_renewal, until
from tests.worker.scenarios import Wait
from worker.janitor import BATCH, Janitor


class Moody(ArtifactStore):
    """A store that can be away."""

    def __init__(self, behind: ArtifactStore) -> None:
        self.behind = behind
        self.away = True

    def job(self, job_id: str) -> JobArtifacts:
        if self.away:
            raise ArtifactError("the object store does not answer")
        return self.behind.job(job_id)

    def check(self) -> None: ...


def delete(bench: Bench, job_id: str) -> None:
    """As much of a delete as the API has done when it is killed in mid-call."""

    async def run() -> None:
        store = AsyncRedisStore(bench.url, bench.settings.namespace)
        await store.delete(job_id)
        await store.aclose()

    asyncio.run(run())


@pytest.fixture
def artifacts(bench: Bench) -> ArtifactStore:
    return open_artifacts(bench.settings.artifacts_location)


@pytest.fixture
def raw(bench: Bench) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(bench.url) as client:
        yield client


def ended(bench: Bench, artifacts: ArtifactStore) -> str:
    """A job that a test has run to its end, with weights."""
    job_id = bench.submit(Wait())
    claim = bench.claim_job()
    artifacts.job(job_id).write("final.safetensors", [b"weights"])
    artifacts.job(job_id).write("checkpoints/step_5.safetensors", [b"state"])
    bench.store.close(claim, "failed", "failed", outcome=None, fields={})
    return job_id


def keys_of(raw: "redis.Redis", bench: Bench, job_id: str) -> list[bytes]:
    found = list(raw.scan_iter(f"{bench.settings.namespace}:*{job_id}*"))
    for key in raw.scan_iter(f"{bench.settings.namespace}:*"):
        match raw.type(key):
            case b"zset":
                found += [key] if raw.zscore(key, job_id) is not None else []
            case b"set":
                found += [key] if raw.sismember(key, job_id) else []
            case _:
                pass
    return found


def test_a_delete_that_broke_off_is_finished_by_any_worker(
    bench: Bench, artifacts: ArtifactStore, raw: "redis.Redis"
) -> None:
    job_id = ended(bench, artifacts)
    delete(bench, job_id)
    assert artifacts.job(job_id).list()
    bench.worker()
    bench.worker()
    until(lambda: not artifacts.job(job_id).list())
    until(lambda: not keys_of(raw, bench, job_id))


def test_while_artifacts_cannot_be_deleted_the_job_waits_in_the_trash(
    bench: Bench, artifacts: ArtifactStore, raw: "redis.Redis"
) -> None:
    job_id = ended(bench, artifacts)
    delete(bench, job_id)
    moody = Moody(artifacts)
    janitor = Janitor(bench.store, moody, bench.settings)
    assert janitor.look() == 0
    assert bench.store.trashed(10) == [job_id]
    moody.away = False
    assert janitor.look() == 1
    assert artifacts.job(job_id).list() == {}
    assert keys_of(raw, bench, job_id) == []


def test_one_look_does_a_bounded_piece_of_work(bench: Bench, artifacts: ArtifactStore) -> None:
    for _ in range(BATCH + 3):
        delete(bench, ended(bench, artifacts))
    janitor = Janitor(bench.store, artifacts, bench.settings)
    assert [janitor.look(), janitor.look(), janitor.look()] == [BATCH, 3, 0]


def test_the_jobs_that_ended_last_are_kept_and_the_others_go_whole(
    bench: Bench, artifacts: ArtifactStore, raw: "redis.Redis"
) -> None:
    ids = [ended(bench, artifacts) for _ in range(4)]
    bench.worker(retention_count=1)
    running = bench.submit(Wait())
    until(lambda: not any(keys_of(raw, bench, job_id) for job_id in ids[:3]))
    for job_id in ids[:3]:
        assert artifacts.job(job_id).list() == {}
        with pytest.raises(NotFoundError):
            bench.get(job_id)
    bench.until_status(running, "running")
    assert bench.get(ids[3]).status == "failed"
    assert len(artifacts.job(ids[3]).list()) == 2


def test_old_jobs_go_and_young_ones_stay(
    bench: Bench, artifacts: ArtifactStore, raw: "redis.Redis"
) -> None:
    old, young = ended(bench, artifacts), ended(bench, artifacts)
    raw.zincrby(f"{bench.settings.namespace}:finished", -100_000, old)
    bench.worker(retention_age_s=50.0)
    until(lambda: not keys_of(raw, bench, old) and not artifacts.job(old).list())
    assert bench.get(young).status == "failed"


def test_nothing_goes_unless_the_operator_says_so(bench: Bench, artifacts: ArtifactStore) -> None:
    job_id = ended(bench, artifacts)
    assert Janitor(bench.store, artifacts, bench.settings).look() == 0
    assert bench.get(job_id).status == "failed"


def test_what_a_stale_attempt_wrote_after_the_delete_goes_when_it_notices(
    bench: Bench, artifacts: ArtifactStore
) -> None:
    worker = bench.worker()
    job_id = bench.submit(Wait(), max_attempts=1)
    bench.until_status(job_id, "running")
    worker.janitor.stop()  # only the attempt itself can do it
    with no_renewal(bench):
        bench.store.lose(Claim(bench.get(job_id), token=1, attempt=1))
        artifacts.job(job_id).write("final.safetensors", [b"too late"])
        delete(bench, job_id)
        bench.store.free(job_id)
    until(lambda: not artifacts.job(job_id).list())
