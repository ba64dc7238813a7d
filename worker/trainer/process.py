"""The start of a trainer's process.

This file imports next to nothing: a worker starts its trainer before it imports the rest of itself,
since what the trainer imports takes longest.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.environment.gpus import own_only
from core.environment.priority import stand_back

# Started by its file's path: a command line with ` worker` in it is taken for a worker's, and a
# trainer is none.
TRAINER: Final = (sys.executable, "-P", str(Path(__file__).with_name("server.py")))

ENVIRONMENT: Final = {
    # The number of threads follows from the spec; the libraries must not lower it under load, and
    # their threads must not spin while others want the cores.
    "OMP_DYNAMIC": "FALSE",
    "MKL_DYNAMIC": "FALSE",
    "OMP_WAIT_POLICY": "PASSIVE",
    # With this cuBLAS gives the same bits each time.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
"""Variables that a trainer has on top of its worker's."""


@dataclass(frozen=True)
class TrainerProcess:
    """A trainer that has been started, and our end of its socket.

    Attributes:
        not_nice: why it has the same priority as we have, where that was not asked for.
    """

    process: subprocess.Popen[bytes]
    link: socket.socket
    not_nice: str | None = None


def start_trainer(
    command: Sequence[str] = TRAINER, device: str = "auto", nice: int = 0
) -> TrainerProcess:
    """Start a trainer; the socket's number and this process's id are appended to the command. With
    a single `device` it sees no other GPU. `nice`: how far its niceness is above our own.

    On Linux it is killed when the thread that calls this ends. Raises `OSError`.
    """
    ours, theirs = socket.socketpair()
    try:
        process = subprocess.Popen(
            [*command, str(theirs.fileno()), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            env={**os.environ, **ENVIRONMENT, **own_only(device, os.environ)},
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    # Before it starts threads, which take over what it has then.
    return TrainerProcess(process, ours, stand_back(process.pid, nice) if nice else None)
