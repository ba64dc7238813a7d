"""Use of the processor and memory by a process, as Linux counts it (proc(5))."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from core.store.history.times import Times

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class ProcessUse(NamedTuple):
    """Processor time that all threads of a process have had, and its memory (resident set)."""

    cpu_s: float
    memory_bytes: int


def process_use(pid: int | None, proc: Path = Path("/proc")) -> ProcessUse | None:
    """Look at a process; None where it is gone, or where the system does not tell (no Linux)."""
    try:
        stat = (proc / str(pid) / "stat").read_text()
        pages = (proc / str(pid) / "statm").read_text().split()[1]
        # What follows the name, which may hold anything: fields 14 and 15 of the line.
        fields = stat.rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
    except (OSError, ValueError, IndexError):
        return None
    return ProcessUse(ticks / _TICKS_A_SECOND, int(pages) * _PAGE_BYTES)


class Sampler:
    """Samples a process while it trains a job. Used once.

    Args:
        look: looks at the process.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        look: Callable[[], ProcessUse | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._clock = clock
        self._before: tuple[float, ProcessUse | None] | None = None
        self._known: tuple[float, float] = (0.0, clock())
        self.device: tuple[float | None, float | None] = (None, None)
        """Latest use of the device: percent, and bytes of memory."""

    def enter(self, phase: str) -> None:
        """Note that the job enters a phase: samples are of `training` alone."""
        self._before = (self._clock(), self._look()) if phase == "training" else None

    def came(self, times: Times) -> None:
        """Note how far the training has come by now."""
        if times:
            self._known = times[-1][1], self._clock()

    def sample(self) -> list[float | None] | None:
        """Return `time_s`, `cpu_percent`, `memory_bytes`, `device_percent`, `device_memory_bytes`:
        of the time since the last sample; None while nothing trains."""
        if self._before is None:
            return None
        (then, before), now, use = self._before, self._clock(), self._look()
        self._before = now, use
        seconds, at = self._known
        percent = None
        if before is not None and use is not None and now > then:
            percent = 100.0 * max(0.0, use.cpu_s - before.cpu_s) / (now - then)
        memory = None if use is None else float(use.memory_bytes)
        return [seconds + now - at, percent, memory, *self.device]
