"""A trainer without torch that does what a job's `act` label says, or that of the first spec of a
study's task; tests start it as a program."""

import math
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from core.errors import ArtifactError, JobFailure
from core.train.events import Control, Ending
from core.train.fused.request import specs_of
from worker.trainer.server import PipeEvents, StopFlag, main


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


def settle(events: PipeEvents, flag: StopFlag, lr: str) -> Ending:
    """The rate found, then ten rows."""
    events.phase("tuning")
    spec = SETTLED | {"optimizer": {**SETTLED["optimizer"], "lr": float(lr)}}
    events.settled(spec, {"optimizer.lr": {"value": float(lr), "evidence": {"loss": math.inf}}})
    rows(events, 0, 10)
    return ending("finished", 10)


def tune(events: PipeEvents, flag: StopFlag) -> Ending:
    """Look for a rate until it is stopped."""
    events.phase("tuning")
    while flag.stop_requested is None:
        time.sleep(0.001)
    reason: Any = "cancelled" if flag.stop_requested == "cancel" else "handed_over"
    return Ending(reason, None, {}, None)


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


SETTLED: dict[str, Any] = {}
"""The spec of the run at hand."""

ACTS: dict[str, Callable[..., Ending]] = {
    "finish": finish,
    "wait": wait,
    "deaf": deaf,
    "back": back,
    "stream": stream,
    "settle": settle,
    "tune": tune,
    "die": die,
    "fail": fail,
}


def run(job: dict[str, Any], events: PipeEvents, flag: StopFlag) -> Ending:
    """Labels: `act`, and `resumed` for what to do in later attempts if that differs."""
    labels = job["spec"]["labels"]
    act = labels.get("resumed", labels["act"]) if job["resume"] else labels["act"]
    name, *arguments = act.split(":")
    SETTLED.update(job["spec"])
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


class Task:
    """The runs of a `population` frame, which all make the same steps. The loss of run i after k
    updates is i + 1/(1 + k)."""

    def __init__(self, task: dict[str, Any], events: PipeEvents, flag: StopFlag) -> None:
        self.events = events
        self.flag = flag
        self.indices: list[int] = [index for index, _, _ in task["runs"]]
        self.file = f"weights/{task['stem']}.safetensors"
        self.paused_file = f"paused/{task['stem']}.safetensors"
        self.stop_step: int | None = task["stop_step"]
        self.stored: dict[str, Any] = task["stored_rows"] or {}
        self.sources: dict[str, str] = task["sources"]
        self.ended: dict[int, int] = {}

    def rows(self, first: int, count: int, *, truncate: bool = False) -> None:
        runs = self.indices
        steps = np.tile(np.arange(first, first + count, dtype=np.float64), len(runs))
        loss = np.repeat(np.array(runs, dtype=np.float64), count) + 1 / (1 + steps)
        columns = {"step": steps, "loss": loss, "lr": steps * 0 + 0.1, "grad_norm": steps}
        columns["x"] = loss[:, None]
        places = [first] * len(runs), [count] * len(runs)
        self.events.run_rows("train", runs, *places, columns, truncate=truncate)
        self.events.population_progress((first + count) * len(runs), len(runs))

    def end(self, run: int, steps: int, reason: str = "finished") -> None:
        finished = reason == "finished"
        loss = run + 1 / max(1, steps)
        self.ended[run] = steps
        self.events.run_ended(
            {
                "run": run,
                "reason": reason,
                "outcome": "budget_exhausted" if finished else None,
                "result": {"final_loss": loss, "num_steps": steps, "eval": None},
                "best": {"step": steps - 1, "loss": loss},
                "fused": True,
                "share_s": 0.25,
                "target": {"step": 2, "seconds": 0.5} if finished else None,
            }
        )

    def ending(self, reason: str = "finished", paused: list[int] | None = None) -> dict[str, Any]:
        finals = {**self.ended, **dict.fromkeys(paused or [], self.stop_step)}
        steps = {run: {"initial": 0, "final": count} for run, count in finals.items()}
        rows = {run: row for row, run in enumerate(finals)}
        known = {"step": self.stop_step, "eval": None, "best": None, "share_s": 0.5}
        return {
            "reason": reason,
            "weights": {"file": self.file, "rows": rows, "steps": steps} if rows else None,
            "paused": {
                run: {**known, "loss": run + 0.5, "file": self.paused_file} for run in paused or []
            },
        }

    def stopped(self, steps: int) -> dict[str, Any]:
        while self.flag.stop_requested is None:
            time.sleep(0.001)
        reason = {"cancel": "cancelled", "hand_over": "handed_over"}[self.flag.stop_requested]
        for run in self.indices:
            if run not in self.ended and reason == "cancelled":
                self.end(run, steps, reason)
        return self.ending(reason)


def all_end(task: Task, count: str) -> dict[str, Any]:
    """From the rows that a former attempt has left, one less, to the end."""
    kept = min((rows["train"] for rows in task.stored.values()), default=0)
    first = 2 if task.sources else max(0, kept - 1)
    task.rows(first, int(count) - first)
    for run in task.indices:
        task.end(run, int(count))
    return task.ending()


def first_ends(task: Task, what: str, *arguments: str) -> dict[str, Any]:
    """Three rows of each, the first run ends; then the rest of the act (`forget`: nothing)."""
    task.rows(0, 3)
    task.end(task.indices[0], 3)
    match what:
        case "wait":
            return task.stopped(3)
        case "deaf":
            while True:
                time.sleep(1)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "fail":
            fail(task.events, task.flag, *arguments)
        case _:
            pass
    return task.ending()


def rung(task: Task, then: str = "end", *arguments: str) -> dict[str, Any]:
    """Two rows of each, and all pause; in a task that goes on from there, another act: without a
    word, three more rows to the end."""
    if not task.sources:
        task.rows(0, 2)
        return task.ending(paused=task.indices)
    return TASK_ACTS[then](task, *(arguments or ["5"]))


def rungs(task: Task) -> dict[str, Any]:
    """A row of each, from the task's rung before to its own, where all pause; in one without a
    rung, to the end."""
    if task.stop_step is None:
        return all_end(task, "5")
    task.rows(task.stop_step - 1, 1)
    return task.ending(paused=task.indices)


def task_goes_back(task: Task) -> dict[str, Any]:
    """Twelve rows, back to the fourth, and on to the seventh."""
    task.rows(0, 12)
    task.rows(4, 3, truncate=True)
    for run in task.indices:
        task.end(run, 7)
    return task.ending()


def flow(task: Task) -> dict[str, Any]:
    """Rows, a few every now and then, until it is stopped."""
    done = 0
    while task.flag.stop_requested is None:
        task.rows(done, 5)
        done += 5
        time.sleep(0.02)
    return task.stopped(done)


def task_fails(task: Task, how: str) -> dict[str, Any]:
    fail(task.events, task.flag, how)
    raise AssertionError


TASK_ACTS: dict[str, Callable[..., dict[str, Any]]] = {
    "end": all_end,
    "first_ends": first_ends,
    "rung": rung,
    "rungs": rungs,
    "fail": task_fails,
    "back": task_goes_back,
    "flow": flow,
}


def population(task: dict[str, Any], events: PipeEvents, flag: StopFlag) -> dict[str, Any]:
    """Labels of the first configuration: `act`, and `resumed`, as for `run`."""
    labels = next(iter(specs_of(task).values())).labels
    act = labels.get("resumed", labels["act"]) if task["resume"] else labels["act"]
    name, *arguments = act.split(":")
    return TASK_ACTS[name](Task(task, events, flag), *arguments)


if __name__ == "__main__":
    main(run, measure, population)
