"""The check of an uploaded file, in a process of its own with limits.

Nothing here parses: the libraries that do are imported by that process only.
"""

import asyncio
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from core.errors import ArtifactError
from core.uploads.contents import Contents, RefusedFile
from core.uploads.schema import Schema

STORED_NAME: Final = "data.safetensors"
"""Name of the stored form in the target folder."""
WORK_PREFIX: Final = ".check-"
"""Beginning of the names of folders in which checks that go on keep what is temporary."""

_PROCESS: Final = (sys.executable, "-P", str(Path(__file__).parent / "parse" / "process.py"))
_ENVIRONMENT: Final = {
    # One thread each, and the system's allocator, which gives memory back: limits then mean what
    # they say.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_log = logging.getLogger("thalweg.uploads")


@dataclass(frozen=True)
class Limits:
    """Limits of the process of a check.

    Attributes:
        memory_bytes: of its own memory, its libraries included.
        cpu_s: processor seconds.
        open_files: descriptors.
        file_bytes: size of each file that it writes.
    """

    memory_bytes: int = 1024 * 2**20
    cpu_s: int = 600
    open_files: int = 64
    file_bytes: int = 16 * 2**30


class Check:
    """A file that is being checked; made by `start_check`. Any number may wait for it."""

    def __init__(self, request: dict[str, object], target_folder: Path, limits: Limits) -> None:
        self._request = request
        self._target = target_folder
        self._limits = limits
        self._end: Future[Contents] = Future()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._lock = threading.Lock()
        # On Linux the process is killed when the thread that started it ends: it has its own.
        self._thread = threading.Thread(target=self._run, name="check of an upload", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> Contents | None:
        """Wait for the end, at most this long; None: it is not there yet, and goes on.

        Raises:
            RefusedFile: the file breaks a rule, or its check came to a limit.
            ArtifactError: the target folder cannot be written: its disk is full, say.
        """
        try:
            return self._end.result(timeout_s)
        except NotYet:
            return None

    async def wait_async(self, timeout_s: float | None = None) -> Contents | None:
        """Wait as `wait` does, without holding up the event loop. A cancelled wait ends nothing but
        itself."""
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(asyncio.wrap_future(self._end))
        except TimeoutError:
            return None

    def stop(self) -> None:
        """End the process and remove what it wrote; a waiting call raises the refusal `stopped`.

        Nothing happens when it ended before.
        """
        with self._lock:
            self._stopped = True
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._end.set_result(self._checked())
        except BaseException as error:
            self._end.set_exception(error)

    def _checked(self) -> Contents:
        try:
            self._target.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=WORK_PREFIX, dir=self._target))
        except OSError as error:
            raise _unwritable(error.strerror) from error
        try:
            found = self._outcome(work)
            (work / STORED_NAME).replace(self._target / STORED_NAME)
            return found
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _outcome(self, work: Path) -> Contents:
        request = {**self._request, "work": str(work), "limits": asdict(self._limits)}
        with self._lock:
            if self._stopped:
                raise _stopped()
            # Its input stays open as long as we live: the end of it ends the process.
            with (work / "errors").open("wb") as errors:
                self._process = subprocess.Popen(
                    [*_PROCESS, str(os.getpid())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env={**os.environ, **_ENVIRONMENT},
                )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdout, suppress(BrokenPipeError), process.stdin:
            with suppress(BrokenPipeError):  # it died; its status says how
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
            reply = process.stdout.read()
            status = process.wait()
        return self._read(reply, status, (work / "errors").read_bytes()[-4000:])

    def _read(self, reply: bytes, status: int, errors: bytes) -> Contents:
        answer = json.loads(reply) if status == 0 and reply else {}
        if "contents" in answer:
            return Contents.from_json(answer["contents"])
        if "refused" in answer:
            raise RefusedFile.from_json(answer["refused"])
        if "unwritable" in answer:
            raise _unwritable(answer["unwritable"])
        if self._stopped:
            raise _stopped()
        if status == -signal.SIGXCPU:
            raise RefusedFile(
                "time_limit",
                f"The check of the file was ended after {self._limits.cpu_s:,} processor seconds."
                " Upload a smaller file, or Parquet instead of text.",
            )
        if status in {-signal.SIGABRT, -signal.SIGKILL} or _out_of_memory(errors):
            raise RefusedFile("memory_limit", memory_message(self._limits.memory_bytes))
        _log.error(
            "the check of an upload ended with status %d: %s",
            status,
            errors.decode(errors="replace"),
        )
        raise RefusedFile(
            "cannot_be_read",
            "The file could not be read: its reader failed. It is probably damaged; save it again.",
        )


def start_check(
    path: Path,
    media_type: str,
    target_folder: Path,
    schema: Schema | None = None,
    limits: Limits | None = None,
) -> Check:
    """Start the check of the file at `path`; return at once.

    At its end `target_folder` (made here where it is not there) holds the stored form,
    `STORED_NAME`, and nothing else of the check; of a refused file, nothing at all. `path` is read
    only, and may be removed once the check has ended. The process dies with this one; what it has
    then written lies in `target_folder` below a name that begins with `WORK_PREFIX` and can be
    removed.

    `media_type` is one of `MEDIA_TYPES`, without parameters; any other is refused by the check.
    """
    request: dict[str, object] = {
        "path": str(path.absolute()),
        "media_type": media_type,
        "schema": (schema or Schema()).to_json(),
    }
    return Check(request, target_folder, limits or Limits())


def check_file(
    path: Path,
    media_type: str,
    target_folder: Path,
    schema: Schema | None = None,
    limits: Limits | None = None,
) -> Contents:
    """Check a file as `start_check` does, and wait for its end.

    Raises:
        RefusedFile: the file breaks a rule, or its check came to a limit.
        ArtifactError: the target folder cannot be written.
    """
    found = start_check(path, media_type, target_folder, schema, limits).wait()
    assert found is not None
    return found


def memory_message(limit: int) -> str:
    """Return the message of a check that came to its limit of memory."""
    return (
        f"The check of the file needed more than the {limit // 2**20:,} MiB of memory that it may"
        " have. Upload it in smaller parts: fewer columns, smaller row groups of a Parquet file,"
        " smaller images."
    )


def _out_of_memory(errors: bytes) -> bool:
    """Tell by a process's last words whether memory ran out, for a library as it was loaded too."""
    return b"MemoryError" in errors or b"failed to map segment" in errors


def _stopped() -> RefusedFile:
    return RefusedFile(
        "stopped", "The check of the file was stopped before its end. Upload it again."
    )


def _unwritable(reason: str | None) -> ArtifactError:
    return ArtifactError(f"an upload could not be stored: {reason or 'no reason is known'}")
