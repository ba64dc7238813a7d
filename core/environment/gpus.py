"""The GPUs of a machine as the service names them, and which of them one process sees.

A worker that is given one GPU sees that one alone (`CUDA_VISIBLE_DEVICES`), so torch calls it
`cuda:0` whichever it is. In records it keeps the name that it has on the machine.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
"""The driver's variable: the GPUs that a process sees, by number or by id, with commas between."""
OWN: Final = "THALWEG_OWN_GPU"
"""The name on the machine of the only GPU that a process sees; set by `own_only`."""
_GIVEN: Final = "NVIDIA_VISIBLE_DEVICES"
"""NVIDIA's variable for containers: the GPUs that the engine gives to one."""


def missing_gpu(device: str) -> str | None:
    """Return why a worker cannot be given `device`, where that is a GPU and there can be none: this
    is seen at once, and torch, which would look for one, takes seconds to import."""
    if device.partition(":")[0] != "cuda" or Path("/dev/kfd").exists():  # of AMD
        return None
    import ctypes

    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return (
            f"This machine has no device {device!r}: it has no NVIDIA driver (libcuda.so.1). Start"
            " a container with access to the GPUs (--gpus all), or the worker with --device cpu."
        )
    return None


def own_only(device: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which a process sees `device` and no other GPU, given those that it
    has: nothing where the device leaves a choice (`auto`, `cuda`), or where they say so already."""
    if device == "cpu":
        return {VISIBLE: ""}
    kind, _, number = device.partition(":")
    if kind != "cuda" or not number.isdecimal() or environment.get(OWN) == device:
        return {}
    visible = environment.get(VISIBLE)
    if visible is None:
        return {VISIBLE: number, OWN: device}
    listed = [each.strip() for each in visible.split(",") if each.strip()]
    # One that is not there stays so: torch then finds none, and the worker says which there are.
    return {VISIBLE: listed[int(number)], OWN: device} if int(number) < len(listed) else {}


def names(count: int, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the GPUs that a process sees, of which torch counts so many."""
    own = environment.get(OWN)
    return (own,) if own and count == 1 else tuple(f"cuda:{index}" for index in range(count))


def for_torch(device: str, environment: Mapping[str, str]) -> str:
    """Return what torch calls a device in a process with these variables."""
    return "cuda:0" if device == environment.get(OWN) else device


def parts_of(wanted: str, count: int, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the device of each worker that `--devices wanted` asks for, on a machine with so many
    visible GPUs. A device that is listed twice is given to two workers.

    `auto`: a worker a GPU, or one on the CPU where there is none; `cuda`: a worker a GPU. Raises
    `ValueError` with one line.
    """
    there = tuple(f"cuda:{index}" for index in range(count))
    if wanted == "auto" and not there and environment.get(_GIVEN, "void") in {"", "void", "none"}:
        return ("cpu",)
    if wanted in {"auto", "cuda"}:
        if not there:
            raise ValueError(
                "This machine has no GPU that is visible here. Start a container with access to the"
                " GPUs (--gpus all), or give --devices cpu."
            )
        return there
    listed = [each.strip() for each in wanted.split(",")]
    for each in listed:
        if re.fullmatch(r"cpu|cuda:(0|[1-9]\d{0,2})", each) is None:
            raise ValueError(
                f"--devices {wanted[:80]!r}: {each[:20]!r} is no device. Give auto (every GPU), or"
                " a list such as cuda:0,cuda:1 or cpu,cpu."
            )
        if each not in {*there, "cpu"}:
            found = ", ".join((*there, "cpu"))
            raise ValueError(f"This machine has no device {each!r}, only: {found}.")
    return tuple(listed)


def asks_for_gpus(wanted: str) -> bool:
    """Tell whether GPUs must be counted to know what `--devices wanted` asks for."""
    return any(each.strip() != "cpu" for each in wanted.split(","))
