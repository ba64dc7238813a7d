"""A trainer without torch that does what a job's `act` label says, or that of the first spec of a
study's task (`tests.worker.scenarios`); tests start it as a program."""

import math
import os
import signal
import time
from typing import Any, NoReturn, assert_never

import numpy as np

from core.artifacts.build import open_artifacts
from core.environment.gpus import VISIBLE, names
from core.errors import ArtifactError, JobFailure
from core.jobs import Outcome
from core.messages.parts import EndReason, LossAt, PausedRun, TaskWeights
from core.messages.reports import (
    Concluded,
    Ending,
    HistoryRows,
    Intervened,
    JobReport,
    Measured,
    PhaseBegun,
    PopulationProgress,
    Progress,
    RowsOfRuns,
    RunEnded,
    RunFailed,
    SavedCheckpoint,
    Settled,
    TaskEnding,
    TaskReport,
)
from core.messages.requests import Measure, TrainJob, TrainTask, TrySteps, UseWeights
from core.train.events import Control, Emit
from core.train.fused.request import specs_of
from core.uses.record import RESULT_NAME
from tests.worker.scenarios import (
    INITIAL_LOSS,
    Allocate,
    Deaf,
    Die,
    Fail,
    Fault,
    Finish,
    FirstEnds,
    FirstFails,
    Foretell,
    Forget,
    GoBack,
    JobScenario,
    Measuring,
    Rung,
    Rungs,
    Scenario,
    Settle,
    Stream,
    TaskScenario,
    Tune,
    Wait,
    of_label,
)
from worker.trainer.server import Handlers, main


def scenario_of(labels: dict[str, str], *, resume: bool) -> Scenario:
    return of_label(labels.get("resumed", labels["act"]) if resume else labels["act"])


def until_asked_to_stop(control: Control) -> EndReason:
    while control.stop_requested is None:
        time.sleep(0.001)
    return "cancelled" if control.stop_requested == "cancel" else "handed_over"


def hear_nothing() -> NoReturn:
    while True:
        time.sleep(1)


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def fail(how: Fault) -> NoReturn:
    raise {
        "memory": MemoryError(),
        "disk": ArtifactError("the disk is full"),
        "data": JobFailure("data_unavailable", "no such rows", "problem.data"),
        "fault": RuntimeError("password=secret"),
    }[how]


class Job:
    """A job at work."""

    def __init__(self, emit: Emit[JobReport], control: Control) -> None:
        self.emit = emit
        self.control = control

    def rows(self, first: int, count: int) -> None:
        steps = np.arange(first, first + count, dtype=np.float64)
        loss = 1 / (1 + steps)
        columns = {"step": steps, "loss": loss, "lr": steps * 0 + 0.1, "grad_norm": steps}
        self.emit(HistoryRows("train", first, columns))
        last = LossAt(step=first + count - 1, loss=float(loss[-1]))
        self.emit(Progress(first + count, 1000.0, last, last, INITIAL_LOSS))

    def end(self, steps: int, reason: EndReason = "finished") -> Ending:
        loss = 1 / max(1, steps)
        result = {
            "final_loss": loss,
            "best_loss": loss,
            "num_steps": steps,
            "train_s": 0.0,
            "num_parameters": 1,
            "eval": None,
        }
        outcome: Outcome | None = "budget_exhausted" if reason == "finished" else None
        return Ending(reason, outcome, result, {"step": steps - 1, "loss": loss})

    def finish(self, steps: int) -> Ending:
        self.rows(0, steps)
        return self.end(steps)

    def foretell(self, *, rightly: bool) -> Ending:
        self.rows(0, 5)
        ending = self.end(5 if rightly else 60)
        self.emit(Concluded(ending.outcome if rightly else "diverged", ending.result))
        self.rows(5, 55)
        return ending

    def stream(self) -> Ending:
        done = 0
        while self.control.stop_requested is None:
            self.rows(done, 5)
            done += 5
            time.sleep(0.02)
        return self.end(done, until_asked_to_stop(self.control))

    def wait(self, saved_bytes: int) -> Ending:
        self.rows(0, 3)
        if saved_bytes:
            old, new = "checkpoints/1", "checkpoints/2"
            self.emit(SavedCheckpoint("resume", 1, old, {}, saved_bytes, "ab"))
            self.emit(SavedCheckpoint("resume", 2, new, {}, saved_bytes, "ab", (old,)))
        return self.end(3, until_asked_to_stop(self.control))

    def go_back(self, pause_s: float) -> Ending:
        self.rows(0, 12)
        time.sleep(pause_s)
        entry = {"step": 12, "action": "rollback", "reason": "far above", "to_step": 4}
        self.emit(Intervened([entry], {"train": 4, "eval": 0}, ()))
        self.rows(4, 3)
        return self.end(7)

    def settle(self, spec: dict[str, Any], lr: float) -> Ending:
        self.emit(PhaseBegun("tuning"))
        settled = spec | {"optimizer": {**spec["optimizer"], "lr": lr}}
        self.emit(Settled(settled, {"optimizer.lr": {"value": lr, "evidence": {"loss": math.inf}}}))
        return self.finish(10)


