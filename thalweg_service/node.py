"""`thalweg worker --devices …`: a worker for each device of a machine, under one supervisor.

Each worker sees its own GPU and no other; in records the GPU has the name that it has on the
machine (`core.environment.gpus`).
"""

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from core.environment.gpus import asks_for_gpus, missing_gpu, own_only, parts_of
from core.settings import Settings, unknown_variables
from thalweg_service.child_process import Part, Stopped, stopping_ignored, woken
from thalweg_service.crew import APART_S, Crew

WORKER: Final = (sys.executable, "-P", "-m", "worker")
_LOOK_EVERY_S: Final = 0.2
_COUNT: Final = "import torch; print(torch.cuda.device_count())"
_COUNT_WITHIN_S: Final = 120.0
_MORE_S: Final = 2.0
"""Seconds beyond the grace of a shutdown in which a worker ends."""
_REFUSED: Final = 1
"""The status of a worker that has said in one line why it cannot work here."""


class NodeError(Exception):
    """The devices cannot be given to workers; `str(error)` is one line that says why."""


def visible_gpus() -> int:
    """Count the GPUs that torch would find here; it is imported by a process of its own."""
    if missing_gpu("cuda") is not None:
        return 0
    command = (sys.executable, "-P", "-c", _COUNT)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_COUNT_WITHIN_S, check=True
        )
        return int(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise NodeError(f"The GPUs cannot be counted: torch does not answer ({error}).") from error


class Node:
    """Starts, tends and stops the workers; used once, in the main thread.

    Args:
        devices: one for each worker.
        name: what the workers' names begin with.
        tell: gets what happens to them, line by line.
        command: of a worker; `--device` and `--name` are added.
        apart_s: as of `Crew`.
    """

    def __init__(
        self,
        devices: Sequence[str],
        name: str,
        *,
        tell: Callable[[str], None],
        command: Sequence[str] = WORKER,
        apart_s: float = APART_S,
    ) -> None:
        settings = Settings()
        self._tell = tell
        self._grace_s = settings.shutdown_grace_s + _MORE_S
        self._crew = Crew(lambda: settings.redis_url, apart_s=apart_s)
        seen: Counter[str] = Counter()
        for device in devices:
            seen[device] += 1
            which = device.replace(":", "") + (f"-{seen[device]}" if seen[device] > 1 else "")
            worker = Part(
                f"worker {which}",
                (*command, "--device", device),
                own_only(device, os.environ),
                None,
                f"{name}-{which}",
            )
            self._crew.workers.append(worker)

    def run(self) -> int:
        """Work until a signal, or until every worker has ended by itself. Returns the exit status:
        1 when they cannot work here, as they have said."""
        with woken() as wait:
            try:
                for worker in self._crew.workers:
                    worker.start()
                while (status := self._look()) is None:
                    wait(_LOOK_EVERY_S)
                return status
            except Stopped:
                return 0
            finally:
                stopping_ignored()
                self._stop()

    def _look(self) -> int | None:
        """Look after all of them; returns the exit status once there is nothing to be done."""
        workers = self._crew.workers
        for worker in [each for each in workers if each.status == 0]:
            worker.wait(time.monotonic())
            workers.remove(worker)  # it has done what it was started for
        if not workers:
            return 0
        down = [worker for worker in workers if worker.status == _REFUSED]
        if len(down) == len(workers) or any(worker.deaths == 0 for worker in down):
            return _REFUSED
        for worker in workers:
            if told := self._crew.tend(worker):
                self._tell(told)
        return None

    def _stop(self) -> None:
        deadline = time.monotonic() + self._grace_s
        for worker in self._crew.workers:
            worker.terminate()
        for worker in self._crew.workers:
            worker.wait(deadline)


def main(devices: str, name: str | None, options: Sequence[str]) -> int:
    """Run `thalweg worker --devices`; `options` are given to each worker. Returns the exit status.

    Raises `NodeError`, and what `Settings` raises.
    """
    Settings()  # a mistaken THALWEG_… is told once

    def tell(text: str) -> None:
        print(f"thalweg worker: {text}", file=sys.stderr, flush=True)

    for each in unknown_variables(os.environ):
        tell(each)
    count = visible_gpus() if asks_for_gpus(devices) else 0
    try:
        chosen = parts_of(devices, count, os.environ)
    except ValueError as error:
        raise NodeError(str(error)) from error
    tell(f"a worker each for {', '.join(chosen)}")
    return Node(chosen, name or socket.gethostname(), tell=tell, command=(*WORKER, *options)).run()
