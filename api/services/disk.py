"""The room on the store's disk, where that is on this machine."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

LOOK_EVERY_S: Final = 0.25


def free_bytes(folder: Path) -> int:
    """Return the bytes that are free on the disk of a folder."""
    return shutil.disk_usage(folder).free


class Reserve:
    """Tells whether the disk of a folder has less free than `reserve_bytes`; it looks now and then.

    Without a folder, or with one that cannot be looked at, it never has.
    """

    def __init__(
        self, folder: Path | None, reserve_bytes: int, free: Callable[[Path], int] = free_bytes
    ) -> None:
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self._free = free
        self._look_at = -float("inf")
        self._low = False

    def is_low(self) -> bool:
        if self._folder is None or time.monotonic() < self._look_at:
            return self._low
        try:
            self._low = self._free(self._folder) < self._reserve_bytes
        except OSError:
            self._low = False
        self._look_at = time.monotonic() + LOOK_EVERY_S
        return self._low
