"""The most memory that a process has held since a moment."""

import contextlib
import os
import resource
import sys
from typing import Final

from core.environment.gpus import for_torch

_RESET_PEAK: Final = b"5"
"""The word with which `clear_refs` makes the peak the present size (proc(5))."""
_STATUS_BYTES: Final = 2**14
_NO_DEVICE: Final = (AssertionError, AttributeError, RuntimeError, ValueError)
"""The errors that torch raises for a GPU that is not there or has failed."""


class PeakMemory:
    """Counts anew from each `start`, for work on a device. One a process: it keeps files open, so
    that a look takes 0.03 ms.

    On a CPU it is the peak of the whole process's resident set: what a warm trainer held before
    (torch's own 300 MiB, say) is in it. Linux counts anew from a reset; where it cannot be reset,
    the peak is that since the process began. On a GPU it is the peak of what torch has allocated
    there for tensors; `core.train.fused.memory_probe` counts there too, and what came before its
    last look is left out.
    """

    def __init__(self) -> None:
        self._device = "cpu"
        self._status = _opened("/proc/self/status", os.O_RDONLY)
        self._clear_refs = _opened("/proc/self/clear_refs", os.O_WRONLY)

    def start(self, device: str) -> None:
        """Count from here on, for `device` (`cpu`, `cuda:0`, …)."""
        self._device = for_torch(device, os.environ)
        if device.startswith("cuda"):
            import torch

            with contextlib.suppress(*_NO_DEVICE):
                torch.cuda.reset_peak_memory_stats(self._device)
        elif self._clear_refs is not None:
            try:
                os.write(self._clear_refs, _RESET_PEAK)
            except OSError:  # a sandbox that does not let it
                self._clear_refs = None

    def read(self) -> int | None:
        """Bytes; None or 0 where the device is not there or has failed: its work says so."""
        if self._device.startswith("cuda"):
            import torch

            try:
                return int(torch.cuda.max_memory_allocated(self._device))
            except _NO_DEVICE:
                return None
        if self._status is not None:
            status = os.pread(self._status, _STATUS_BYTES, 0)
            for line in status.splitlines():
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) * 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _opened(path: str, flags: int) -> int | None:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError:
        return None
