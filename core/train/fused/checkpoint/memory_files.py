"""A run's files kept in memory: what the single run's loop writes and reads, for a task to keep."""

from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor

from core.artifacts.base import Buffer, JobArtifacts, OpenArtifact, Stored
from core.train.checkpoint.snapshot import resume_points
from core.train.tensors.tensor_file import raw

_JOB: Final = "job_00000000000000000000000000"


class MemoryFiles(JobArtifacts):
    """Artifacts by name; they are of no job that there is."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        super().__init__(_JOB)
        self.files = dict(files or {})

    def write(self, name: str, pieces: Iterable[Buffer]) -> Stored:
        data = b"".join(bytes(piece) for piece in pieces)
        self.files[name] = data
        return Stored(name, len(data), "")

    def open(self, name: str) -> OpenArtifact:
        if name not in self.files:
            raise self._missing(name)
        data = self.files[name]
        return OpenArtifact(len(data), iter([data]), lambda: None)

    def exists(self, name: str) -> bool:
        return name in self.files

    def list(self) -> dict[str, int]:
        return {name: len(data) for name, data in sorted(self.files.items())}

    def delete(self, name: str) -> None:
        self.files.pop(name, None)

    def delete_all(self) -> None:
        self.files.clear()

    def keep_latest(self) -> None:
        """Forget all resume checkpoints but the latest."""
        for name in resume_points(self)[1:]:
            self.delete(name)

    def tensors(self) -> dict[str, Tensor]:
        """Return the files' bytes as tensors, for `core.train.tensors.tree.flatten`."""
        return {
            name: torch.frombuffer(bytearray(data), dtype=torch.uint8)
            for name, data in self.files.items()
        }

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> "MemoryFiles":
        """Make the files from what `tensors` gave."""
        files = {name: b"".join(raw(tensor)) for name, tensor in tensors.items()}
        return cls(files)