def train_job(job: TrainJob, emit: Emit[JobReport], control: Control) -> Ending:
    scenario = scenario_of(job.spec["labels"], resume=job.resume)
    assert isinstance(scenario, JobScenario), scenario
    at_work = Job(emit, control)
    match scenario:
        case Finish(rows):
            return at_work.finish(rows)
        case Foretell(rightly):
            return at_work.foretell(rightly=rightly)
        case Wait(saved_bytes):
            return at_work.wait(saved_bytes)
        case Deaf():
            at_work.rows(0, 3)
            hear_nothing()
        case Die():
            at_work.rows(0, 3)
            die()
        case Fail(how):
            fail(how)
        case GoBack(pause_s):
            return at_work.go_back(pause_s)
        case Stream():
            return at_work.stream()
        case Settle(lr):
            return at_work.settle(job.spec, lr)
        case Tune():
            emit(PhaseBegun("tuning"))
            return Ending(until_asked_to_stop(control), None, {}, None)
        case Allocate(num_bytes):
            np.ones(num_bytes, np.uint8)  # written: only then it is in memory
            return at_work.finish(1)
        case _:
            assert_never(scenario)


def behave(what: Measuring, control: Control, failure: Exception) -> None:
    """Do what a measurement is asked to do before it ends, or never does."""
    match what:
        case Measuring.NOW:
            pass
        case Measuring.FAIL:
            raise failure
        case Measuring.DIE:
            die()
        case Measuring.WAIT:
            until_asked_to_stop(control)
        case Measuring.LONGER_THAN_A_LEASE:
            time.sleep(1.0)
        case Measuring.DEAF:
            hear_nothing()
        case _:
            assert_never(what)


def measure(asked: Measure, control: Control) -> Measured:
    what = Measuring(asked.spec["labels"].get("measure", Measuring.NOW))
    behave(what, control, MemoryError())
    step = {"final": 50, "best": 40, "initial": 0}[asked.checkpoint]
    found = {"checkpoint": asked.checkpoint, "step": step, "loss": 0.5, "grad_norm": 0.25}
    return Measured(found)


def use_weights(asked: UseWeights, control: Control) -> Measured:
    """Write a byte, as the use's model says that it goes."""
    what = Measuring(asked.model.get("does", Measuring.NOW))
    failure = JobFailure("data_unavailable", "The rows are gone.", "dataset")
    behave(what, control, failure)
    stored = open_artifacts(asked.artifacts).job(asked.job_id).write(RESULT_NAME, [b"1"])
    return Measured({"size_bytes": stored.size_bytes, "metrics": None})


def try_steps(asked: TrySteps) -> Measured:
    """First steps that do not move: their remedies are withheld."""
    what = Measuring(asked.specs[0]["labels"].get("measure", Measuring.NOW))
    match what:
        case Measuring.NOW | Measuring.WAIT | Measuring.LONGER_THAN_A_LEASE:
            pass
        case Measuring.FAIL:
            raise MemoryError
        case Measuring.DIE:
            die()
        case Measuring.DEAF:
            hear_nothing()
        case _:
            assert_never(what)
    seen = {"first": 1.0, "last": 1.0, "finite": True, "moved": False}
    return Measured({"first_steps": [seen for _ in asked.specs]})


