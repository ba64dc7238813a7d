"""Which devices there are, and how torch runs on them for a job."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils.deterministic

from core.determinism import num_threads, set_deterministic
from core.errors import JobFailure
from core.problems.base import Problem


def available() -> tuple[str, ...]:
    """The devices of this machine, best first: `("cuda:0", …, "cpu")`."""
    return (*(f"cuda:{index}" for index in range(torch.cuda.device_count())), "cpu")


def pick_device(wanted: str) -> torch.device:
    """The device that a spec's `device` names; `auto` is the best one there is.

    Raises:
        JobFailure: `device_unavailable`.
    """
    devices = available()
    name = {"auto": devices[0], "cuda": "cuda:0"}.get(wanted, wanted)
    if name not in devices:
        raise JobFailure("device_unavailable", f"this worker has no device {name!r}", "device")
    return torch.device(name)


@contextmanager
def exact_kernels() -> Iterator[None]:
    """Deterministic kernels and no TF32 inside; the settings before come back after.

    Building a problem runs on one thread; `use_threads_for` then sets the training's.
    Uninitialized memory is left as it is: filling it, torch's default beside deterministic
    kernels, costs time in every step and changes nothing that is read.
    """
    threads = torch.get_num_threads()
    was_deterministic = torch.are_deterministic_algorithms_enabled()
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
        torch.use_deterministic_algorithms(was_deterministic)
        torch.set_num_threads(threads)


def use_threads_for(problem: Problem) -> None:
    """Give torch the number of threads that the problem's size asks for."""
    set_deterministic(num_threads(1, problem.multiply_adds))
