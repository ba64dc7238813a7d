"""Times of a history: when its run came to which step, and so to each row.

Of a job, or of a group of runs that train together, the store keeps pairs (step, seconds of
training) in their order, a pair for each flush of rows and at most 512 (`lua/stamp.lua` thins
them). Between two pairs the time is as the step. A run of a study has such a series for each of its
tasks: its entries name them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = Sequence[Sequence[float]]
"""Pairs (step, seconds), as `Times` of `core.messages.parts`."""


@dataclass(frozen=True)
class RunTimes:
    """Place of the times of a run, of one task.

    Attributes:
        task: its round and number.
        unit: the series among the task's.
        earlier_s: what the run had trained before the series begins.
    """

    task: str
    unit: int
    earlier_s: float

    @property
    def text(self) -> str:
        """The entry as the store keeps it."""
        return f"{self.task} {self.unit} {self.earlier_s!r};"

    def name(self, study_id: str) -> str:
        """Return the name of the series."""
        return unit_name(f"{study_id}/{self.task}", self.unit)


def entries_in(text: bytes | None) -> list[RunTimes]:
    """Read the entries of a run, in the order of its tasks."""
    lines = [entry.split(" ") for entry in (text or b"").decode().split(";")[:-1]]
    return [RunTimes(task, int(unit), float(earlier_s)) for task, unit, earlier_s in lines]


def job_name(job_id: str) -> str:
    """Return the name of a job's times."""
    return f"{job_id}:times"


def unit_name(task_id: str, unit: int) -> str:
    """Return the name of the times of a task's runs that train together."""
    return f"{task_id}:times:{unit}"


def pack(times: Times) -> bytes:
    """Write pairs as the store has them."""
    return np.asarray(times, dtype="<f8").tobytes()


@dataclass(frozen=True)
class TimeLine:
    """Steps of a run and the seconds at which it came to them. Both rise."""

    steps: Floats
    seconds: Floats

    def covers(self, steps: Floats) -> bool:
        """Tell whether these steps were timed: from the first on."""
        return not len(steps) or (len(self.steps) > 0 and bool(steps.min() >= self.steps[0]))

    def at(self, steps: Floats) -> Floats:
        """Return when the run came to these steps, which are covered."""
        if not len(steps):
            return np.zeros(0)
        found: Floats = np.interp(steps, self.steps, self.seconds)
        return found


def unpack(data: bytes | None) -> TimeLine:
    """Read a series."""
    pairs: Floats = np.frombuffer(data or b"", dtype="<f8").reshape(-1, 2)
    return TimeLine(pairs[:, 0], pairs[:, 1])


def joined(parts: Sequence[tuple[TimeLine, float]]) -> TimeLine:
    """Join the series of a run's tasks, each with the seconds before it: one ends where the next
    begins."""
    steps, seconds = np.zeros(0), np.zeros(0)
    for line, earlier_s in parts:
        if not len(line.steps):
            continue
        kept = steps < line.steps[0]
        steps = np.concatenate([steps[kept], line.steps])
        seconds = np.concatenate([seconds[kept], line.seconds + earlier_s])
    return TimeLine(steps, seconds)
