"""A whole service whose every process can be killed, stopped and started again by a trial.

Linux only: processes are found through /proc, by a mark in their environment.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from core.environment import stacks
from thalweg_service.embedded_redis import EmbeddedServer
from thalweg_service.server_binary import EmbeddedServerError

MARK = "THALWEG_FAULT_TRIAL"
_LAST_BYTES = 16_384
RESTORE_EVERY_S = 0.7
"""A dead part stays dead for up to this long."""


def wait_for(what: str, holds: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Return once `holds()`; a trial that waits in vain is a failed trial."""
    give_up = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > give_up:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def marked_processes(mark: str) -> Iterator[int]:
    """Ids of the living processes that carry the trial's mark, zombies left out."""
    wanted = f"{MARK}={mark}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)
        except OSError:
            continue


class Part:
    """One process of the service: started, hurt, and started again when it has died."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], log: Path):
        self.name = name
        self._command = command
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=os.environ | self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ensure(self) -> bool:
        """Start it again if it has died; returns whether it had."""
        if self._process is not None and self._process.poll() is None:
            return False
        self.start()
        return True

    @property
    def pid(self) -> int | None:
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    def child(self) -> int | None:
        """Its first child process (a worker's trainer)."""
        if self.pid is None:
            return None
        try:
            words = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except OSError:
            return None
        return int(words[0]) if words else None

    def end(self, how: signal.Signals = signal.SIGTERM, timeout_s: float = 20.0) -> str | None:
        """Have it end; returns None, or of a worker that did not in time what it and its trainer
        were doing, and what its log said last."""
        process = self._process
        if process is None or process.poll() is not None:
            return None
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            last = self._last_words()
            process.kill()
            process.wait()
            return last
        return None

    def _last_words(self, patience_s: float = 2.0) -> str | None:
        """Ask a worker for its stacks; the end of its log, with them."""
        if not self.name.startswith("worker"):
            return None
        for pid in filter(None, (self.child(), self.pid)):
            os.kill(pid, stacks.ASKED_BY)
            before = -1
            give_up = time.monotonic() + patience_s
            while before != (before := self._log.stat().st_size) and time.monotonic() < give_up:
                time.sleep(0.2)
        return self._log.read_bytes()[-_LAST_BYTES:].decode(errors="replace")


class Stack:
    """Embedded server, API and workers, each a process of its own under this one's hand.

    Args:
        folder: data, artifacts and logs.
        mark: names the trial; the namespace in Redis, and how leftovers are found.
        workers: how many.
        lease_s: of the workers.
        worker_environment: more variables for worker number i (clock skew, a slow disk).
    """

    def __init__(
        self,
        folder: Path,
        mark: str,
        *,
        workers: int = 2,
        lease_s: float = 1.0,
        worker_environment: Callable[[int], dict[str, str]] = lambda _: {},
    ) -> None:
        self.folder, self.mark = folder, mark
        folder.mkdir(parents=True, exist_ok=True)
        self.server = EmbeddedServer(folder / "redis")
        self.port = free_port()
        self.environment = {
            MARK: mark,
            "THALWEG_REDIS_URL": self.server.url,
            "THALWEG_NAMESPACE": mark,
            "THALWEG_ARTIFACTS": str(folder / "artifacts"),
            "THALWEG_HOST": "127.0.0.1",
            "THALWEG_PORT": str(self.port),
            "THALWEG_LEASE_S": str(lease_s),
            "THALWEG_RECONCILE_EVERY_S": str(min(1.0, lease_s / 2)),
        }
        self.api = self._part("api", [sys.executable, "-m", "api"], {})
        self.workers = [
            self._part(f"worker-{i}", [sys.executable, "-m", "worker"], worker_environment(i))
            for i in range(workers)
        ]

    def _part(self, name: str, command: list[str], more: dict[str, str]) -> Part:
        return Part(name, command, self.environment | more, self.folder / f"{name}.log")

    @property
    def parts(self) -> list[Part]:
        return [self.api, *self.workers]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def redis(self) -> "redis.Redis":
        return redis.Redis.from_url(self.server.url)

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor")
        with ExitStack() as ends:  # all of it ends, whatever fails to start or to end
            ends.callback(self.server.stop)
            self.server.start()
            for part in self.parts:
                ends.callback(part.end)
                part.start()
            self._supervisor.start()
            ends.callback(self._supervisor.join)
            ends.callback(self._over.set)
            self._ends = ends.pop_all()
        return self

    def _supervise(self) -> None:
        """Start again whatever has died, after a while: what a supervisor does."""
        while not self._over.wait(RESTORE_EVERY_S):
            if not self.server.running:
                try:
                    self.server.start()
                except EmbeddedServerError:
                    continue  # a fault hit it as it started
            for part in self.parts:
                part.ensure()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ends.close()
