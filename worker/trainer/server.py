"""The trainer: a warm process that has torch imported and trains one job after another.

`python -m worker.trainer.server FD PARENT`: FD is its end of a socket to its worker, PARENT the
worker's process id. It talks to nobody else: no Redis, no network. Requests come in, reports go out
(`core.messages`): `Ready`, and then for each piece of work its reports on the way and one answer.
It lives exactly as long as its worker: the kernel kills it, or its socket's end of file does. The
main thread trains; a second thread reads the socket and sets the flag that the loop asks.
"""

import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import Final, assert_never

from core.environment import stacks
from core.errors import ArtifactError, JobFailure, is_device_lost, is_out_of_memory, out_of_memory
from core.log import configure
from core.messages.reports import (
    Answer,
    Ending,
    Failed,
    JobReport,
    Measured,
    Ready,
    Report,
    TaskEnding,
    TaskReport,
)
from core.messages.requests import (
    Cancel,
    HandOver,
    KeepCheckpoint,
    Measure,
    Request,
    TrainJob,
    TrainTask,
    TrySteps,
    UseWeights,
    Work,
)
from core.train.events import Control, Emit, JobControl, StopRequest
from core.train.peak_memory import PeakMemory
from worker.trainer import protocol
from worker.trainer.handlers import (
    measure,
    train_job,
    train_task,
    try_steps,
    use_weights,
    warm_up,
    warm_up_rest,
)
from worker.trainer.parent_death import end_with_parent

log = logging.getLogger("thalweg.trainer")

IDLE_S: Final = 1.0
"""A trainer that was started in the place of a dead one finds that one's job at once, not later."""


class StopFlag:
    """The request to stop that the loop of one run looks at between steps; the reading thread sets
    it.

    Orders carry the run's number, so that one which crosses the run's answer on the wire cannot
    stop the next run.
    """

    dropped: frozenset[int] = frozenset()

    def __init__(self, run: int) -> None:
        self.run = run
        self.stop_requested: StopRequest | None = None
        self.keep = 0
        """The latest checkpoint that was asked for, by its number."""

    def obey(self, order: StopRequest, run: int) -> None:
        """Take an order meant for `run`. A cancel weighs more than a shutdown."""
        if run == self.run and self.stop_requested != "cancel":
            self.stop_requested = order


@dataclass(frozen=True)
class Handlers:
    """Functions for each kind of work; tests give their own."""

    train_job: Callable[[TrainJob, Emit[JobReport], JobControl], Ending] = train_job
    train_task: Callable[[TrainTask, Emit[TaskReport], Control], TaskEnding] = train_task
    measure: Callable[[Measure, Control], Measured] = measure
    try_steps: Callable[[TrySteps], Measured] = try_steps
    use_weights: Callable[[UseWeights, Control], Measured] = use_weights
    warm_up_rest: Callable[[], None] = warm_up_rest


