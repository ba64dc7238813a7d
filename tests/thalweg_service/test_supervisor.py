"""Starting and stopping: one clear line when it cannot start, and no process left behind."""

import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import redis

from core.settings import Settings
from tests.thalweg_service.running import Service, Start, alive, children, descendants, until
from thalweg_service.child_process import Part
from thalweg_service.crew import Crew
from thalweg_service.embedded_redis import EmbeddedServer
from thalweg_service.supervisor import tell

MINIMIZE = {
    "problem": {"kind": "function", "function": {"kind": "rosenbrock", "dim": 2}},
    "optimizer": {"kind": "adam"},
    "budget": {"max_steps": 20},
}

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def refusal(process: subprocess.Popen[str]) -> str:
    """The one line that it refused to start with."""
    out, err = process.communicate(timeout=180)
    assert process.returncode not in {0, None}
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert err.startswith("thalweg serve: ")
    return err


def test_a_port_in_use_is_told_in_one_line(tmp_path: Path, start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        line = refusal(start(tmp_path, "--port", port))
    assert port in line
    assert "--port" in line


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path: Path, start: Start) -> None:
    (tmp_path / "file").touch()
    line = refusal(start(tmp_path / "file" / "data"))
    assert str(tmp_path / "file" / "data") in line
    assert "--data-dir" in line


def test_a_redis_that_is_not_there_is_told_in_one_line(tmp_path: Path, start: Start) -> None:
    url = "redis://:secret@127.0.0.1:1/0"
    line = refusal(start(tmp_path, THALWEG_REDIS_URL=url))
    assert "THALWEG_REDIS_URL=redis://127.0.0.1:1/0" in line
    assert "secret" not in line


def test_a_mistaken_setting_is_told_in_one_line(tmp_path: Path, start: Start) -> None:
    line = refusal(start(tmp_path, THALWEG_LEASE_S="soon"))
    assert "THALWEG_LEASE_S='soon'" in line


def test_a_store_of_a_newer_version_is_told_in_one_line(tmp_path: Path, start: Start) -> None:
    with EmbeddedServer(tmp_path / "redis") as server, redis.Redis.from_url(server.url) as client:
        client.set("thalweg:format", 999)
    line = refusal(start(tmp_path))
    assert "The store is of format 999" in line
    assert "backup" in line


def test_an_address_that_strangers_reach_is_told_in_one_line(tmp_path: Path, start: Start) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "api.log").write_text("thalweg api: said in an earlier life\n")
    line = refusal(start(tmp_path, "--host", "0.0.0.0"))
    assert "loopback" in line
    assert "earlier" not in line


def test_a_second_service_on_the_same_folder_is_told_in_one_line(
    service: Service, start: Start
) -> None:
    folder = Path(service.line.split("data in ")[1].rstrip(")\n"))
    assert "Another `thalweg serve`" in refusal(start(folder))


@LINUX
@pytest.mark.slow
def test_a_killed_service_leaves_nothing_running_and_loses_no_job(
    tmp_path: Path, start: Start
) -> None:
    folder = tmp_path / "a folder with spaces"
    first = Service(start(folder))
    assert folder.stat().st_mode & 0o777 == 0o700
    spec = {
        "problem": {"kind": "function", "function": {"kind": "rosenbrock", "dim": 2}},
        "optimizer": {"kind": "adam"},
        "budget": {"max_steps": 40_000},  # a second: it is killed before it ends
        "checkpoint": {"every_steps": 1000},
        "record": {"every": 10},
    }
    running = first.post(spec)["id"]
    queued = first.post(spec)["id"]
    first.until_step(running, 2000)
    parts = descendants(first.process.pid)
    assert len(parts) == 4  # server, API, worker, its trainer
    first.stop(signal.SIGKILL)
    until(lambda: not any(map(alive, parts)))

    second = Service(start(folder))
    assert [second.end(job_id)["status"] for job_id in (running, queued)] == ["succeeded"] * 2
    assert [a["end"] for a in second.job(running)["attempts"]] == ["lost", "finished"]
    parts = descendants(second.process.pid)
    assert second.stop(signal.SIGINT) == ("", "")
    assert second.process.returncode == 0
    assert not any(map(alive, parts))


@LINUX
def test_an_interrupt_while_starting_leaves_nothing_running(tmp_path: Path, start: Start) -> None:
    process = start(tmp_path)
    parts = until(lambda: descendants(process.pid))
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert not any(map(alive, parts))


@LINUX
def test_a_terminal_is_told_that_a_start_takes_longer(tmp_path: Path, start: Start) -> None:
    ours, theirs = pty.openpty()
    with open(theirs, "w") as terminal:  # noqa: PTH123 (it is a descriptor)
        process = start(tmp_path, errors=terminal)
    began = time.monotonic()
    assert process.stdout is not None
    read, _, _ = select.select([ours, process.stdout.fileno()], [], [], 60.0)
    if ours in read:
        assert os.read(ours, 500).decode().startswith("thalweg serve: starting: ")
    else:  # no machine of today is as quick
        assert time.monotonic() - began < 3.0
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    os.close(ours)


