"""A trainer without torch that does what a job's `act` label says; tests start it as a program."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from core.errors import ArtifactError, JobFailure
from core.train.events import Control, Ending
from worker.trainer import PipeEvents, StopFlag, main


def rows(events: PipeEvents, first: int, count: int) -> None:
    steps = np.arange(first, first + count, dtype=np.float64)
    columns = {"step": steps, "loss": 1 / (1 + steps), "lr": steps * 0 + 0.1, "grad_norm": steps}
    events.rows("train", first, columns)
    last = {"step": first + count - 1, "loss": float(columns["loss"][-1])}
    events.progress(first + count, 1000.0, last, last)


def ending(reason: Any, steps: int) -> Ending:
    loss = 1 / max(1, steps)
    result = {
        "final_loss": loss,
        "best_loss": loss,
        "num_steps": steps,
        "train_s": 0.0,
        "num_parameters": 1,
        "eval": None,
    }
    outcome = "budget_exhausted" if reason == "finished" else None
    return Ending(reason, outcome, result, {"step": steps - 1, "loss": loss})  # type: ignore[arg-type]


def finish(events: PipeEvents, flag: StopFlag, count: str) -> Ending:
    rows(events, 0, int(count))
    return ending("finished", int(count))


def wait(events: PipeEvents, flag: StopFlag) -> Ending:
    rows(events, 0, 3)
    while flag.stop_requested is None:
        time.sleep(0.001)
    return ending({"cancel": "cancelled", "hand_over": "handed_over"}[flag.stop_requested], 3)


def stream(events: PipeEvents, flag: StopFlag) -> Ending:
    """Rows, a few every now and then, until it is stopped."""
    done = 0
    while flag.stop_requested is None:
        rows(events, done, 5)
        done += 5
        time.sleep(0.02)
    return ending({"cancel": "cancelled", "hand_over": "handed_over"}[flag.stop_requested], done)


def back(events: PipeEvents, flag: StopFlag, pause: str) -> Ending:
    """Twelve rows, back to the fourth, and on to the seventh."""
    rows(events, 0, 12)
    time.sleep(float(pause))
    entry = {"step": 12, "action": "rollback", "reason": "far above", "to_step": 4}
    events.intervened([entry], {"train": 4, "eval": 0}, ())
    rows(events, 4, 3)
    return ending("finished", 7)


def deaf(events: PipeEvents, flag: StopFlag) -> Ending:
    rows(events, 0, 3)
    while True:
        time.sleep(1)


def die(events: PipeEvents, flag: StopFlag) -> Ending:
    rows(events, 0, 3)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def fail(events: PipeEvents, flag: StopFlag, how: str) -> Ending:
    raise {
        "memory": MemoryError(),
        "disk": ArtifactError("the disk is full"),
        "data": JobFailure("data_unavailable", "no such rows", "problem.data"),
        "fault": RuntimeError("password=secret"),
    }[how]


ACTS: dict[str, Callable[..., Ending]] = {
    "finish": finish,
    "wait": wait,
    "deaf": deaf,
    "back": back,
    "stream": stream,
    "die": die,
    "fail": fail,
}


def run(job: dict[str, Any], events: PipeEvents, flag: StopFlag) -> Ending:
    """Labels: `act`, and `resumed` for what to do in later attempts if that differs."""
    labels = job["spec"]["labels"]
    act = labels.get("resumed", labels["act"]) if job["resume"] else labels["act"]
    name, *arguments = act.split(":")
    return ACTS[name](events, flag, *arguments)


def measure(job: dict[str, Any], control: Control) -> dict[str, Any]:
    """Label `measure`: what to do."""
    match job["spec"]["labels"].get("measure"):
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "fail":
            raise MemoryError
        case "wait":
            while control.stop_requested is None:
                time.sleep(0.001)
        case "seconds":
            time.sleep(1.0)  # longer than the lease
        case "deaf":
            time.sleep(60)
        case _:
            pass
    step = {"final": 50, "best": 40, "initial": 0}[job["checkpoint"]]
    return {"checkpoint": job["checkpoint"], "step": step, "loss": 0.5, "grad_norm": 0.25}


if __name__ == "__main__":
    main(run, measure)
