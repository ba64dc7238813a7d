"""A part of the service: a child process that is restarted when it dies, and dies when we do."""

import contextlib
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import BinaryIO, Final

_LAUNCH: Final = """
import ctypes, os, signal, sys
parent, command = int(sys.argv[1]), sys.argv[2:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG
    if os.getppid() != parent:
        sys.exit("the starting process is gone")
    os.execv(command[0], command)
import subprocess, threading, time
child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, frame: child.send_signal(number))
threading.Thread(target=lambda: (sys.stdin.read(), child.kill()), daemon=True).start()
while child.poll() is None:
    time.sleep(0.2)  # no endless wait: a signal just before it would be heard at its end
sys.exit(child.returncode)
"""
# A fresh interpreter asks for the signal, and the kernel keeps it across exec: code between fork
# and exec of a process with threads (`preexec_fn`) may deadlock. Elsewhere than on Linux it stays
# and waits for the end of our pipe, which comes however we end.

STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask for an end in good order."""

FIRST_BACKOFF_S: Final = 0.2
LAST_BACKOFF_S: Final = 10.0
_SETTLED_S: Final = 10.0
"""A part that has lived this long starts again without delay."""


def tethered(command: Sequence[str]) -> list[str]:
    """Return a command line that runs `command` (its program by full path) and has it killed when
    this process ends. Give it a pipe as its standard input, and keep that open."""
    return [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *command]


@contextlib.contextmanager
def signals_deferred() -> Iterator[None]:
    """Hold the signals of `STOPPING` back until the block has ended.

    A handler that raises would otherwise cut `subprocess.Popen` short after the fork: a child then
    runs whose process id nobody has. Other threads than the main one get no signals: nothing to do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if came:
            signal.raise_signal(came[0])


class Stopped(BaseException):
    """One of `STOPPING` has come."""


@contextlib.contextmanager
def woken() -> Iterator[Callable[[float], None]]:
    """Raise `Stopped` in the block when one of `STOPPING` comes, and yield a function that waits so
    many seconds, or until a child has died. For the main thread."""
    for number in STOPPING:
        # Under nohup a hang-up is ignored, and stays so.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise_stopped)
    wakeup, wake = socket.socketpair()
    for end in (wakeup, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)  # so that a death wakes us
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)

    def wait(seconds: float) -> None:
        select.select([wakeup], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while wakeup.recv(512):
                pass

    try:
        yield wait
    finally:
        signal.set_wakeup_fd(-1)
        wakeup.close()
        wake.close()


def stopping_ignored() -> None:
    """Have the signals of `STOPPING` do nothing from now on: a stop is under way."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def _raise_stopped(number: int, frame: FrameType | None) -> None:
    raise Stopped


class Backoff:
    """Pauses before a process is started again: none after a life that had settled, else longer
    each time."""

    def __init__(self) -> None:
        self._pause_s = 0.0

    def after(self, lived_s: float) -> float:
        """Return the pause after a life that lasted so long; 0 of one that did not begin."""
        settled = lived_s > _SETTLED_S
        longer = min(max(2 * self._pause_s, FIRST_BACKOFF_S), LAST_BACKOFF_S)
        self._pause_s = 0.0 if settled else longer
        return self._pause_s


class Part:
    """A child process of the service.

    `start` must be called by a thread that lives as long as this process: on Linux the child is
    killed when that thread ends.

    Args:
        name: for messages (`api`, `worker 1`).
        log: its standard output and error are appended here; None leaves them ours.
        stem: with it each life of the process gets a name of its own that begins so, as `--name`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path | None,
        stem: str | None = None,
    ) -> None:
        self.name = name
        self.life = ""
        """The name of the process's present life, or of its last one."""
        self._command = tuple(command)
        self._stem = stem
        self._environment = dict(environment)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._log_from = 0
        self._started_at = 0.0
        self.deaths = 0
        """Number of its deaths."""
        self._backoff = Backoff()
        self._start_at: float | None = None

    @property
    def pid(self) -> int | None:
        """The process id; None when the process was not started."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Tell whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """Return its exit status, once it has ended; of the last one until it is started again."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start the process; its output goes to its log, or nowhere while that cannot be written.
        Raises `OSError`."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(signals_deferred())
            out: BinaryIO | int | None = None
            if self._log is not None:
                try:
                    out = stack.enter_context(self._log.open("ab"))
                    self._log_from = out.tell()
                except OSError:
                    out = subprocess.DEVNULL
            command = self._command
            if self._stem is not None:
                self.life = f"{self._stem}-{secrets.token_hex(3)}"
                command = (*command, "--name", self.life)
            self._process = subprocess.Popen(
                tethered(command),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                env={**os.environ, **self._environment},
                process_group=0,  # a terminal's Ctrl-C is for us alone
            )
        self._started_at = time.monotonic()
        self._start_at = None

    def tend(self, *, may_start: bool = True) -> str | None:
        """Look after the process: when it has died, start it again after a pause that grows while
        it keeps dying, and not before it `may_start`. Returns what to tell, once a death."""
        if self._process is None or self._process.poll() is None:
            return None
        now = time.monotonic()
        if self._start_at is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self.deaths += 1
            self._start_at = now + self._backoff.after(now - self._started_at)
            return f"{self.name} ended ({describe(self._process.returncode)}); starting it again"
        if may_start and now >= self._start_at:
            try:
                self.start()
            except OSError as error:
                self._start_at = now + self._backoff.after(0.0)
                return f"{self.name} cannot be started ({error}); trying again"
        return None

    def terminate(self) -> None:
        """Ask the process to end."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, deadline: float) -> None:
        """Wait until the process has ended; kill it at `deadline` (`time.monotonic`)."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()

    def last_words(self) -> str:
        """Return why it ended, by the last line that this life of it wrote into its log.

        Empty where it says nothing.
        """
        if self._log is None:
            return ""
        try:
            with self._log.open("rb") as log:
                log.seek(self._log_from)
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        # The log's lines are objects (`core.log`); "thalweg worker: …" says why it cannot start.
        with contextlib.suppress(ValueError, TypeError, KeyError):
            event: str = json.loads(last)["event"]
            return event
        return last.partition(": ")[2]


def describe(status: int) -> str:
    """Return a process's exit status in words."""
    if status >= 0:
        return f"status {status}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"