class Task:
    """A task at work, whose runs all make the same steps. The loss of run i after k updates is
    i + 1/(1 + k)."""

    def __init__(self, task: TrainTask, emit: Emit[TaskReport], control: Control) -> None:
        self.task = task
        self.emit = emit
        self.control = control
        self.runs = [index for index, _, _ in task.runs]
        self.ended: dict[int, int] = {}

    def rows(self, first: int, count: int, *, truncate: bool = False) -> None:
        runs = self.runs
        steps = np.tile(np.arange(first, first + count, dtype=np.float64), len(runs))
        loss = np.repeat(np.array(runs, dtype=np.float64), count) + 1 / (1 + steps)
        columns = {"step": steps, "loss": loss, "lr": steps * 0 + 0.1, "grad_norm": steps}
        columns["x"] = loss[:, None]
        first_rows, lengths = [first] * len(runs), [count] * len(runs)
        self.emit(RowsOfRuns("train", runs, first_rows, lengths, columns, truncate))
        self.emit(PopulationProgress((first + count) * len(runs), len(runs)))

    def end_run(self, run: int, steps: int, reason: EndReason = "finished") -> None:
        finished = reason == "finished"
        loss = run + 1 / max(1, steps)
        self.ended[run] = steps
        self.emit(
            RunEnded(
                run=run,
                reason=reason,
                outcome="budget_exhausted" if finished else None,
                result={"final_loss": loss, "num_steps": steps, "eval": None},
                best={"step": steps - 1, "loss": loss},
                fused=True,
                share_s=0.25,
                target={"step": 2, "seconds": 0.5} if finished else None,
            )
        )

    def end_all(self, steps: int) -> TaskEnding:
        for run in self.runs:
            self.end_run(run, steps)
        return self.ending()

    def ending(self, reason: EndReason = "finished") -> TaskEnding:
        return TaskEnding(reason, self._weights(self.ended), {})

    def pause_all(self, step: int) -> TaskEnding:
        file = f"paused/{self.task.stem}.safetensors"
        paused = {
            run: PausedRun(
                step=step,
                initial_loss=run + 1.0,
                loss=run + 0.5,
                eval=None,
                best=None,
                share_s=0.5,
                target=None,
                file=file,
            )
            for run in self.runs
        }
        return TaskEnding("finished", self._weights(dict.fromkeys(self.runs, step)), paused)

    def _weights(self, finals: dict[int, int]) -> TaskWeights | None:
        if not finals:
            return None
        return TaskWeights(
            file=f"weights/{self.task.stem}.safetensors",
            rows={run: row for row, run in enumerate(finals)},
            steps={run: {"initial": 0, "final": step} for run, step in finals.items()},
        )

    def stopped(self, steps: int) -> TaskEnding:
        reason = until_asked_to_stop(self.control)
        for run in self.runs:
            if run not in self.ended and reason == "cancelled":
                self.end_run(run, steps, reason)
        return self.ending(reason)

    def finish(self, steps: int) -> TaskEnding:
        stored = self.task.stored_rows or {}
        kept = min((rows["train"] for rows in stored.values()), default=0)
        first = 2 if self.task.sources else max(0, kept - 1)
        self.rows(first, steps - first)
        return self.end_all(steps)

    def stream(self) -> TaskEnding:
        done = 0
        while self.control.stop_requested is None:
            self.rows(done, 5)
            done += 5
            time.sleep(0.02)
        return self.stopped(done)

    def first_ends(self, then: Wait | Deaf | Die | Fail | Forget) -> TaskEnding:
        self.rows(0, 3)
        self.end_run(self.runs[0], 3)
        match then:
            case Wait():
                return self.stopped(3)
            case Deaf():
                hear_nothing()
            case Die():
                die()
            case Fail(how):
                fail(how)
            case Forget():
                return self.ending()
            case _:
                assert_never(then)

    def first_fails(self) -> TaskEnding:
        self.rows(0, 3)
        first, *others = self.runs
        error = {"code": "internal_error", "message": "a division by zero", "param": None}
        self.emit(RunFailed(first, error, fused=False))
        for run in others:
            self.end_run(run, 3)
        return self.ending()

    def go_back(self, pause_s: float) -> TaskEnding:
        self.rows(0, 12)
        time.sleep(pause_s)
        self.rows(4, 3, truncate=True)
        return self.end_all(7)

    def do(self, scenario: TaskScenario) -> TaskEnding:
        match scenario:
            case Finish(rows):
                return self.finish(rows)
            case Fail(how):
                fail(how)
            case GoBack(pause_s):
                return self.go_back(pause_s)
            case Stream():
                return self.stream()
            case FirstEnds(then):
                return self.first_ends(then)
            case FirstFails():
                return self.first_fails()
            case Rung(then):
                if self.task.sources:
                    return self.do(then)
                self.rows(0, 2)
                return self.pause_all(2)
            case Rungs():
                step = self.task.stop_step
                if step is None:
                    return self.finish(5)
                self.rows(step - 1, 1)
                return self.pause_all(step)
            case _:
                assert_never(scenario)


def train_task(task: TrainTask, emit: Emit[TaskReport], control: Control) -> TaskEnding:
    labels = next(iter(specs_of(task).values())).labels
    scenario = scenario_of(labels, resume=task.resume)
    assert isinstance(scenario, TaskScenario), scenario
    return Task(task, emit, control).do(scenario)


def devices() -> dict[str, int]:
    """The devices that this process sees, with their memory: of the GPUs that `FAKE_GPUS` gives to
    the machine (their memory in bytes, with commas between) those that the driver's variable
    leaves."""
    there = dict(enumerate(map(int, filter(None, os.environ.get("FAKE_GPUS", "").split(",")))))
    listed = os.environ.get(VISIBLE, ",".join(map(str, there)))
    seen = [there[int(number)] for number in listed.split(",") if number and int(number) in there]
    return {**dict(zip(names(len(seen), os.environ), seen, strict=True)), "cpu": 0}


if __name__ == "__main__":
    handlers = Handlers(train_job, train_task, measure, try_steps, use_weights, lambda: None)
    main(handlers, devices=devices())
