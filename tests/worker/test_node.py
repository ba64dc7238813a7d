"""Workers of several devices under one supervisor, on a machine whose GPUs a test makes up."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.thalweg_service.running import children
from tests.worker.bench import Bench, until
from tests.worker.scenarios import Finish, Wait
from tests.worker.test_runner import listed

GIB = 2**30
START_S = 60.0
"""Time in which several workers start on a machine that has other things to do."""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(bench: Bench) -> Iterator[Start]:
    """Starts a supervisor of workers for these devices."""
    started: list[subprocess.Popen[str]] = []

    def begin(*devices: str, gpus: str = "", **more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("fake_node.py")), *devices],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **bench.environment,
                "THALWEG_RECONCILE_EVERY_S": "0.1",
                "THALWEG_LEASE_S": "30",
                "FAKE_GPUS": gpus,
                **more,
            },
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def trainers_of(worker: int) -> list[dict[str, str]]:
    """The variables of a worker's child processes."""
    found = []
    for child in children(worker):
        pairs = Path(f"/proc/{child}/environ").read_bytes().decode().split("\0")
        found.append(dict(pair.split("=", 1) for pair in pairs if pair))
    return found


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_each_worker_has_its_gpu_alone_is_started_again_and_hands_over(
    bench: Bench, start: Start
) -> None:
    node = start(
        "cuda:0", "cuda:1", "cpu", gpus=f"0,0,{8 * GIB},{80 * GIB}", CUDA_VISIBLE_DEVICES="2,3"
    )
    until(lambda: len(listed(bench)) == 3, START_S)
    workers = {worker.devices: worker for worker in listed(bench)}
    assert workers.keys() == {("cuda:0",), ("cuda:1",), ("cpu",)}
    seen = {"cpu": "", "cuda:0": "2", "cuda:1": "3"}
    memory = {"cpu": {}, "cuda:0": {"cuda:0": 8 * GIB}, "cuda:1": {"cuda:1": 80 * GIB}}
    for (device,), worker in workers.items():
        assert re.fullmatch(f"node-{device.replace(':', '')}-[0-9a-f]{{6}}", worker.name)
        assert worker.memory_bytes == memory[device]
        (trainer,) = trainers_of(worker.pid)
        assert trainer["CUDA_VISIBLE_DEVICES"] == seen[device]

    # Each does what asks for its device, which has the machine's name in the record.
    held = [bench.submit(Wait(), device=device) for device in ("cuda:0", "cuda:1", "cpu")]
    jobs = [bench.until_status(job_id, "running") for job_id in held]
    bench.until(lambda: all(bench.get(job_id).attempts[-1].device for job_id in held))
    for job_id, device in zip(held, ("cuda:0", "cuda:1", "cpu"), strict=True):
        (attempt,) = bench.get(job_id).attempts
        assert (attempt.device, attempt.worker) == (device, workers[(device,)].name)
    assert len(jobs) == 3

    # One that dies is started again with the same device, and its job need not wait for its lease.
    killed = workers[("cuda:1",)]
    os.kill(killed.pid, signal.SIGKILL)
    until(lambda: len(bench.get(held[1]).attempts) == 2, START_S)
    bench.until(lambda: bench.get(held[1]).attempts[-1].device == "cuda:1")
    first, second = bench.get(held[1]).attempts
    assert (first.end, second.end) == ("lost", None)
    assert second.worker != killed.name
    (trainer,) = trainers_of(next(w.pid for w in listed(bench) if w.name == second.worker))
    assert trainer["CUDA_VISIBLE_DEVICES"] == "3"

    pids = [worker.pid for worker in listed(bench)]
    node.send_signal(signal.SIGTERM)
    said, _ = node.communicate(timeout=START_S)
    assert node.returncode == 0
    assert said.splitlines()[0] == "worker cuda1 ended (SIGKILL); starting it again"
    assert all(map(gone, pids))
    assert listed(bench) == []
    for job_id in held:
        job = bench.get(job_id)
        assert (job.status, job.attempts[-1].end) == ("queued", "handed_over")


def test_a_device_that_is_not_there_ends_all_with_one_line(bench: Bench, start: Start) -> None:
    node = start("cpu", "cuda:4", gpus="0")
    _, said = node.communicate(timeout=START_S)
    assert node.returncode == 1
    assert "thalweg worker: This machine has no device 'cuda:4', only: cpu.\n" in said


def test_two_workers_may_share_a_device_and_none_outlives_the_supervisor(
    bench: Bench, start: Start
) -> None:
    node = start("cpu", "cpu")
    until(lambda: len(listed(bench)) == 2, START_S)
    names = sorted(worker.name.rpartition("-")[0] for worker in listed(bench))
    assert names == ["node-cpu", "node-cpu-2"]
    ids = [bench.submit(Finish(5)) for _ in range(4)]
    for job_id in ids:
        bench.until_status(job_id, "succeeded")
    pids = [worker.pid for worker in listed(bench)]
    node.kill()
    bench.until(lambda: all(map(gone, pids)))
