"""The health of a worker as a container sees it: a file that each report to the store touches."""

import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

from pydantic import ValidationError

from core.settings import Settings, setting_mistakes


def alive_file(pid: int | None = None) -> Path:
    """Return the file of the worker process `pid` (this one), in a folder that only its user can
    open."""
    folder = Path(tempfile.gettempdir()) / f"thalweg-worker-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / str(pid or os.getpid())


def any_alive(max_age_s: float) -> bool:
    """Tell whether a worker of this user and machine has reported within `max_age_s`."""
    for path in alive_file().parent.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime <= max_age_s:
                return True
    return False


def check() -> None:
    """End this process with status 0 if a worker is alive here, else with 1 and one line."""
    try:
        max_age_s = 2 * Settings().lease_s
    except ValidationError as error:
        sys.exit(f"thalweg health: {setting_mistakes(error)}")
    sys.exit(0 if any_alive(max_age_s) else f"No worker has reported within {max_age_s:g} s.")
