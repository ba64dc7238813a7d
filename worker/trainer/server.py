"""The trainer: a warm process that has torch imported and trains one job after another.

`python -m worker.trainer.server FD PARENT`: FD is its end of a socket to its worker, PARENT the
worker's process id. It talks to nobody else: no Redis, no network. Frames in: `run`, `population`,
`measure`, `cancel`, `hand_over`. Frames out: `ready`, then for each run `settled`, `rows`,
`progress`, `phase`, `checkpoint`, `restarted`, and `ended` or `failed`, for each population
`run_rows`, `population_progress`, `run_ended`, `restarted`, and `ended` or `failed`, and for each
measure `measured` or `failed`. It lives exactly as long as its worker: the kernel kills it, or its
socket's end of file does. The main thread trains; a second thread reads the socket and sets the
flag that the loop asks.
"""

import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Literal

from core.errors import ArtifactError, JobFailure, is_out_of_memory, out_of_memory
from core.log import configure
from core.train.events import Columns, Ending, Json, SavedCheckpoint
from worker.trainer import protocol
from worker.trainer.handlers import measure_job, run_job, run_population, warm_up
from worker.trainer.parent_death import end_with_parent
from worker.trainer.protocol import Frame

log = logging.getLogger("thalweg.trainer")

StopReason = Literal["cancel", "hand_over"]


class StopFlag:
    """What the loop of one run asks between steps; the reading thread sets it.

    Orders carry the run's number, so that one which crosses the run's answer on the wire cannot
    stop the next run.
    """

    def __init__(self, run: int) -> None:
        self.run = run
        self.stop_requested: StopReason | None = None
        self.dropped: frozenset[int] = frozenset()
        """Of a population, runs that are to end while the others go on: none."""

    def obey(self, order: StopReason, run: int) -> None:
        """Take an order meant for `run`. A cancel weighs more than a shutdown."""
        if run == self.run and self.stop_requested != "cancel":
            self.stop_requested = order


class PipeEvents:
    """The loop's reports as frames to the worker."""

    def __init__(self, send: Callable[[Frame], None]) -> None:
        self._send = send

    def rows(self, kind: Literal["train", "eval"], first_row: int, columns: Columns) -> None:
        self._send(Frame("rows", {"kind": kind, "first_row": first_row}, columns))

    def progress(
        self, step: int, steps_per_s: float | None, latest: Json | None, best: Json | None
    ) -> None:
        self._send(
            Frame(
                "progress",
                {"step": step, "steps_per_s": steps_per_s, "latest": latest, "best": best},
            )
        )

    def phase(self, name: str) -> None:
        self._send(Frame("phase", {"name": name}))

    def checkpoint(self, saved: SavedCheckpoint) -> None:
        self._send(
            Frame(
                "checkpoint",
                {
                    "name": saved.name,
                    "step": saved.step,
                    "path": saved.path,
                    "metrics": saved.metrics,
                    "size_bytes": saved.size_bytes,
                    "sha256": saved.sha256,
                    "dropped": list(saved.dropped),
                },
            )
        )

    def intervened(
        self, interventions: list[Json], rewound: dict[str, int] | None, dropped: tuple[str, ...]
    ) -> None:
        fields = {"interventions": interventions, "rewound": rewound, "dropped": list(dropped)}
        self._send(Frame("intervened", fields))

    def settled(self, spec: Json, resolved: Json) -> None:
        self._send(Frame("settled", {"spec": spec, "resolved": resolved}))

    def run_rows(
        self,
        kind: Literal["train", "eval"],
        runs: list[int],
        first_rows: list[int],
        lengths: list[int],
        columns: Columns,
        *,
        truncate: bool = False,
    ) -> None:
        fields: Json = {"kind": kind, "runs": runs, "first_rows": first_rows, "lengths": lengths}
        if truncate:
            fields["truncate"] = True
        self._send(Frame("run_rows", fields, columns))

    def population_progress(self, num_updates: int, num_running: int) -> None:
        fields = {"num_updates": num_updates, "num_running": num_running}
        self._send(Frame("population_progress", fields))

    def run_ended(self, fields: Json) -> None:
        self._send(Frame("run_ended", fields))

    def restarted(self, detail: str) -> None:
        self._send(Frame("restarted", {"detail": detail}))


