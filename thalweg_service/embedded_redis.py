"""A Redis-protocol server of our own: started on a Unix socket, and ended with us.

Its data is durable: every acknowledged write is on the disk (`appendfsync always`). Only this user
can reach it: it listens on no port, and its socket stands in a folder of mode 0700.
"""

import contextlib
import fcntl
import hashlib
import math
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import quote

import redis

from thalweg_service.append_only_file import FOLDER, SpaceAhead
from thalweg_service.child_process import signals_deferred
from thalweg_service.server_binary import EmbeddedServerError, find_server

_MAX_SOCKET_PATH: Final = 100  # sun_path holds 104 bytes on macOS, 108 on Linux, with the final NUL
_POLL_S: Final = 0.005
_TELL_WITHIN_S: Final = 0.5
_LAST_BYTES: Final = 2**20
REWRITE_FROM: Final = "512mb"
"""The histories of one large study are 100 MB: from the default of 64 MB on, the append-only file
would be written anew in the midst of each of the first studies, which took as much time of a core
as the server itself."""

_LAUNCH: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1: PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit("the starting process is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""
# Linux: the kernel ends the server with us. Asked for in the child by a fresh interpreter, since
# code between fork and exec of a process with threads (`preexec_fn`) may deadlock; exec keeps it.

_WATCH: Final = """
import os, signal, subprocess, sys, threading, time
def end(*_):
    server.terminate()
server = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, close_fds=False)
signal.signal(signal.SIGTERM, end)
threading.Thread(target=lambda: (sys.stdin.buffer.read(), end()), daemon=True).start()
while server.poll() is None:
    time.sleep(0.2)  # no endless wait: a signal just before it would be heard at its end
sys.exit(server.returncode)
"""
# Elsewhere: a watcher stays, and ends the server when our end of its input closes, as it does
# however we end.


Writes = Literal["all", "smaller", "none"]
"""The writes that the server takes: all, those that make its data smaller, none."""


DISK_FULL: Final = "the disk is full: the server refuses writes until there is space again"


def free_bytes(folder: Path) -> int:
    """Return the bytes that are free on the disk of a folder."""
    return shutil.disk_usage(folder).free


class DamagedDataError(EmbeddedServerError):
    """The server cannot read its data."""


_DAMAGED: Final = re.compile(r"Bad file format|Check RDB returned|Unexpected end of file|check-aof")
_LEFT: Final = ("temp-*.aof", "temp-*.rdb")
_TRUNCATED: Final = re.compile(r"Truncating the AOF (\S+) at offset (\d+)")


class EmbeddedServer:
    """A server with its data in `folder`, which is made (0700) if need be.

    `start` must be called by a thread that lives as long as the process: on Linux the server gets
    SIGTERM when that thread ends, however it ends. The folder is locked while the server lives.
    """

    def __init__(
        self,
        folder: Path,
        *,
        binary: Path | None = None,
        fsync: bool = True,
        max_memory_bytes: int | None = None,
        lock_timeout_s: float = 3.0,
        watched: bool = sys.platform != "linux",
        floor_bytes: int = 0,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        """`fsync=False` is for tests: a loss of power may then take acknowledged writes with it.
        Beyond `max_memory_bytes` writes are refused. A server before us that is still ending has
        `lock_timeout_s` to. `watched`: tied to our life by a watching process, not by the kernel.
        `floor_bytes`: see `keep_off_a_full_disk`; `free` tells how much a folder's disk has free.
        """
        self.folder = folder.expanduser().absolute()
        self._binary = binary
        self._fsync = fsync
        self._max_memory_bytes = max_memory_bytes
        self._lock_timeout_s = lock_timeout_s
        self._launcher = _WATCH if watched else _LAUNCH
        self._floor_bytes = floor_bytes
        self._ahead = self._space_ahead()
        self._free = free
        self._writes: Writes = "all"
        self.cut_off: str | None = None
        """The file whose unfinished last command was left out at the start, and from which byte."""
        self._process: subprocess.Popen[bytes] | None = None
        self.socket = self._socket_path()

    @property
    def url(self) -> str:
        """The address for redis-py: `unix:///…` (kombu wants the same with `redis+socket`)."""
        return f"unix://{quote(str(self.socket))}"

    @property
    def log_path(self) -> Path:
        return self.folder / "server.log"

    @property
    def pid(self) -> int | None:
        """The id of the server's process (or of its watcher); None when it was not started."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Tell whether the process lives; also reaps it when it has died."""
        return self._process is not None and self._process.poll() is None

    @property
    def takes_writes(self) -> bool:
        """Tell whether all writes are taken (see `keep_off_a_full_disk`)."""
        return self._writes == "all"

    def start(self, timeout_s: float = 30.0) -> None:
        """Start, and return once the server answers PING. Called again after it died, restarts it.

        Reading a large data set back takes as long as it takes; `timeout_s` is for no answer at
        all. Raises `EmbeddedServerError`.
        """
        if self.running:
            return
        self.stop()  # of one that died, what is left
        self._writes = self._writes_for(self._free_bytes())
        binary = self._binary or find_server()
        if not os.access(binary, os.X_OK):
            raise EmbeddedServerError(f"{binary} is not a program that can be run.")
        try:
            _private_folder(self.folder)
            _private_folder(self.socket.parent)
            lock = self._lock()
        except OSError as error:
            raise EmbeddedServerError(
                f"The folder {error.filename or self.folder} cannot be used: {error.strerror}."
            ) from error
        try:
            self._remove_left()
            with self.log_path.open("ab") as log, signals_deferred():
                log_from = log.tell()
                self._process = subprocess.Popen(
                    [
                        sys.executable,
                        "-ISc",
                        self._launcher,
                        str(os.getpid()),
                        binary,
                        *self._options(),
                    ],
                    stdin=subprocess.PIPE,  # closes when we end: a watcher waits for that
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    pass_fds=(lock,),  # the lock lasts as long as the server, not as we
                    start_new_session=True,  # Ctrl-C in a terminal is for us alone
                )
        except OSError as error:
            raise EmbeddedServerError(f"The server cannot be started: {error}.") from error
        finally:
            os.close(lock)
        try:
            self._wait_until_ready(timeout_s)
        except BaseException:
            self.stop()
            raise
        self.cut_off = self._cut_off(log_from)
        self._ahead = self._space_ahead()
        self._hold_ahead(self._free_bytes())

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the server: SIGTERM (it writes what is left), SIGKILL after `timeout_s`."""
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None
        self.socket.unlink(missing_ok=True)
        if self.socket.parent != self.folder:
            with contextlib.suppress(OSError):
                self.socket.parent.rmdir()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _socket_path(self) -> Path:
        near = self.folder / "redis.sock"
        if len(os.fsencode(near)) <= _MAX_SOCKET_PATH:
            return near
        # The same folder gets the same address, so that a client finds a restarted server again.
        mark = hashlib.blake2b(os.fsencode(self.folder), digest_size=6).hexdigest()
        name = f"thalweg-{os.getuid()}-{mark}"
        short = Path(tempfile.gettempdir()) / name / "redis.sock"
        if len(os.fsencode(short)) <= _MAX_SOCKET_PATH:
            return short
        return Path("/tmp") / name / "redis.sock"

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "daemonize": "no",
            "loglevel": "notice",
            "logfile": str(self.log_path),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always" if self._fsync else "no",
            "aof-use-rdb-preamble": "yes",
            "auto-aof-rewrite-min-size": REWRITE_FROM,
            **self._limits(),
            "maxmemory-policy": "noeviction",
            "lazyfree-lazy-user-del": "yes",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def keep_off_a_full_disk(self) -> str | None:
        """Refuse writes while the disk has less than `floor_bytes` free; returns what to tell when
        that changes. Called often.

        The server ends at a write that fails, and its readers lose it. Commands that free memory (a
        delete) are still taken until the last `_LAST_BYTES`. Half of `floor_bytes` is held ahead of
        the server's file, for what is written between two calls while something else fills the
        disk.
        """
        if self._floor_bytes == 0 or not self.running:
            return None
        free = self._free_bytes()
        self._hold_ahead(free)
        wanted = self._writes_for(free)
        if wanted == self._writes:
            return None
        before, self._writes = self._writes, wanted
        try:
            with redis.Redis.from_url(self.url, socket_timeout=_TELL_WITHIN_S) as client:
                for name, value in self._limits().items():
                    client.config_set(name, value)
        except redis.RedisError:
            self._writes = before  # and again at the next call
            return None
        if wanted == "all":
            return "the disk has space again; the server takes writes"
        return DISK_FULL if before == "all" else None

    def _space_ahead(self) -> SpaceAhead:
        return SpaceAhead(self.folder / FOLDER, self._floor_bytes // 2)

    def _hold_ahead(self, free: float) -> None:
        if self._floor_bytes > 0 and free >= self._ahead.num_bytes + _LAST_BYTES:
            self._ahead.make_up()

    def _free_bytes(self) -> float:
        try:
            return self._free(self.folder)
        except OSError:
            return math.inf

    def _writes_for(self, free: float) -> "Writes":
        if free < min(_LAST_BYTES, self._floor_bytes):
            return "none"
        # It takes more space to begin again than to go on, so that it does not flap.
        enough = self._floor_bytes * (1 if self._writes == "all" else 1.5)
        return "all" if free >= enough else "smaller"

    def _limits(self) -> dict[str, str]:
        """Return the server's settings that let only the writes through that are taken now."""
        memory = (self._max_memory_bytes or 0) if self._writes == "all" else 1
        return {
            "maxmemory": str(memory),
            "min-replicas-to-write": "1" if self._writes == "none" else "0",
        }

    def _lock(self) -> int:
        """Take the folder's lock, and return the descriptor that holds it."""
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_up = time.monotonic() + self._lock_timeout_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > give_up:
                    os.close(lock)
                    raise EmbeddedServerError(
                        f"Another server is using {self.folder}: stop it, or choose another"
                        " data folder."
                    ) from None
                time.sleep(_POLL_S)
            else:
                return lock

    def _remove_left(self) -> None:
        """Remove what a killed server has left: its socket, and the data that it was writing anew.

        Nobody writes it any more: a child of the server holds the folder's lock, too.
        """
        self.socket.unlink(missing_ok=True)
        for pattern in _LEFT:
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)

    def _wait_until_ready(self, timeout_s: float) -> None:
        give_up = time.monotonic() + timeout_s
        client = redis.Redis.from_url(self.url, socket_timeout=timeout_s)
        try:
            while self.running:
                try:
                    client.ping()
                except redis.BusyLoadingError:
                    give_up = time.monotonic() + timeout_s
                except redis.RedisError:
                    if time.monotonic() > give_up:
                        raise EmbeddedServerError(
                            f"The server did not answer within {timeout_s:g} s; see"
                            f" {self.log_path}."
                        ) from None
                else:
                    return
                time.sleep(_POLL_S)
        finally:
            client.close()
        code = None if self._process is None else self._process.returncode
        words = self._last_words()
        kind = DamagedDataError if _DAMAGED.search(words) else EmbeddedServerError
        raise kind(f"The server ended at its start (exit {code}): {words}; see {self.log_path}.")

    def _cut_off(self, log_from: int) -> str | None:
        with contextlib.suppress(OSError), self.log_path.open("rb") as log:
            log.seek(log_from)
            if found := _TRUNCATED.search(log.read().decode(errors="replace")):
                return f"{found[1]} at byte {found[2]}"
        return None

    def _last_words(self) -> str:
        try:
            lines = self.log_path.read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        return next((line.strip() for line in reversed(lines) if line.strip()), "no word")


def _private_folder(folder: Path) -> None:
    """Make `folder`, or make sure that it is ours and no one else's.

    Raises `EmbeddedServerError` for another user's folder or a link (a trap in the temp folder).
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise EmbeddedServerError(f"{folder} is not a folder of this user.")
    folder.chmod(0o700)