@LINUX
@pytest.mark.parametrize("part", [" worker", " api"])
def test_a_part_that_dies_while_the_service_starts_is_started_again(
    tmp_path: Path, part: str, start: Start
) -> None:
    process = start(tmp_path)
    (victim,) = until(lambda: children(process.pid, f"-m{part}"))
    os.kill(victim, signal.SIGKILL)
    service = Service(process)
    out, err = service.stop(signal.SIGTERM)
    assert service.line.startswith("Thalweg is ready: ")
    assert process.returncode == 0
    assert out == ""
    name = {" worker": "worker 1", " api": "api"}[part]
    assert err == f"thalweg serve: {name} ended (SIGKILL); starting it again\n"


@LINUX
def test_a_message_that_cannot_be_printed_ends_nothing_and_a_hang_up_ends_all_in_good_order(
    tmp_path: Path,
    start: Start,
) -> None:
    ignored = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a run of the tests under nohup
    with Path("/dev/full").open("w") as full:
        service = Service(start(tmp_path, errors=full))
        (victim,) = children(service.process.pid, "-m worker")
        os.kill(victim, signal.SIGKILL)
        (other,) = until(
            lambda: [p for p in children(service.process.pid, "-m worker") if p != victim]
        )
        assert other != victim
        assert service.end(service.post(MINIMIZE)["id"])["status"] == "succeeded"
        signal.signal(signal.SIGHUP, ignored)
        parts = descendants(service.process.pid)
        service.stop(signal.SIGHUP)
    assert service.process.returncode == 0
    assert not any(map(alive, parts))


@LINUX
def test_a_line_holds_nobody_up_whatever_stands_behind_the_stream() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with os.fdopen(read) as reader, os.fdopen(write, "w", encoding="ascii") as stream:
        tell("the folder größe", stream)
        assert reader.readline() == "the folder gr\\xf6\\xdfe\n"
        while True:  # a reader that does not read any more
            try:
                os.write(write, b"x" * 4096)
            except BlockingIOError:
                break
        os.set_blocking(write, True)
        tell("too much", stream)
        reader.close()
        tell("to nobody", stream)
    tell("a closed stream", stream)
    tell("no stream", None)
    with Path("/dev/full").open("w") as full:
        tell("a full disk", full)


def test_workers_that_die_together_are_started_one_after_the_other(tmp_path: Path) -> None:
    """The first one has the cores for itself, and hears who died, though one that died with them
    had taken the word off the list."""
    server = EmbeddedServer(tmp_path / "redis")
    server.start()
    crew = Crew(lambda: server.url, apart_s=0.6)

    def tend() -> list[str | None]:
        return [crew.tend(part) for part in crew.workers]

    sleep = (sys.executable, "-c", "import time; time.sleep(60)")
    for number in range(3):
        crew.workers.append(Part(f"worker {number}", sleep, {}, tmp_path / "log", f"w-{number}"))
    try:
        for part in crew.workers:
            part.start()
        lives = {part.life for part in crew.workers}
        for part in crew.workers:
            assert part.pid is not None
            os.kill(part.pid, signal.SIGKILL)
            part._started_at -= 60.0  # it had settled: its start waits for no other reason
        with redis.Redis.from_url(server.url) as client:
            until(lambda: any(tend()))
            client.delete(Settings().lost_workers_key)

            def all_again() -> bool:
                tend()
                return not lives & {part.life for part in crew.workers}

            until(all_again)
            told = client.lrange(Settings().lost_workers_key, 0, -1)
        starts = sorted(part._started_at for part in crew.workers)
        assert all(b - a > 0.5 for a, b in pairwise(starts))
        assert {name.decode() for name in told} == lives
    finally:
        for part in crew.workers:
            part.wait(0.0)
        server.stop(1.0)


@LINUX
def test_a_dead_workers_job_does_not_wait_for_its_lease(tmp_path: Path, start: Start) -> None:
    process = start(
        tmp_path, "--workers", "2", THALWEG_LEASE_S="600", THALWEG_RECONCILE_EVERY_S="600"
    )
    service = Service(process)
    until(lambda: len(service.workers()) == 2)
    spec = {**MINIMIZE, "budget": {"max_steps": 100_000_000}, "record": {"every": 100_000}}
    job_id = service.post(spec)["id"]
    service.until_step(job_id, 1)
    os.kill(service.worker_of(job_id), signal.SIGKILL)
    until(lambda: len(service.job(job_id)["attempts"]) == 2)
    first, second = service.job(job_id)["attempts"]
    assert (first["end"], second["end"]) == ("lost", None)
    assert first["worker"] != second["worker"]
    assert first["worker"] not in {worker["name"] for worker in service.workers()}
    service.stop()
