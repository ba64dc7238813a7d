"""The worker's end of the trainer: start it, send it work and orders, hear it, replace it.

The trainer's reports and its death arrive in one mailbox, in order, so that whoever runs a job
waits in one place. `start` belongs to a thread that lives as long as the process does: on Linux
the trainer is killed when the thread that started it ends.
"""

import contextlib
import logging
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.messages.reports import Answer, JobReport, Ready, TaskReport
from core.messages.requests import Request
from worker.trainer import protocol
from worker.trainer.process import TRAINER, TrainerProcess, start_trainer

log = logging.getLogger("thalweg.worker")


class TrainerUnavailableError(Exception):
    """The trainer did not start; `str(error)` is one line."""


@dataclass(frozen=True)
class TrainerDied:
    """The trainer's process has ended.

    Attributes:
        status: as `subprocess` gives it (negative: a signal).
        out_of_memory: whether the system counted a kill for want of memory meanwhile.
    """

    status: int
    out_of_memory: bool = False

    @property
    def words(self) -> str:
        """One or two sentences: how it ended, and what to do about it."""
        if self.out_of_memory:
            return (
                "Its trainer was killed because the memory limit of this container or machine was"
                " reached: raise the limit, or make batch_size, the model or the data smaller."
            )
        if self.status == -signal.SIGKILL:
            return (
                "Its trainer was killed (signal 9), as the system does where memory runs out: look"
                " at the memory limit, and at peak_memory_bytes of similar jobs."
            )
        if self.status < 0:
            return f"Its trainer crashed (signal {-self.status})."
        return f"Its trainer ended with status {self.status}."


Heard = JobReport | TaskReport | Answer | TrainerDied


_CGROUP_FILES: Final = (
    Path("/sys/fs/cgroup/memory.events"),  # of a container with its own view of version 2
    Path("/sys/fs/cgroup/memory/memory.oom_control"),  # version 1
)


def kills_for_memory(files: Sequence[Path] = _CGROUP_FILES) -> int:
    """Count the processes of this container that the kernel has killed for want of memory
    (`oom_kill` of Linux's memory controller; docs.kernel.org, "Control Group v2"); 0 where nobody
    counts."""
    for file in files:
        with contextlib.suppress(OSError):
            found = re.search(r"^oom_kill (\d+)$", file.read_text(), re.MULTILINE)
            if found is not None:
                return int(found[1])
    return 0


class TrainerClient:
    """One trainer process at a time, and a new one when asked to after it has died.

    Args:
        command: what to start.
        begun: a trainer that has been started already, the first to be used.
        device, nice: as of `start_trainer`.
        start_timeout_s: how long importing torch and warming up may take.
        kills: counts the processes of this container that were killed for want of memory.
    """

    def __init__(
        self,
        *,
        command: Sequence[str] = TRAINER,
        begun: TrainerProcess | None = None,
        device: str = "auto",
        nice: int = 0,
        start_timeout_s: float = 120.0,
        kills: Callable[[], int] | None = None,
    ) -> None:
        self.hear: Callable[[Heard], None] = lambda heard: None
        """The listener, called by the client's own thread with each report but `Ready`, and with a
        death."""
        self._command = tuple(command)
        self._begun = begun
        self._device = device
        self._nice = nice
        self._said_not_nice = False
        self._start_timeout_s = start_timeout_s
        self._kills = kills or kills_for_memory
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._listener: threading.Thread | None = None
        self._ready = threading.Event()
        self._answered = threading.Event()
        self._died: TrainerDied | None = None
        self.devices: tuple[str, ...] = ()
        """The devices that the trainer found, best first; known once it has started."""
        self.memory_bytes: dict[str, int] = {}
        """All the memory of each of them, where it is known."""

    @property
    def pid(self) -> int | None:
        """The trainer's process id; None when there is none."""
        return None if self._process is None else self._process.pid

    @property
    def alive(self) -> bool:
        """True when a trainer is there that can take a run."""
        return self._process is not None and self._process.poll() is None and self._ready.is_set()

    @property
    def died(self) -> TrainerDied | None:
        """The end of the trainer in use, once it was heard; None: it lives, or has been stopped."""
        return self._died

    def start(self) -> None:
        """Make sure that a trainer is ready. Raises `TrainerUnavailableError`."""
        if self.alive:
            return
        if self._process is None or self._process.poll() is not None:
            self.launch()
        assert self._process is not None
        self._answered.wait(self._start_timeout_s)
        if not self._ready.is_set():
            status = self._process.poll()
            self.stop()
            how = "did not answer" if status is None else f"ended with status {status}"
            raise TrainerUnavailableError(f"The trainer {how} while starting; see the log above.")

    def launch(self) -> None:
        """Start a trainer without waiting until it is ready, in place of the one there was."""
        self.stop()
        try:
            begun = self._begun or start_trainer(self._command, self._device, self._nice)
        except OSError as error:
            raise TrainerUnavailableError(f"The trainer cannot be started: {error}.") from error
        self._begun = self._died = None
        self._process, self._socket = begun.process, begun.link
        if begun.not_nice is not None and not self._said_not_nice:
            self._said_not_nice = True
            log.warning("trainers keep the worker's priority: %s", begun.not_nice)
        self._ready, self._answered = threading.Event(), threading.Event()
        self._listener = threading.Thread(
            target=self._listen,
            args=(begun.process, begun.link, self._ready, self._answered),
            name="trainer-link",
            daemon=True,
        )
        self._listener.start()

    def send(self, request: Request) -> None:
        """Ask the trainer. A trainer that has just died is heard of through `hear`."""
        with contextlib.suppress(OSError):
            assert self._socket is not None
            self._socket.sendall(protocol.pack(request))

    def kill(self) -> None:
        """End the trainer at once. Its death is heard like any other."""
        if self._process is not None:
            self._process.kill()

    def stop(self, patience_s: float | None = None) -> None:
        """End the trainer and forget it; nothing is heard of it afterwards. With `patience_s` its
        death is not waited for any longer."""
        if self._process is None:
            return
        self._ready.clear()
        self._process.kill()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            log.warning("trainer %d takes its time to end", self._process.pid)
        else:
            if self._listener is not None:
                self._listener.join()
            if self._socket is not None:
                self._socket.close()
        self._process = self._socket = self._listener = None

    def _listen(
        self,
        process: subprocess.Popen[bytes],
        link: socket.socket,
        ready: threading.Event,
        answered: threading.Event,
    ) -> None:
        kills = self._kills()
        with link.makefile("rb") as stream:
            while True:
                try:
                    report = protocol.read_report(stream)
                except (OSError, ValueError) as error:
                    log.error("trainer %d: unreadable answer: %s", process.pid, error)
                    report = None
                if report is None:
                    break
                if isinstance(report, Ready):
                    self.devices = tuple(report.devices)
                    sizes = zip(report.devices, report.memory_bytes, strict=False)
                    self.memory_bytes = {name: size for name, size in sizes if size}
                    ready.set()
                    answered.set()
                else:
                    self.hear(report)
        process.kill()  # without its socket it is of no use, should it still live
        status = process.wait()
        killed = status == -signal.SIGKILL and self._kills() > kills
        was_ready = ready.is_set()
        ready.clear()
        answered.set()
        if was_ready:
            died = self._died = TrainerDied(status, killed)
            self.hear(died)
