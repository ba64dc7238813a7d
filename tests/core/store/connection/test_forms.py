"""The store and the broker on Redis as operators run it: TLS, a user with the least rights,
Sentinels; and the servers that can be none."""

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from core.broker import QUEUE, TASK, celery_config
from core.environment.redis_address import check
from core.errors import StoreUnavailableError, UnusableStoreError
from core.settings import Settings
from core.store.calls.opening import check_format
from core.store.connection.client import AsyncClient, command
from core.store.protocols.types import Claim, JobFilter, NewJob
from core.store.redis import AsyncRedisStore, RedisStore
from tests.faults.stack import free_port
from tests.redis_servers import Certificates, Sentinel, Server, TlsFront
from thalweg_service.doctor.machine import look_at_store

pytestmark = pytest.mark.anyio
NewJobs = Callable[..., NewJob]
ROOT = Path(__file__).resolve().parents[4]
FAILOVER_S = 120.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("redis") / "one") as started:
        yield started


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates")
    return Certificates(tmp_path_factory.mktemp("tls") / "files")


def message(settings: Settings) -> str:
    """Send a hint as the API does and take it as a worker does; its name."""
    app = Celery("test", set_as_current=False)
    app.config_from_object(celery_config(settings))
    with app.connection_for_write() as connection:
        app.send_task(TASK, queue=QUEUE, ignore_result=True, connection=connection)
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(QUEUE)
        got = queue.get(timeout=60)
        got.ack()
        queue.close()
    app.close()
    return str(got.headers["task"])


async def use(url: str, namespace: str, new_job: NewJobs) -> None:
    """Every way in which the service talks to Redis."""
    check(url)
    api, worker = AsyncRedisStore(url, namespace), RedisStore(url, namespace)
    try:
        await api.open()
        worker.open()
        job = (await api.create(new_job(), None)).job
        claim = worker.claim_next("w", ["cpu"], 60.0)
        assert isinstance(claim, Claim)
        assert worker.renew(claim, 60.0) == "running"
        worker.close(claim, "succeeded", "finished", outcome="budget_exhausted", fields={})
        assert (await api.get(job.id)).status == "succeeded"
        assert [each.id for each in (await api.list(JobFilter(), 10, None)).jobs] == [job.id]
        assert (await api.stamp(job.id)).status == "succeeded"  # over the line that many share
        assert (await api.totals()).counts
        assert not worker.await_work(["cpu"], 0.01)
        assert message(Settings(redis_url=url, namespace=namespace)) == TASK
    finally:
        await api.aclose()
        worker.disconnect()


async def test_tls_with_an_authority_of_ones_own(
    server: Server, certificates: Certificates, new_job: NewJobs
) -> None:
    with TlsFront(certificates, server.port) as front:
        url = f"rediss://127.0.0.1:{front.port}/0?ssl_ca_certs={certificates['ca.crt']}"
        await use(url, "tls", new_job)
        found = {each.name: each.status for each in look_at_store(url)}
        assert found["store"] == "ok"


async def test_tls_with_a_certificate_of_the_client(
    server: Server, certificates: Certificates, new_job: NewJobs
) -> None:
    own = f"ssl_certfile={certificates['client.crt']}&ssl_keyfile={certificates['client.key']}"
    with TlsFront(certificates, server.port, asks=True) as front:
        url = f"rediss://localhost:{front.port}/0?ssl_ca_certs={certificates['ca.crt']}"
        await use(f"{url}&{own}", "client-tls", new_job)
        with pytest.raises(StoreUnavailableError, match="ssl_certfile"):
            check_format(url, "client-tls")


@pytest.mark.parametrize(
    ("host", "query", "words"),
    [
        ("127.0.0.1", "?ssl_ca_certs={other}", "not trusted.*ssl_ca_certs"),
        ("127.0.0.1", "", "not trusted"),
        ("ip6-localhost", "?ssl_ca_certs={ca}", "of another name|cannot be reached"),
    ],
)
async def test_a_server_that_is_not_trusted_is_told_in_words(
    server: Server, certificates: Certificates, host: str, query: str, words: str
) -> None:
    with TlsFront(certificates, server.port) as front:
        files = {name: certificates[f"{name}.crt"] for name in ("ca", "other")}
        url = f"rediss://{host}:{front.port}/0{query.format(**files)}"
        with pytest.raises(StoreUnavailableError, match=words):
            check_format(url, "n")
        api = AsyncRedisStore(url, "n")
        with pytest.raises(StoreUnavailableError, match=words):
            await api.open()
        with pytest.raises(StoreUnavailableError, match=words):
            await api.stamp("job_1")
        await api.aclose()


