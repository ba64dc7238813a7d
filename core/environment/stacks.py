"""Stacks of a process that stands still, for whoever asks it by a signal."""

import contextlib
import faulthandler
import signal
from typing import Final

ASKED_BY: Final = signal.SIGUSR2


def write_when_asked() -> None:
    """Write what each thread is doing to standard error at each SIGUSR2 from now on, also where the
    main thread hears nothing any more (`faulthandler.register`); nothing where standard error is no
    file."""
    with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):
        faulthandler.register(ASKED_BY, all_threads=True)
