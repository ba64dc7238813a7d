"""The server goes away, comes back, or refuses writes."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import redis

from core.errors import StoreUnavailableError
from core.store.connection.client import unavailable
from core.store.history.layout import HistoryLayout
from core.store.protocols.api import ApiStore
from core.store.protocols.types import Claim, JobFilter, NewJob
from core.store.protocols.worker import WorkerStore
from core.store.redis import AsyncRedisStore, RedisStore
from thalweg_service.embedded_redis import EmbeddedServer

pytestmark = pytest.mark.anyio
NewJobs = Callable[..., NewJob]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """One of the test's own, durable as in service."""
    with EmbeddedServer(tmp_path) as started:
        yield started


def kill(server: EmbeddedServer) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)


async def test_what_was_acknowledged_survives_a_kill(
    server: EmbeddedServer, new_job: NewJobs
) -> None:
    api, worker = AsyncRedisStore(server.url, "n"), RedisStore(server.url, "n")
    layout = HistoryLayout(1, {"loss": 1}, None)
    jobs = [new_job(layouts={"train": layout}) for _ in range(20)]
    for job in jobs:
        await api.create(job, None)
    claim = worker.claim_next("w", ["cpu"], 60)
    assert isinstance(claim, Claim)
    loss = np.linspace(3, 1, 20_000)
    worker.append_rows(claim, "train", 0, {"step": np.arange(20_000.0), "loss": loss})
    await api.aclose()
    kill(server)

    server.start()

    assert len((await api.list(JobFilter(), 100, None)).jobs) == 20
    assert worker.renew(claim, 60) == "running"
    assert worker.read_columns(claim.job.id, "train")["loss"].tobytes() == loss.tobytes()
    assert worker.num_queued() == 19
    await api.aclose()
    worker.disconnect()


async def test_a_server_that_is_away_is_said_to_be_and_found_again(
    server: EmbeddedServer, new_job: NewJobs
) -> None:
    api, worker = AsyncRedisStore(server.url, "n"), RedisStore(server.url, "n")
    job = (await api.create(new_job(), None)).job
    claim = worker.claim_next("w", ["cpu"], 60)
    assert isinstance(claim, Claim)
    kill(server)

    with pytest.raises(StoreUnavailableError, match="cannot be reached") as away:
        await api.get(job.id)
    assert str(server.socket) not in str(away.value)
    with pytest.raises(StoreUnavailableError):
        await api.create(new_job(), None)
    with pytest.raises(StoreUnavailableError):
        await api.list(JobFilter(), 10, None)
    with pytest.raises(StoreUnavailableError):
        worker.renew(claim, 60)
    with pytest.raises(StoreUnavailableError):
        worker.update(claim, {"phase": "training"})
    with pytest.raises(StoreUnavailableError):
        worker.claim_next("w", ["cpu"], 60)
    server.start()

    assert (await api.get(job.id)).id == job.id
    worker.update(claim, {"phase": "training"})  # its script is not known to the new server
    assert (await api.get(job.id)).phase == "training"
    await api.aclose()
    worker.disconnect()


async def test_of_all_changes_only_ends_and_removals_are_told(
    server: EmbeddedServer, new_job: NewJobs
) -> None:
    api, worker = AsyncRedisStore(server.url, "n"), RedisStore(server.url, "n")
    ends = api.ends()
    assert await anext(ends) == ""
    job = (await api.create(new_job(), None)).job
    claim = worker.claim_next("w", ["cpu"], 60)
    assert isinstance(claim, Claim)
    worker.update(claim, {"phase": "training"})
    worker.close(claim, "succeeded", "finished", outcome="converged", fields={})
    await api.delete(job.id)
    last = (await api.create(new_job(), None)).job
    await api.request_cancel(last.id)
    heard = [await anext(ends) for _ in range(3)]
    assert heard == [job.id, job.id, last.id]
    await ends.aclose()  # type: ignore[attr-defined]
    await api.aclose()
    worker.disconnect()


async def test_the_ends_of_jobs_are_heard_across_a_restart(
    server: EmbeddedServer, new_job: NewJobs
) -> None:
    api = AsyncRedisStore(server.url, "n")
    ends = api.ends()
    assert await anext(ends) == ""
    first = (await api.create(new_job(), None)).job
    await api.request_cancel(first.id)
    assert await anext(ends) == first.id

    kill(server)
    server.start()

    assert await anext(ends) == ""
    second = (await api.create(new_job(), None)).job
    await api.request_cancel(second.id)
    assert await anext(ends) == second.id
    await ends.aclose()  # type: ignore[attr-defined]
    await api.aclose()


