"""A disk of 64 MiB that a test can fill."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A file system of 64 MiB in a new folder; skips the test where this user may not mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Filling:
    """A file that leaves as much free on its disk as it is told."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "filling"

    def leave(self, wanted: int) -> None:
        with self._path.open("ab", buffering=0) as file:
            found = os.statvfs(file.fileno())
            try:
                while (more := found.f_bavail * found.f_frsize - wanted) > 0:
                    file.write(bytes(min(more, 2**20)))
                    found = os.statvfs(file.fileno())
            except OSError:
                assert wanted == 0

    def go(self) -> None:
        self._path.unlink()
