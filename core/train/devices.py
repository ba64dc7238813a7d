"""Devices of this machine, and how torch runs on them for a job."""

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import torch
import torch.utils.deterministic

from core.environment import gpus
from core.errors import JobFailure
from core.specs.sizes.cost import num_threads
from core.train.determinism import set_deterministic
from core.train.memory import total_bytes
from core.train.problems.base import Problem

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""glibc's names for `mallopt`, from <malloc.h>."""
MOST_FROM_HEAP: Final = 32 * 2**20
"""The largest threshold that glibc takes, and its own once something of this size was freed."""
KEPT_WHILE_TRAINING: Final = 2**30
KEPT_OTHERWISE: Final = 2 * MOST_FROM_HEAP
"""Bytes that are kept at other times: as glibc sets it beside `MOST_FROM_HEAP`."""


def available() -> tuple[str, ...]:
    """Return the devices of this machine, best first: `("cuda:0", …, "cpu")`."""
    return (*gpus.names(torch.cuda.device_count(), os.environ), "cpu")


def total_memory(device: str) -> int | None:
    """Return all the memory of a device of `available`; None where nobody tells."""
    if device == "cpu":
        return total_bytes()
    return int(torch.cuda.get_device_properties(gpus.for_torch(device, os.environ)).total_memory)


def pick_device(wanted: str) -> torch.device:
    """Return the device that a spec's `device` names; `auto` is the best one there is.

    Raises:
        JobFailure: `device_unavailable`.
    """
    devices = available()
    gpu = next((name for name in devices if name != "cpu"), "cuda:0")
    name = {"auto": devices[0], "cuda": gpu}.get(wanted, wanted)
    if name not in devices:
        raise JobFailure("device_unavailable", f"this worker has no device {name!r}", "device")
    return torch.device(gpus.for_torch(name, os.environ))


class GpuUse:
    """The use of a GPU, as torch and NVML tell it; of another device there is none to tell.

    NVML is asked once a second at most, and only where its package for Python is installed.
    """

    _EVERY_S: Final = 1.0

    def __init__(self, device: torch.device, clock: Callable[[], float]) -> None:
        self._device = device
        self._clock = clock
        self._asked: float | None = None
        self._percent: float | None = None

    def look(self) -> tuple[float | None, int | None]:
        """Return the share of the last moments in which it was at work, in percent, and the bytes
        of its memory that this process holds for tensors."""
        if self._device.type != "cuda":
            return None, None
        now = self._clock()
        if self._asked is None or now >= self._asked + self._EVERY_S:
            self._asked = now
            try:
                self._percent = float(torch.cuda.utilization(self._device))
            except (ImportError, RuntimeError):
                self._percent = None
        return self._percent, int(torch.cuda.memory_reserved(self._device))


@contextmanager
def exact_kernels() -> Iterator[None]:
    """Use deterministic kernels and no TF32 inside; the settings before come back after.

    Building a problem runs on one thread; `use_threads_for` then sets the training's.
    Uninitialized memory is left as it is: filling it, torch's default beside deterministic
    kernels, costs time in every step and changes nothing that is read.
    """
    threads = torch.get_num_threads()
    mode = torch.get_deterministic_debug_mode()
    # A module whose class has this as a property, which its stub does not tell.
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        memory.fill_uninitialized_memory = False
        set_deterministic(1)
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = matmul
        torch.backends.cudnn.allow_tf32 = cudnn
        memory.fill_uninitialized_memory = fill
        torch.set_deterministic_debug_mode(mode)
        torch.set_num_threads(threads)


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep up to `KEPT_WHILE_TRAINING` bytes that a step frees with the process for the next step;
    after the context, they go back to the system as they are freed.

    A step of a large model frees and allocates hundreds of megabytes. Given back each time, they
    come back as pages that the kernel must clear: of a 4 × 2,048 MLP's step of 470 ms, 20 ms.
    Only where the C library is glibc; elsewhere, and for tensors of more than `MOST_FROM_HEAP`,
    nothing changes.
    """
    mallopt = _mallopt()
    if mallopt is None:
        yield
        return
    mallopt(_MMAP_THRESHOLD, MOST_FROM_HEAP)
    mallopt(_TRIM_THRESHOLD, KEPT_WHILE_TRAINING)
    try:
        yield
    finally:
        mallopt(_TRIM_THRESHOLD, KEPT_OTHERWISE)


@cache
def _mallopt() -> Callable[[int, int], int] | None:
    found: Callable[[int, int], int] | None = getattr(ctypes.CDLL(None), "mallopt", None)
    return found


def use_threads_for(problem: Problem, threads: int | None = None) -> None:
    """Give torch so many threads; None: the number that the problem's size asks for."""
    set_deterministic(threads or num_threads(problem.multiply_adds))