async def test_a_subscription_to_a_silent_server_stays_and_to_a_stuck_one_is_made_again(
    server: EmbeddedServer, new_job: NewJobs, caplog: pytest.LogCaptureFixture
) -> None:
    api = AsyncRedisStore(server.url, "n")
    ends = api.ends(idle_ping_s=0.3)
    assert await anext(ends) == ""
    heard = asyncio.ensure_future(anext(ends))
    with redis.Redis.from_url(server.url) as admin:
        while pings(admin) < 3:  # each of them answered, or it would subscribe again
            await asyncio.wait([heard], timeout=0.02)
    assert not heard.done()

    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(60):
            while "subscribing again" not in caplog.text:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert await heard == ""
    job = (await api.create(new_job(), None)).job
    await api.request_cancel(job.id)
    assert await anext(ends) == job.id
    await ends.aclose()  # type: ignore[attr-defined]
    await api.aclose()


def pings(admin: redis.Redis) -> int:
    stats = admin.info("commandstats")
    return int(stats["cmdstat_ping"]["calls"])


async def test_a_server_without_memory_refuses_and_loses_nothing(
    server: EmbeddedServer, new_job: NewJobs
) -> None:
    api = AsyncRedisStore(server.url, "n")
    job = (await api.create(new_job(), None)).job
    with redis.Redis.from_url(server.url) as admin:
        admin.config_set("maxmemory", 1)
        with pytest.raises(StoreUnavailableError, match="out of memory"):
            await api.create(new_job(), None)
        with pytest.raises(StoreUnavailableError, match="out of memory"):
            await api.request_cancel(job.id)
        assert (await api.get(job.id)).status == "queued"
        admin.config_set("maxmemory", 0)
    assert (await api.request_cancel(job.id)).status == "cancelled"
    await api.aclose()


async def test_a_replica_is_named_as_the_cause(server: EmbeddedServer, new_job: NewJobs) -> None:
    api, worker = AsyncRedisStore(server.url, "n"), RedisStore(server.url, "n")
    await api.create(new_job(), None)
    with redis.Redis.from_url(server.url) as admin:
        admin.replicaof("127.0.0.1", "1")
        with pytest.raises(StoreUnavailableError, match="read-only replica"):
            await api.create(new_job(), None)
        with pytest.raises(StoreUnavailableError, match="read-only replica"):
            worker.claim_next("w", ["cpu"], 60)
        with pytest.raises(StoreUnavailableError, match="read-only replica"):
            await api.check_writes()
        admin.replicaof("NO", "ONE")
        await api.check_writes()
        admin.config_set("maxmemory", "1")
        await api.check_writes()
    await api.aclose()
    worker.disconnect()


async def test_a_user_that_may_only_read_is_named_as_the_cause(server: EmbeddedServer) -> None:
    with redis.Redis.from_url(server.url) as admin:
        rights = "on >secret ~* +@read +@connection +@scripting -@write"
        admin.execute_command("ACL", "SETUSER", "reader", *rights.split())
    api = AsyncRedisStore(server.url.replace("unix://", "unix://reader:secret@"), "n")
    with pytest.raises(StoreUnavailableError, match="forbids its user a command"):
        await api.check_writes()
    await api.aclose()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (redis.TimeoutError("Timeout reading from socket"), "did not answer within 5 s"),
        (redis.BusyLoadingError("Redis is loading"), "loading"),
        (redis.AuthenticationError("invalid password"), "credentials"),
        (redis.ResponseError("MISCONF Errors writing to the AOF file"), "disk"),
        (redis.ResponseError("ERR Error running script: @user_script: 1: -OOM command"), "memory"),
        (
            redis.ResponseError("DENIED Redis is running in protected mode because"),
            "protected mode",
        ),
        (redis.ResponseError("NOPERM User reader has no permissions to run"), "forbids its user"),
        (redis.MaxConnectionsError("Too many connections"), "cannot be reached"),
        (ConnectionResetError(), "cannot be reached"),
    ],
)
def test_the_cause_is_said_in_words(error: Exception, says: str) -> None:
    assert says in str(unavailable(error))


def test_a_fault_of_ours_is_not_blamed_on_the_server() -> None:
    assert unavailable(redis.ResponseError("WRONGTYPE Operation against a key")) is None


async def test_a_store_connects_only_when_it_is_used(new_job: NewJobs) -> None:
    api: ApiStore = AsyncRedisStore("unix:///nowhere/redis.sock", "n")
    worker: WorkerStore = RedisStore("unix:///nowhere/redis.sock", "n")
    await api.aclose()
    worker.disconnect()
    with pytest.raises(StoreUnavailableError):
        await api.workers()
    with pytest.raises(StoreUnavailableError):
        worker.ping()
    await api.aclose()


def test_a_worker_store_may_be_used_after_a_fork(redis_url: str, namespace: str) -> None:
    import subprocess
    import sys

    code = """
import os, sys
from core.store.redis import RedisStore
store = RedisStore(sys.argv[1], sys.argv[2])
store.ping()
child = os.fork()
for _ in range(200):
    assert store.num_queued() == 0
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    done = subprocess.run(
        [sys.executable, "-c", code, redis_url, namespace],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
