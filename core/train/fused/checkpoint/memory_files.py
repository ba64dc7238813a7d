"""A run's files kept in memory: what the single run's loop writes and reads, for a task to keep."""

from typing import Final

import torch
from torch import Tensor

from core.artifacts.memory import MemoryJob
from core.train.checkpoint.snapshot import resume_points
from core.train.tensors.tensor_file import raw

_JOB: Final = "job_00000000000000000000000000"


class MemoryFiles(MemoryJob):
    """Artifacts by name; they are of no job that there is."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        super().__init__(_JOB, dict(files or {}))

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
