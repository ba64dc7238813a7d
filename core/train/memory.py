"""Measurement of the memory that is free for a stack."""

from collections.abc import Callable
from pathlib import Path

import torch

Free = Callable[[torch.device], int | None]
"""Function as `free_bytes`, which tests replace."""


def free_bytes(device: torch.device) -> int | None:
    """Return the memory that a stack on the device could take now; None where the system does not
    tell.

    On a CPU the least of what the system and the control group (a container's limit) have left,
    the file cache counted as free.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    left = [found for found in (_available(), _group_left()) if found is not None]
    return min(left, default=None)


def total_bytes() -> int | None:
    """Return the memory of this machine, or of the control group (a container's limit) where that
    is less; None where the system does not tell."""
    limits = [_number(folder / limit) for folder, limit, _ in _group_files()]
    found = [each for each in (_meminfo("MemTotal:"), *limits) if each is not None]
    return min(found, default=None)


def _available() -> int | None:
    return _meminfo("MemAvailable:")


def _meminfo(name: str) -> int | None:
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return None


def _group_left() -> int | None:
    """Return what the control group's limits leave: version 2's or 1's files, where they are
    mounted."""
    left = []
    for folder, limit, usage in _group_files():
        most, used = (_number(folder / name) for name in (limit, usage))
        if most is not None and used is not None:
            left.append(max(0, most - used + _file_cache(folder / "memory.stat")))
    return min(left, default=None)


def _group_files() -> list[tuple[Path, str, str]]:
    """Return the folders that may hold this process's limits: its own group's and those above
    it."""
    root = Path("/sys/fs/cgroup")
    found = []
    for line in _lines(Path("/proc/self/cgroup")):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, names = root, ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            base, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        own = base / path.strip("/")
        found += [
            (folder, *names) for folder in (own, *own.parents) if base in (folder, *folder.parents)
        ]
    return found


def _file_cache(stat: Path) -> int:
    """Return the bytes of the file cache that the group could give back."""
    for line in _lines(stat):
        if line.startswith(("total_inactive_file ", "inactive_file ")):
            return int(line.split()[1])
    return 0


def _number(file: Path) -> int | None:
    (text,) = _lines(file)[:1] or ["max"]
    return int(text) if text.isdigit() else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
