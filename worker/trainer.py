"""The trainer: a warm process that has torch imported and trains one job after another.

`python -m worker.trainer FD PARENT`: FD is its end of a socket to its worker, PARENT the worker's
process id. It talks to nobody else: no Redis, no network. Frames in: `run`, `cancel`, `hand_over`.
Frames out: `ready`, then for each run `rows`, `progress`, `phase`, `checkpoint`, and `ended` or
`failed`. It lives exactly as long as its worker: the kernel kills it, or its socket's end of file
does. The main thread trains; a second thread reads the socket and sets the flag that the loop asks.
"""

import gc
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from queue import SimpleQueue
from typing import Final, Literal

from core.artifacts.base import ArtifactStore
from core.artifacts.build import open_artifacts
from core.errors import ArtifactError, JobFailure
from core.names import JOB_PREFIX, new_id
from core.settings import Settings
from core.spec.job import JobSpec
from core.spec.resolve import Limits, parse_job
from core.train.events import Columns, Control, Ending, Events, Json, SavedCheckpoint
from worker import frames
from worker.frames import Frame
from worker.lifeline import end_with_parent

log = logging.getLogger("thalweg.trainer")

StopReason = Literal["cancel", "hand_over"]

WARM_UP: Final[tuple[Json, ...]] = (
    {
        "problem": {"kind": "function", "function": {"kind": "rosenbrock", "dim": 2}},
        "optimizer": {"kind": "adam"},
        "budget": {"max_steps": 2},
    },
    {
        "problem": {
            "kind": "supervised",
            "data": {"kind": "builtin", "name": "digits"},
            "model": {"kind": "mlp", "hidden": [8]},
        },
        "optimizer": {"kind": "adam"},
        "budget": {"max_steps": 2},
    },
)


class StopFlag:
    """What the loop of one run asks between steps; the reading thread sets it.

    Orders carry the run's number, so that one which crosses the run's answer on the wire cannot
    stop the next run.
    """

    def __init__(self, run: int) -> None:
        self.run = run
        self.stop_requested: StopReason | None = None

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


RunJob = Callable[[Json, PipeEvents, StopFlag], Ending]
"""Train the job of a `run` frame (its fields); tests give their own."""


class Trainer:
    """Answers `run` frames one after another until the socket ends."""

    def __init__(self, link: socket.socket, run_job: RunJob, devices: tuple[str, ...]) -> None:
        self._link = link
        self._run_job = run_job
        self._devices = devices
        self._runs: SimpleQueue[tuple[Json, StopFlag]] = SimpleQueue()

    def serve(self) -> None:
        """Report ready, then train what comes. Never returns."""
        threading.Thread(target=self._listen, name="link", daemon=True).start()
        self._send(Frame("ready", {"devices": list(self._devices)}))
        while True:
            job, flag = self._runs.get()
            self._send(self._answer(job, flag))
            gc.collect(1)

    def _answer(self, job: Json, flag: StopFlag) -> Frame:
        try:
            ending = self._run_job(job, PipeEvents(self._send), flag)
        except Exception as error:
            failed = failure(error)
            log.exception("job %s failed: %s", job.get("job_id"), failed.fields["code"])
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
            self._link.sendall(frames.pack(frame))
        except OSError:  # the worker is gone
            os._exit(0)

    def _listen(self) -> None:
        flag = StopFlag(0)
        with self._link.makefile("rb") as stream:
            while True:
                try:
                    frame = frames.read(stream)
                except OSError:
                    frame = None
                match frame:
                    case None:
                        os._exit(0)
                    case Frame(type="run", fields={"run": run} as fields):
                        flag = StopFlag(run)
                        self._runs.put((fields, flag))
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
        case _ if _out_of_memory(error):
            code, param = "out_of_memory", None
            message = "The job ran out of memory: a smaller model or batch_size needs less."
        case _:
            code, param = "internal_error", None
            message = "A fault in the service; the worker's log has the details."
    return Frame("failed", {"code": code, "message": message, "param": param, "fatal": fatal})


def _out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # torch has no class of its own for a CPU allocation that failed.
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in text or "not enough memory" in text
    )


@cache
def artifact_store(location: str) -> ArtifactStore:
    """One a process: an object store's connections stay open between jobs."""
    return open_artifacts(location)


def run_job(job: Json, events: Events, control: Control) -> Ending:
    """Train the resolved spec of a `run` frame: `job_id`, `spec`, `artifacts` (their
    location), `device`, `resume`, `stored_rows`."""
    from core.train.loop import run

    return run(
        # From JSON: a spec is strict, and takes a list for a tuple from JSON only.
        JobSpec.model_validate_json(json.dumps(job["spec"])),
        artifacts=artifact_store(job["artifacts"]).job(job["job_id"]),
        events=events,
        control=control,
        resume=job["resume"],
        stored_rows=job["stored_rows"],
        device=job["device"],
    )


class Nobody:
    """Events that go nowhere."""

    def rows(self, kind: Literal["train", "eval"], first_row: int, columns: Columns) -> None: ...
    def progress(
        self, step: int, steps_per_s: float | None, latest: Json | None, best: Json | None
    ) -> None: ...
    def phase(self, name: str) -> None: ...
    def checkpoint(self, saved: SavedCheckpoint) -> None: ...


def warm_up(device: str) -> None:
    """Train a little of each kind, so that no job pays for what torch and scikit-learn import and
    allocate at first use. Raises what a job on this machine would."""
    limits = Limits.of(Settings())
    for body in WARM_UP:
        spec = parse_job(json.dumps(body).encode(), limits)
        with tempfile.TemporaryDirectory(prefix="thalweg-warm-up-") as folder:
            run_job(
                {
                    "job_id": new_id(JOB_PREFIX),
                    "spec": spec.model_dump(mode="json"),
                    "artifacts": folder,
                    "device": device,
                    "resume": False,
                    "stored_rows": None,
                },
                Nobody(),
                StopFlag(0),
            )


def main(run: RunJob | None = None) -> None:
    """Start as the child of a worker: `python -m worker.trainer FD PARENT`."""
    fd, parent = int(sys.argv[-2]), int(sys.argv[-1])
    end_with_parent(parent)
    # The worker alone decides when a run ends: a terminal's Ctrl-C and a service manager's SIGTERM
    # reach the whole group, and must not take the trainer away in mid-checkpoint.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.basicConfig(
        stream=sys.stderr, format="%(asctime)s trainer %(levelname)s %(message)s", level="INFO"
    )
    link = socket.socket(fileno=fd)
    if run is None:
        from core.train.devices import available

        devices = available()
        warm_up(devices[0])
        # What torch has made will stay: a collection between two jobs need not look at it again.
        gc.collect()
        gc.freeze()
        Trainer(link, run_job, devices).serve()
    else:
        Trainer(link, run, ("cpu",)).serve()


if __name__ == "__main__":
    main()
