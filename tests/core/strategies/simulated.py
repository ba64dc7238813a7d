"""A study that trains without training: runs end as a function of their records says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core.specs.studies.parse import ResolvedStudy
from core.store.protocols.types import Round
from core.strategies.plan import next_round
from core.studies import RunRecord, StudyRecord
from tests.core.specs.studies.specs_of_studies import Json, parsed

STUDY_ID = "study_" + "0" * 26
Metric = Callable[[RunRecord, int], float]
"""The metric of a run that has trained so many steps."""
Ends = Callable[[RunRecord], dict[str, Any] | None]
"""What a run ends with before the next rung; None: it goes on."""


def record(resolved: ResolvedStudy, round_: int = 0, num_extensions: int = 0) -> StudyRecord:
    return StudyRecord(
        STUDY_ID, "running", resolved.spec, "2026-11-24T00:00:00Z", resolved.num_runs,
        resolved.max_updates, round=round_, num_extensions=num_extensions,
    )  # fmt: skip


@dataclass
class Simulated:
    """Plans and trains in turn, as the store and the workers would.

    Attributes:
        runs: by index.
        rounds: what was planned.
        updates: applied over all runs.
    """

    resolved: ResolvedStudy
    runs: dict[int, RunRecord] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)
    updates: int = 0
    num_extensions: int = 0

    @property
    def records(self) -> list[RunRecord]:
        return [self.runs[index] for index in sorted(self.runs)]

    def plan(self) -> Round | None:
        """The next round, decided twice: the same."""
        study = record(self.resolved, len(self.rounds), self.num_extensions)
        decided = next_round(study, self.records)
        assert next_round(study, self.records) == decided
        if decided is not None:
            self.rounds.append(decided)
            self.runs |= {new.record.index: new.record for new in decided.new}
            self.runs |= {run.index: run for run in decided.changed}
        return decided

    def train(self, round_: Round, metric: Metric, steps: int, ends: Ends) -> None:
        for task in round_.tasks:
            for index in task.runs:
                run = self.runs[index]
                done = 0 if run.paused is None else run.paused["step"]
                stop = task.stop_step or steps
                ended = ends(run)
                self.updates += stop - done
                value = metric(run, stop)
                paused = {"step": stop, "initial_loss": 9.0, "loss": value,
                          "eval": {"loss": value}, "file": "paused/x"}  # fmt: skip
                if ended is not None:
                    run = replace(run, status="succeeded", paused=None, **ended)
                elif task.stop_step is not None:
                    run = replace(run, status="queued", metric=value, share_s=1.0, paused=paused,
                                  best={"step": stop, "loss": value})  # fmt: skip
                else:
                    run = replace(run, status="succeeded", outcome="budget_exhausted",
                                  metric=value, paused=None)  # fmt: skip
                self.runs[index] = run

    def go(self, metric: Metric, steps: int = 2000, ends: Ends = lambda _: None) -> "Simulated":
        """To the end."""
        while (round_ := self.plan()) is not None:
            self.train(round_, metric, steps, ends)
        return self


def simulate(body: Json) -> Simulated:
    return Simulated(parsed(body))


def configurations_of(runs: Sequence[RunRecord]) -> list[int]:
    return sorted({run.configuration for run in runs})
