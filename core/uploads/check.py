"""The check of an uploaded file, in a process of its own with limits.

Nothing here parses: the libraries that do are imported by that process only.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.uploads.contents import Contents
from core.uploads.schema import Schema

STORED_NAME: Final = "data.safetensors"
"""Name of the stored form in the target folder."""


@dataclass(frozen=True)
class Limits:
    """Limits of the process of a check.

    Attributes:
        memory_bytes: of its own memory, its libraries included.
        cpu_s: processor seconds.
        open_files: descriptors.
        file_bytes: size of each file that it writes.
    """

    memory_bytes: int = 1024 * 2**20
    cpu_s: int = 600
    open_files: int = 64
    file_bytes: int = 16 * 2**30


class Check:
    """A file that is being checked; made by `start_check`. Any number may wait for it."""

    def wait(self, timeout_s: float | None = None) -> Contents | None:
        """Wait for the end, at most this long; None: it is not there yet, and goes on.

        Raises:
            RefusedFile: the file breaks a rule, or its check came to a limit.
        """
        raise NotImplementedError

    async def wait_async(self, timeout_s: float | None = None) -> Contents | None:
        """Wait as `wait` does, without holding up the event loop. A cancelled wait ends nothing but
        itself."""
        raise NotImplementedError

    def stop(self) -> None:
        """End the process and remove what it wrote; a waiting call raises the refusal `stopped`.

        Nothing happens when it ended before.
        """
        raise NotImplementedError


def start_check(
    path: Path,
    media_type: str,
    target_folder: Path,
    schema: Schema | None = None,
    limits: Limits | None = None,
) -> Check:
    """Start the check of the file at `path`; return at once.

    At its end `target_folder` (made here where it is not there) holds the stored form,
    `STORED_NAME`, and nothing else of the check; of a refused file, nothing at all. `path` is read
    only, and may be removed once the check has ended. The process dies with this one; what it has
    then written lies in `target_folder` below a name that begins with ".check-" and can be removed.

    `media_type` is one of `MEDIA_TYPES`, without parameters; any other is refused by the check.
    """
    raise NotImplementedError


def check_file(
    path: Path,
    media_type: str,
    target_folder: Path,
    schema: Schema | None = None,
    limits: Limits | None = None,
) -> Contents:
    """Check a file as `start_check` does, and wait for its end.

    Raises:
        RefusedFile: the file breaks a rule, or its check came to a limit.
    """
    found = start_check(path, media_type, target_folder, schema, limits).wait()
    assert found is not None
    return found
