"""Start a whole service as a user starts it, and look at its processes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

import httpx2

Json = dict[str, Any]

QUICK = {
    "THALWEG_LEASE_S": "1.0",
    "THALWEG_RECONCILE_EVERY_S": "0.1",
    "OMP_NUM_THREADS": "1",
}


def until(condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """The condition's value once it is true; fails when that takes too long."""
    give_up = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < give_up, "it never came true"
        time.sleep(0.01)
    return value


class Start(Protocol):
    """Starts `thalweg serve` on a free port with its data in `folder`."""

    def __call__(
        self, folder: Path, *arguments: str, errors: TextIO | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        """Start it.

        Args:
            errors: takes what it writes to standard error; left out, a pipe.
        """
        ...


@contextmanager
def starting() -> Iterator[Start]:
    """Give what starts services, and end those that run still at the end, however it came."""
    started: list[subprocess.Popen[str]] = []

    def start(
        folder: Path, *arguments: str, errors: TextIO | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        process = _start(folder, *arguments, errors=errors, **environment)
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            end(process)


def end(process: subprocess.Popen[str], patience_s: float = 60.0) -> None:
    """End a process that may have ended; one that does not hear is killed."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        process.communicate(timeout=patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _start(
    folder: Path, *arguments: str, errors: TextIO | None = None, **environment: str
) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "thalweg_service", "serve", "--data-dir", str(folder)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("THALWEG_")}
    return subprocess.Popen(
        [*command, *(("--port", "0") if "--port" not in arguments else ()), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if errors is None else errors,
        text=True,
        env={**clean, **QUICK, **environment},
        process_group=0,
    )


def children(pid: int, named: str = "") -> list[int]:
    """Process ids of the children of `pid` (Linux) whose command line contains `named`; threads and
    processes that end meanwhile have none, and are none."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in _told(task / "children").split()]
    return [
        child
        for child in found
        if named in _told(Path(f"/proc/{child}/cmdline")).replace("\0", " ")
    ]


def _told(file: Path) -> str:
    try:
        return file.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def descendants(pid: int) -> list[int]:
    """Process ids of the children of `pid`, and of theirs."""
    below = children(pid)
    return below + [each for child in below for each in descendants(child)]


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Service:
    """A running service and a client of it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.line = process.stdout.readline()
        assert self.line, process.stderr and process.stderr.read()
        address = next(word for word in self.line.split() if word.startswith("http"))
        self.client = httpx2.Client(base_url=address, timeout=70.0)

    def post(self, spec: Json) -> Json:
        reply = self.client.post("/v1/jobs", json=spec)
        assert reply.status_code == 202, reply.text
        return dict(reply.json())

    def job(self, job_id: str) -> Json:
        reply = self.client.get(f"/v1/jobs/{job_id}")
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def end(self, job_id: str) -> Json:
        reply = self.client.get(f"/v1/jobs/{job_id}", params={"wait": 60})
        assert reply.status_code == 200, reply.text
        assert reply.json()["finished_at"], reply.json()
        return dict(reply.json())

    def until_step(self, job_id: str, step: int) -> Json:
        until(lambda: self.job(job_id)["progress"]["step"] >= step)
        return self.job(job_id)

    def rows(self, job_id: str) -> Json:
        reply = self.client.get(f"/v1/jobs/{job_id}/history", params={"limit": 10_000})
        assert reply.status_code == 200, reply.text
        return dict(reply.json()["series"])

    def weights(self, job_id: str) -> bytes:
        return self.client.get(f"/v1/jobs/{job_id}/model").content

    def workers(self) -> list[Json]:
        return list(self.client.get("/v1/workers").json()["data"])

    def worker_of(self, job_id: str) -> int:
        """Process id of the worker that has the job in hand."""
        name = self.job(job_id)["attempts"][-1]["worker"]
        return next(int(w["pid"]) for w in self.workers() if w["name"] == name)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[str, str]:
        """End it by a signal; what it printed meanwhile."""
        self.client.close()
        self.process.send_signal(number)
        return self.process.communicate(timeout=60)
