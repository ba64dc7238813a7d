"""The worker as a process: Celery brings the message, signals bring the end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery

from core.broker import QUEUE, TASK, celery_config
from tests.worker.bench import Bench
from tests.worker.scenarios import Finish, Wait
from worker.app import StartError, choose_devices


@pytest.fixture
def process(bench: Bench) -> Iterator[subprocess.Popen[str]]:
    """A worker that looks by itself once a minute only: what it runs, a message brought."""
    program = Path(__file__).with_name("fake_worker.py")
    process = subprocess.Popen(
        [sys.executable, "-P", str(program), "--name", "alone"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=bench.environment | {"THALWEG_RECONCILE_EVERY_S": "60", "THALWEG_LEASE_S": "3"},
    )
    try:
        assert process.stderr is not None
        heard = []
        for line in process.stderr:
            heard.append(line)
            if "is ready" in line:
                break
        assert "is ready" in heard[-1], heard
        assert all(json.loads(line)["logger"] for line in heard)
        yield process
    finally:
        process.kill()
        process.communicate()


def run_to_its_end(bench: Bench, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a worker that ends by itself."""
    return subprocess.run(
        [sys.executable, "-P", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=bench.environment,
    )


def announce(bench: Bench) -> None:
    app = Celery(set_as_current=False)
    app.conf.update(celery_config(bench.settings))
    with app.connection_for_write() as connection:
        app.send_task(TASK, queue=QUEUE, connection=connection)


def test_a_message_brings_the_job_to_the_worker(
    bench: Bench, process: subprocess.Popen[str]
) -> None:
    job_id = bench.submit(Finish(5))
    announce(bench)
    job = bench.until_status(job_id, "succeeded")
    assert job.attempts[0].worker == "alone"


def test_messages_too_many_and_for_nothing_do_no_harm(
    bench: Bench, process: subprocess.Popen[str]
) -> None:
    for _ in range(5):
        announce(bench)
    job_id = bench.submit(Finish(5))
    for _ in range(5):
        announce(bench)
    job = bench.until_status(job_id, "succeeded")
    assert len(job.attempts) == 1


def test_a_worker_of_one_job_ends_with_status_0(bench: Bench) -> None:
    ids = [bench.submit(Finish(5)) for _ in range(2)]
    program = Path(__file__).with_name("fake_worker.py")
    ended = run_to_its_end(bench, str(program), "--max-jobs", "1", "--exit-when-idle", "60")
    assert ended.returncode == 0
    assert "ends: it has done 1 of 1 jobs" in ended.stderr
    assert [bench.get(id_).status for id_ in ids] == ["succeeded", "queued"]


@pytest.mark.parametrize("whose", ["worker", "trainer"])
def test_asked_by_a_signal_it_writes_its_stacks_and_goes_on(
    bench: Bench, process: subprocess.Popen[str], whose: str
) -> None:
    if whose == "worker":
        pid, does = process.pid, 'worker/app.py"'
    else:
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        pid, does = int(child), 'worker/trainer/server.py"'
    os.kill(pid, signal.SIGUSR2)
    assert process.stderr is not None
    assert any(does in line for line in process.stderr)
    job_id = bench.submit(Finish(5))
    announce(bench)
    bench.until_status(job_id, "succeeded")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_hands_over_the_job_and_leaves_in_good_order(
    bench: Bench, process: subprocess.Popen[str], number: signal.Signals
) -> None:
    job_id = bench.submit(Wait())
    announce(bench)
    bench.until_status(job_id, "running")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 0
    job = bench.get(job_id)
    assert job.status == "queued"
    assert [attempt.end for attempt in job.attempts] == ["handed_over"]


def newer(bench: Bench) -> None:
    """A newer version opens the store."""
    with redis.Redis.from_url(bench.settings.redis_url) as server:
        server.set(f"{bench.settings.namespace}:format", 999)


def test_a_newer_store_is_refused_with_one_line(bench: Bench) -> None:
    newer(bench)
    ended = run_to_its_end(bench, "-m", "worker")
    assert ended.returncode == 1
    assert ended.stderr.startswith("thalweg worker: The store is of format 999")
    assert ended.stderr.count("\n") == 1


def test_a_running_worker_ends_once_a_newer_version_has_opened_the_store(
    bench: Bench, process: subprocess.Popen[str]
) -> None:
    newer(bench)
    job_id = bench.submit(Finish(5))
    announce(bench)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith("thalweg worker: The store is of format 999")
    assert bench.get(job_id).status == "queued"


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("auto", ("cuda:0", "cuda:1", "cpu")),
        ("cuda", ("cuda:0", "cuda:1")),
        ("cuda:1", ("cuda:1",)),
        ("cpu", ("cpu",)),
    ],
)
def test_a_worker_uses_the_devices_it_was_given(wanted: str, chosen: tuple[str, ...]) -> None:
    assert choose_devices(wanted, ("cuda:0", "cuda:1", "cpu")) == chosen


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(StartError, match=r"no device 'cuda', only: cpu"):
        choose_devices("cuda", ("cpu",))
