"""A child process that ends when its parent does, whatever ended the parent."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Have this process killed as soon as the process `parent` is gone (Linux; elsewhere only the
    check below, and the caller watches its pipe for the end of file).

    The kernel sends the signal when the *thread* that started this process ends, so a parent
    starts its children from a thread that lives as long as it does.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(0)
