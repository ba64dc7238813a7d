"""The health of a worker as a container sees it: two files that its heartbeat writes.

One says that the process is alive, whatever became of the store; the other that it is ready for
work: it has reported to the store, and can write artifacts.
"""

import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from core.settings import Settings, setting_mistakes

Kind = Literal["live", "ready"]
_LEFT_AFTER_S: Final = 86_400.0
_NEVER_REPORTED: Final = "No worker has reported within {:g} s."
_NEVER_ALIVE: Final = "No worker has been alive within {:g} s."


class HealthFiles:
    """The files of one worker process, in a folder that only its user can open.

    Args:
        pid: of the process; None: this one.
    """

    def __init__(self, pid: int | None = None) -> None:
        name = str(pid or os.getpid())
        self._live, self._ready = _folder() / f"{name}.live", _folder() / f"{name}.ready"

    @staticmethod
    def remove_left() -> None:
        """Remove the files of workers that were killed: a living one writes its own all the
        time, and what is of a day ago counts for nothing."""
        for path in _folder().iterdir():
            with contextlib.suppress(OSError):  # another has removed it
                if time.time() - path.stat().st_mtime > _LEFT_AFTER_S:
                    path.unlink()

    def live(self) -> None:
        """Note that the process is alive."""
        self._live.touch()

    def ready(self, trouble: str | None) -> None:
        """Note that it has reported to the store. `trouble`: why it takes no work all the same."""
        self._ready.write_text(trouble or "")

    def remove(self) -> None:
        """Remove both: the process ends."""
        self._live.unlink(missing_ok=True)
        self._ready.unlink(missing_ok=True)


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"thalweg-worker-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def trouble_of(kind: Kind, max_age_s: float) -> str | None:
    """Return why no worker of this user and machine is live, or ready; None: one is, as of at most
    `max_age_s` ago."""
    troubles = []
    for path in sorted(_folder().glob(f"*.{kind}")):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime <= max_age_s:
                troubles.append(path.read_text())
    if "" in troubles:
        return None
    never = _NEVER_ALIVE if kind == "live" else _NEVER_REPORTED
    return troubles[0] if troubles else never.format(max_age_s)


def check(kind: Kind = "ready") -> None:
    """End this process with status 0 if a worker is live, or ready, here; else with 1 and one
    line."""
    try:
        max_age_s = 2 * Settings().lease_s
    except ValidationError as error:
        sys.exit(f"thalweg health: {setting_mistakes(error)}")
    trouble = trouble_of(kind, max_age_s)
    sys.exit(0 if trouble is None else f"thalweg health: {trouble}")