RunJob = Callable[[Json, PipeEvents, StopFlag], Ending]
"""Train the job of a `run` frame (its fields); tests give their own."""
RunPopulation = Callable[[Json, PipeEvents, StopFlag], Json]
"""Train the runs of a `population` frame, and give the fields of `ended`; tests give their own."""
Measure = Callable[[Json, StopFlag], Json]
"""Measure the weights that a `measure` frame names; tests give their own."""


class Trainer:
    """Answers `run`, `population` and `measure` frames one after another until the socket ends."""

    def __init__(
        self,
        link: socket.socket,
        run_job: RunJob,
        measure: Measure,
        devices: tuple[str, ...],
        run_population: RunPopulation = run_population,
    ) -> None:
        self._link = link
        self._run_job = run_job
        self._run_population = run_population
        self._measure = measure
        self._devices = devices
        self._asked: SimpleQueue[tuple[Frame, StopFlag]] = SimpleQueue()

    def serve(self) -> None:
        """Report ready, then train what comes. Never returns."""
        threading.Thread(target=self._listen, name="link", daemon=True).start()
        self._send(Frame("ready", {"devices": list(self._devices)}))
        while True:
            asked, flag = self._asked.get()
            self._send(self._answer(asked, flag))
            gc.collect(1)

    def _answer(self, asked: Frame, flag: StopFlag) -> Frame:
        job = asked.fields
        try:
            if asked.type == "measure":
                return Frame("measured", {"measured": self._measure(job, flag)})
            if asked.type == "population":
                return Frame("ended", self._run_population(job, PipeEvents(self._send), flag))
            ending = self._run_job(job, PipeEvents(self._send), flag)
        except Exception as error:
            failed = failure(error)
            name = job.get("job_id") or job.get("study_id")
            log.exception("job %s failed: %s", name, failed.fields["code"])
            return failed
        return Frame(
            "ended",
            {
                "reason": ending.reason,
                "outcome": ending.outcome,
                "result": ending.result,
                "best": ending.best,
            },
        )

    def _send(self, frame: Frame) -> None:
        try:
            for piece in protocol.pieces(frame):
                self._link.sendall(piece)
        except OSError:  # the worker is gone
            os._exit(0)

    def _listen(self) -> None:
        flag = StopFlag(0)
        with self._link.makefile("rb") as stream:
            while True:
                try:
                    frame = protocol.read(stream)
                except (OSError, ValueError):
                    log.exception("the worker cannot be understood")
                    frame = None
                match frame:
                    case None:
                        os._exit(0)
                    case Frame(type="run" | "population" | "measure", fields={"run": run}):
                        flag = StopFlag(run)
                        self._asked.put((frame, flag))
                    case Frame(type=("cancel" | "hand_over") as order, fields={"run": run}):
                        flag.obey(order, run)
                    case _:
                        log.error("unknown frame %r", frame.type)


def failure(error: Exception) -> Frame:
    """The `failed` frame of an error: a published code and a message that is safe to show.

    `fatal` asks the worker for a fresh trainer: after a CUDA error this one is of no more use.
    """
    fatal = "CUDA error" in str(error) or type(error).__name__ == "AcceleratorError"
    match error:
        case JobFailure():
            code, message, param = error.failure_code, str(error), error.param
        case ArtifactError():
            code, message, param = ArtifactError.code, str(error), None
        case _ if is_out_of_memory(error):
            code, message, param = "out_of_memory", str(out_of_memory()), None
        case _:
            code, param = "internal_error", None
            message = "A fault in the service; the worker's log has the details."
    return Frame("failed", {"code": code, "message": message, "param": param, "fatal": fatal})


def main(
    run: RunJob | None = None,
    measure: Measure = measure_job,
    population: RunPopulation = run_population,
) -> None:
    """Start as the child of a worker: `python -m worker.trainer.server FD PARENT`."""
    fd, parent = int(sys.argv[-2]), int(sys.argv[-1])
    end_with_parent(parent)
    # The worker alone decides when a run ends: a terminal's Ctrl-C and a service manager's SIGTERM
    # reach the whole group, and must not take the trainer away in mid-checkpoint.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    configure("info", "thalweg", "core")
    link = socket.socket(fileno=fd)
    if run is None:
        from core.train.devices import available

        devices = available()
        warm_up(devices[0])
        # What torch has made will stay: a collection between two jobs need not look at it again.
        gc.collect()
        gc.freeze()
        Trainer(link, run_job, measure, devices, population).serve()
    else:
        Trainer(link, run, measure, ("cpu",), population).serve()


if __name__ == "__main__":
    main()