class Trainer:
    """Does one piece of work after another until the socket ends.

    Args:
        idle_s: after so long without work it warms up the rest, once.
        memory_bytes: of each device; empty where it is not known.
    """

    def __init__(
        self,
        link: socket.socket,
        handlers: Handlers,
        devices: tuple[str, ...],
        idle_s: float,
        memory_bytes: Sequence[int] = (),
    ) -> None:
        self._link = link
        self._handlers = handlers
        self._devices = devices
        self._memory_bytes = memory_bytes
        self._idle_s: float | None = idle_s
        self._asked: SimpleQueue[tuple[Work, StopFlag]] = SimpleQueue()

    def serve(self) -> None:
        """Report ready, then train what comes. Never returns."""
        threading.Thread(target=self._listen, name="link", daemon=True).start()
        self._emit(Ready(list(self._devices), list(self._memory_bytes)))
        peak = PeakMemory()
        while True:
            asked, flag = self._next()
            peak.start(asked.device)
            cpu_s = time.process_time()
            answer = self._answer(asked, flag)
            if not isinstance(answer, Measured):
                cpu_s = time.process_time() - cpu_s
                answer = replace(answer, peak_memory_bytes=peak.read(), cpu_s=cpu_s)
            self._emit(answer)
            gc.collect(1)

    def _next(self) -> tuple[Work, StopFlag]:
        try:
            return self._asked.get(timeout=self._idle_s)
        except Empty:
            self._idle_s = None
        gc.disable()
        try:
            self._handlers.warm_up_rest()
        except Exception:
            log.exception("the rest of the warm-up failed; who needs it will say why")
        keep_out_of_collections()
        gc.enable()
        return self._asked.get()

    def _answer(self, asked: Work, flag: StopFlag) -> Answer:
        try:
            match asked:
                case TrainJob():
                    return self._handlers.train_job(asked, self._emit, flag)
                case TrainTask():
                    return self._handlers.train_task(asked, self._emit, flag)
                case Measure():
                    return self._handlers.measure(asked, flag)
                case TrySteps():
                    return self._handlers.try_steps(asked)
                case UseWeights():
                    return self._handlers.use_weights(asked, flag)
                case _:
                    assert_never(asked)
        except Exception as error:
            failed = failure(error)
            name = asked.study_id if isinstance(asked, TrainTask) else asked.job_id
            log.exception("job %s failed: %s", name, failed.code)
            return failed

    def _emit(self, report: Report) -> None:
        try:
            for piece in protocol.pieces(report):
                self._link.sendall(piece)
        except OSError:  # the worker is gone
            os._exit(0)

    def _listen(self) -> None:
        flag = StopFlag(0)
        with self._link.makefile("rb") as stream:
            while True:
                try:
                    request: Request | None = protocol.read_request(stream)
                except (OSError, ValueError):
                    log.exception("the worker cannot be understood")
                    request = None
                match request:
                    case None:
                        os._exit(0)
                    case TrainJob() | TrainTask() | Measure() | TrySteps() | UseWeights():
                        flag = StopFlag(request.run)
                        self._asked.put((request, flag))
                    case Cancel(run):
                        flag.obey("cancel", run)
                    case HandOver(run):
                        flag.obey("hand_over", run)
                    case KeepCheckpoint(run, number):
                        if run == flag.run:
                            flag.keep = number
                    case _:
                        assert_never(request)


def keep_out_of_collections() -> None:
    """Freeze what libraries have made: a collection between two jobs need not look at it again."""
    gc.collect()
    gc.freeze()


def failure(error: Exception) -> Failed:
    """Describe a failure to the worker: a published code and a message that is safe to show."""
    fatal = is_device_lost(error)
    match error:
        case JobFailure():
            return Failed(error.failure_code, str(error), error.param, fatal)
        case ArtifactError():
            return Failed(ArtifactError.code, str(error), None, fatal)
        case _ if is_out_of_memory(error):
            return Failed("out_of_memory", str(out_of_memory()), None, fatal)
        case _:
            message = "A fault in the service; the worker's log has the details."
            return Failed("internal_error", message, None, fatal)


def main(
    handlers: Handlers | None = None,
    idle_s: float = IDLE_S,
    devices: Mapping[str, int] = MappingProxyType({"cpu": 0}),
) -> None:
    """Start as the child of a worker: `python -m worker.trainer.server FD PARENT`.

    Args:
        handlers: tests give their own, which need no torch.
        idle_s: as of `Trainer`.
        devices: with those handlers, the devices and their memory.
    """
    fd, parent = int(sys.argv[-2]), int(sys.argv[-1])
    end_with_parent(parent)
    # The worker alone decides when a run ends: a terminal's Ctrl-C and a service manager's SIGTERM
    # reach the whole group, and must not take the trainer away in mid-checkpoint.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stacks.write_when_asked()
    configure("info", "thalweg", "core")
    link = socket.socket(fileno=fd)
    if handlers is not None:
        Trainer(link, handlers, (*devices,), idle_s, (*devices.values(),)).serve()
    # What is made at import stays: looking through it for garbage took a seventh of the start.
    gc.disable()
    from core.train.devices import available, total_memory

    found = available()
    warm_up(found[0])
    gc.freeze()
    gc.enable()
    memory_bytes = [total_memory(device) or 0 for device in found]
    Trainer(link, Handlers(), found, idle_s, memory_bytes).serve()


if __name__ == "__main__":
    main()
