"""Weights, checkpoints and uploads: what every artifact store offers, whatever stands behind it.
Torch-free.

An artifact is named by its job, its study, its stored upload or its use of weights, and by one or
two plain parts (`final.safetensors`, `checkpoints/step_500.safetensors`). It appears whole or not
at all.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.errors import ArtifactError, NotFoundError
from core.ids import (
    EXPORT_PREFIX,
    FILE_PREFIX,
    JOB_PREFIX,
    KEY_PREFIX,
    PREDICTION_PREFIX,
    STUDY_PREFIX,
    ULID_LENGTH,
    is_id,
)

Buffer = bytes | bytearray | memoryview

PIECE_BYTES: Final = 2**20
_NAME: Final = re.compile(r"(?:[a-z0-9][a-z0-9_-]*/)?[a-z0-9][a-z0-9_-]*(?:\.[a-z0-9]+)*")

_PREFIXES: Final = (
    JOB_PREFIX, STUDY_PREFIX, FILE_PREFIX, KEY_PREFIX, PREDICTION_PREFIX, EXPORT_PREFIX
)  # fmt: skip
_KEYS: Final = f"{KEY_PREFIX}_{'0' * ULID_LENGTH}"
_MADE: Final = "made"
_TRIAL: Final = f"{JOB_PREFIX}_{'0' * ULID_LENGTH}"
"""Holder of trials, the same for all: what a killed one leaves, the next one takes away."""


@dataclass(frozen=True)
class Stored:
    """A complete artifact: its name within its job, its size and the SHA-256 of its bytes."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class OpenArtifact:
    """An artifact open for reading: its bytes are of one version, whatever is written meanwhile."""

    size_bytes: int
    pieces: Iterator[bytes]
    close: Callable[[], None]
    """Let go of it; for whoever does not read to the end."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes, in pieces of about 1 MiB; close the artifact at the end.

        Raises:
            ArtifactError: the rest cannot be read.
        """
        try:
            yield from self.pieces
        finally:
            self.close()


class Staged(ABC):
    """An artifact whose bytes have been taken, and which nobody sees yet. One of the two is called,
    once, by any thread."""

    @abstractmethod
    def finish(self) -> Stored:
        """Make it durable and put it in its place, as `JobArtifacts.write` does."""

    @abstractmethod
    def drop(self) -> None:
        """Forget it."""


class JobArtifacts(ABC):
    """The artifacts of one job, study or stored upload. Every method may raise `ArtifactError`:
    what could not be done and why, in words that show no path of the machine and nothing secret.

    Raises:
        NotFoundError: `job_id` is no such id (nothing of others can be named).
    """

    def __init__(self, job_id: str) -> None:
        if not any(is_id(job_id, prefix) for prefix in _PREFIXES):
            raise NotFoundError(f"no job, study or stored upload {job_id!r}")
        self.job_id = job_id

    @abstractmethod
    def write(self, name: str, pieces: Iterable[Buffer]) -> Stored:
        """Write an artifact, replacing an earlier one of this name.

        It is durable when this returns: a job that is recorded as succeeded must still have its
        weights after a power cut. What `pieces` raises is passed on, and nothing has changed.
        """

    def stage(self, name: str, pieces: Iterable[Buffer]) -> Staged:
        """Do the quick part of a `write`, which waits for no disk or network: take the bytes. What
        `pieces` raises is passed on."""
        return _InMemory(self, name, b"".join(pieces))

    def adopt(self, name: str, path: Path) -> None:
        """Make a file of this machine an artifact, as `write` does; it is not at `path` any
        more."""
        with path.open("rb") as stream:
            self.write(name, iter(lambda: stream.read(PIECE_BYTES), b""))
        path.unlink()

    def local_path(self, name: str) -> Path | None:
        """Return the path of an artifact that is a file of this machine, there or not; None where
        artifacts are no files."""
        self._checked(name)
        return None

    @abstractmethod
    def open(self, name: str) -> OpenArtifact:
        """Open for reading. Raises `NotFoundError` when there is none of this name."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Tell whether a complete artifact of this name is there."""

    @abstractmethod
    def list(self) -> dict[str, int]:
        """Name -> bytes of every complete artifact, sorted by name; empty when there is none."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove one; nothing happens when it is not there."""

    @abstractmethod
    def delete_all(self) -> None:
        """Remove all that the job has, half-written things included; fine when there is nothing."""

    def read(self, name: str) -> bytes:
        """Return the whole artifact; raises as `open` does."""
        return b"".join(self.open(name).chunks())

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """Read at least one byte, and at most `length`, from `start` on: fewer where the artifact
        ends before. `start` lies within it. Raises as `open` does."""
        opened = self.open(name)
        found = bytearray()
        position = 0
        try:
            for piece in opened.pieces:
                skipped = max(0, start - position)
                found += piece[skipped : skipped + length - len(found)]
                position += len(piece)
                if len(found) == length:
                    break
        finally:
            opened.close()
        return bytes(found)

    def _checked(self, name: str) -> str:
        """Return the name, which can name nothing outside the job. Raises `NotFoundError`."""
        if len(name) > 200 or _NAME.fullmatch(name) is None:
            raise self._missing(name)
        return name

    def _missing(self, name: str) -> NotFoundError:
        return NotFoundError(f"{self.job_id} has no artifact {name!r}")

    def _failure(self, name: str, done: str, reason: str) -> ArtifactError:
        what = f"artifact {name!r} of {self.job_id}" if name else f"artifacts of {self.job_id}"
        return ArtifactError(f"{what} could not be {done}: {reason}")


@dataclass(frozen=True)
class _InMemory(Staged):
    artifacts: JobArtifacts
    name: str
    data: bytes

    def finish(self) -> Stored:
        return self.artifacts.write(self.name, (self.data,))

    def drop(self) -> None:
        """Do nothing: nothing was made."""


class ArtifactStore(ABC):
    """The store in which all jobs, studies and stored uploads have their artifacts. Threads may
    share it."""

    @abstractmethod
    def job(self, job_id: str) -> JobArtifacts:
        """Return the artifacts of one job, study or stored upload; nothing is made or looked at
        before it is used."""

    @abstractmethod
    def check(self) -> None:
        """Check that the store can be used now. Raises `ArtifactError` with the reason alone."""

    def note_keys(self) -> None:
        """Note that API keys were made: what guards the service is remembered outside Redis too,
        so that a store that was emptied does not open it. Raises `ArtifactError`."""
        self.job(_KEYS).write(_MADE, (b"API keys were made: they are needed from then on.\n",))

    def has_keys(self) -> bool:
        """Tell whether API keys were ever made. Raises `ArtifactError`."""
        return self.job(_KEYS).exists(_MADE)

    def try_write(self) -> None:
        """Write an artifact of a few bytes and remove it again: a worker that cannot must take no
        work. Raises `ArtifactError`."""
        self.check()
        trial = self.job(_TRIAL)
        try:
            trial.write("trial", (b"trial",))
        finally:
            trial.delete("trial")