def rights() -> list[str]:
    """Those of the user in docs/operators.md."""
    page = (ROOT / "docs" / "operators.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("user thalweg on ")]
    return line.split()[2:]


@pytest.fixture
def user(server: Server) -> Iterator[Any]:
    """A client that may do everything, on a server with that user."""
    with redis.Redis.from_url(server.url, decode_responses=True) as admin:
        words = [each for each in rights() if not each.startswith(">")]
        admin.execute_command("ACL", "SETUSER", "thalweg", "reset", *words, ">p@ss:w/r?#%")
        admin.execute_command("ACL", "LOG", "RESET")
        yield admin


URL = "redis://thalweg:p%40ss%3Aw%2Fr%3F%23%25@127.0.0.1:{}/0"


async def test_a_user_with_the_rights_that_are_told_can_do_all_of_it_and_nothing_else(
    server: Server, user: Any, new_job: NewJobs
) -> None:
    url = URL.format(server.port)
    await use(url, "thalweg", new_job)
    assert user.acl_log() == []
    # Another namespace is closed to it, in scripts and in commands alike.
    with pytest.raises(StoreUnavailableError, match="forbids its user a command or a key"):
        check_format(url, "others")
    link = AsyncClient(url, "thalweg", "test")
    for words in (("GET", "others:format"), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*")):
        with pytest.raises(StoreUnavailableError, match="forbids its user"):
            await link.call(command(*words))
    await link.disconnect()
    # Without INFO and CONFIG the service works, and says what it cannot see.
    api = AsyncRedisStore(url, "thalweg")
    assert await api.memory() is None
    await api.aclose()
    found = {each.name: each.status for each in look_at_store(url)}
    assert (found["store"], found["store memory"]) == ("ok", "skipped")


async def test_a_wrong_password_is_told_and_not_quoted(server: Server, user: Any) -> None:
    url = f"redis://thalweg:geheim@127.0.0.1:{server.port}/0"
    with pytest.raises(StoreUnavailableError, match="refuses the credentials") as refused:
        check_format(url, "thalweg")
    assert "geheim" not in str(refused.value)


async def until_it_works(call: Callable[[], Awaitable[Any]]) -> Any:
    """What the call gives once the store is back."""
    give_up = time.monotonic() + FAILOVER_S
    while True:
        try:
            return await call()
        except StoreUnavailableError:
            assert time.monotonic() < give_up


async def test_behind_sentinels_all_goes_on_with_the_next_primary(
    tmp_path: Path, new_job: NewJobs
) -> None:
    with (
        Server(tmp_path / "a") as first,
        Server(tmp_path / "b", "--replicaof", "127.0.0.1", str(first.port)),
        Sentinel(tmp_path / "s", first) as sentinel,
    ):
        give_up = time.monotonic() + FAILOVER_S
        while sentinel.replicas() < 1:
            assert time.monotonic() < give_up
            await asyncio.sleep(0.02)
        # The first one of the list is away.
        url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/main/0"
        await use(url, "ours", new_job)
        api, worker = AsyncRedisStore(url, "ours"), RedisStore(url, "ours")
        before = (await api.create(new_job(), None)).job
        worker.ping()
        with redis.Redis(port=first.port) as client:
            client.set("ours:mark", 1)  # it waits for what this connection wrote, and all before
            assert client.wait(1, 60_000) == 1

        first.kill()
        with pytest.raises(StoreUnavailableError):
            worker.renew(Claim(before, 1, 1), 60.0)

        after = await until_it_works(lambda: api.create(new_job(), None))
        assert sentinel.primary() != first.port
        claims = [worker.claim_next("w", ["cpu"], 60.0) for _ in range(2)]
        assert {c.job.id for c in claims if isinstance(c, Claim)} == {before.id, after.job.id}
        assert (await api.stamp(before.id)).status == "running"
        assert message(Settings(redis_url=url, namespace="ours")) == TASK
        await api.aclose()
        worker.disconnect()
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            check_format(url.replace("/main/", "/other/"), "ours")


def start(part: str, url: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", part, *(["--device", "cpu"] if part == "worker" else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"THALWEG_REDIS_URL": url, "THALWEG_ARTIFACTS": str(folder), "PATH": ""},
    )


async def test_a_cluster_and_a_sentinel_are_refused_at_the_start_in_words(
    server: Server, tmp_path: Path
) -> None:
    with (
        Server(
            tmp_path / "c", "--cluster-enabled", "yes", "--cluster-port", str(free_port())
        ) as cluster,
        Sentinel(tmp_path / "s", server) as sentinel,
    ):
        for port, words in (
            (cluster.port, "Redis Cluster is not supported"),
            (sentinel.port, "is a Sentinel, which keeps no data"),
        ):
            url = f"redis://127.0.0.1:{port}/0"
            with pytest.raises(UnusableStoreError, match=words):
                check_format(url, "n")
            api, worker = AsyncRedisStore(url, "n"), RedisStore(url, "n")
            with pytest.raises(UnusableStoreError, match=words):
                await api.open()
            with pytest.raises(UnusableStoreError, match=words):
                worker.open()
            await api.aclose()
            worker.disconnect()
            (found,) = look_at_store(url)
            assert (found.status, words in found.words) == ("failed", True)
        url = f"redis://127.0.0.1:{cluster.port}/0"
        parts = {part: start(part, url, tmp_path / "artifacts") for part in ("api", "worker")}
        for part, status in (("api", 2), ("worker", 1)):
            _, said = parts[part].communicate(timeout=60)
            assert parts[part].returncode == status
            assert said.startswith(f"thalweg {part}: Redis Cluster is not supported")
            assert said.count("\n") == 1
