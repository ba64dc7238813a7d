"""The rules on histories while a job runs: cheap, seldom, and never on the training path."""

import time
from collections.abc import Callable
from typing import Final

from core.jobs import JobRecord
from worker.execution.diagnosis import Run, diagnosis
from worker.reporting.job import JobRows

EVERY_S: Final = 2.0
SHARE: Final = 0.005
"""At most this share of the time goes into it (a look at 400,000 rows takes 3 ms)."""


class LiveDiagnosis:
    """Writes the record's `diagnosis` every now and then, marked `live`, from the rows at hand.

    Where not all rows are at hand (a resumed attempt, a very long run) there is none: reading them
    back would cost more than it tells.
    """

    def __init__(
        self,
        job: JobRecord,
        recorder: JobRows,
        *,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job = job
        self._recorder = recorder
        self._every_s = every_s
        self._clock = clock
        self._due = clock() + every_s if job.spec.get("diagnose") != "off" else float("inf")

    def look(self) -> None:
        """Rows have come: diagnose them if it is time."""
        began = self._clock()
        if began < self._due:
            return
        if not self._recorder.history("train"):
            self._due = float("inf")
            return
        found = diagnosis(Run(self._job, None, None, self._recorder.history))
        self._recorder.set(diagnosis={**found, "live": True})
        now = self._clock()
        self._due = now + max(self._every_s, (now - began) / SHARE)
