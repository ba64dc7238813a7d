"""Artifacts in this process's memory: they end with it, however it ends."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator

from core.artifacts.base import (
    PIECE_BYTES,
    ArtifactStore,
    Buffer,
    JobArtifacts,
    OpenArtifact,
    Stored,
)


class MemoryStore(ArtifactStore):
    """A store of its own: no two see the same."""

    def __init__(self) -> None:
        self._files: defaultdict[str, dict[str, bytes]] = defaultdict(dict)

    def job(self, job_id: str) -> "MemoryJob":
        return MemoryJob(job_id, self._files[job_id])

    def check(self) -> None:
        """Do nothing: memory can be written."""


class MemoryJob(JobArtifacts):
    """The artifacts of one job.

    Args:
        files: name -> bytes, changed in place.
    """

    def __init__(self, job_id: str, files: dict[str, bytes]) -> None:
        super().__init__(job_id)
        self.files = files

    def write(self, name: str, pieces: Iterable[Buffer]) -> Stored:
        self._checked(name)
        data = b"".join(pieces)
        self.files[name] = data
        return Stored(name, len(data), hashlib.sha256(data).hexdigest())

    def open(self, name: str) -> OpenArtifact:
        data = self.files.get(self._checked(name))
        if data is None:
            raise self._missing(name)
        return OpenArtifact(len(data), _pieces(data), lambda: None)

    def exists(self, name: str) -> bool:
        return self._checked(name) in self.files

    def list(self) -> dict[str, int]:
        return {name: len(data) for name, data in sorted(self.files.items())}

    def delete(self, name: str) -> None:
        self.files.pop(self._checked(name), None)

    def delete_all(self) -> None:
        self.files.clear()


def _pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]
