"""The embedded server's append-only file: where its parts lie, and space that is held ahead of its
end."""

import contextlib
import ctypes
import os
import re
import sys
from pathlib import Path
from typing import Final

FOLDER: Final = "appendonlydir"
"""The server's name for the folder of its parts: a base, what was appended since, a manifest."""

_APPENDED: Final = re.compile(r"\.(\d+)\.incr\.aof$")
_KEEP_SIZE: Final = 1  # FALLOC_FL_KEEP_SIZE of <linux/falloc.h>


def appended_to(folder: Path) -> Path | None:
    """Return the file in `folder` that the server appends to, the last of its kind; None where
    there is none."""
    try:
        found = [(_APPENDED.search(path.name), path) for path in folder.iterdir()]
    except OSError:
        return None
    numbered = [(int(name[1]), path) for name, path in found if name]
    return max(numbered)[1] if numbered else None


class SpaceAhead:
    """Space of the disk that belongs to the append-only file before it is written.

    A server that syncs each write ends at the first that finds no space. With space ahead, writes
    succeed on a disk that something else has filled, until somebody has noticed it. The file's size
    stays as it is, and so does what readers and copies of it see. What is held stays held when the
    server ends.

    Args:
        folder: of the parts; it need not be there yet.
        num_bytes: held ahead after each allocation; made up for when half of it is used.
    """

    def __init__(self, folder: Path, num_bytes: int) -> None:
        self.num_bytes = num_bytes
        self._folder = folder
        self._file: Path | None = None
        self._end = 0

    def make_up(self) -> None:
        """Allocate what is missing ahead of the file that is appended to now. Called often.

        Nothing happens where the disk is full or the file system cannot do it.
        """
        path = appended_to(self._folder)
        if path is None:
            return
        if path != self._file:  # the server writes its data anew, and goes on in another
            self._file, self._end = path, 0
        with contextlib.suppress(OSError):
            size = path.stat().st_size
            if self._end - size < self.num_bytes / 2:
                _allocate(path, size, self.num_bytes)
                self._end = size + self.num_bytes


def _allocate(path: Path, start: int, num_bytes: int) -> None:
    """Allocate this part of the file, and leave its size as it is. Raises `OSError`."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    # glibc has a second name for the one with 64 bits; others have no other.
    allocate = getattr(libc, "fallocate64", None) or libc.fallocate
    allocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        if allocate(descriptor, _KEEP_SIZE, start, num_bytes) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)
