"""Studies on a bench: what their tasks do is written in their specs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.ids import STUDY_PREFIX, new_id, rfc3339, utc_now
from core.store.history.layout import HistoryLayout
from core.store.protocols.types import NewRun, NewStudy, Round
from core.studies import RunRecord, StudyRecord, TaskRecord, run_id
from tests.worker.bench import Bench, until
from tests.worker.scenarios import TaskScenario, label, labels

Json = dict[str, Any]
LAYOUT = HistoryLayout(1, {"loss": 1, "lr": 1, "grad_norm": 1, "x": 1}, 100)


def as_written(study: StudyRecord, runs: Sequence[RunRecord]) -> Round | None:
    """A plan by the study's own word: `rounds` names the runs of each task of each round."""
    rounds = study.spec["rounds"]
    if study.round == len(rounds):
        return None
    known = {run.index for run in runs}
    groups = rounds[study.round]
    new = [
        NewRun(
            RunRecord(index, index, 0, 7 + index, study.spec["params"].get(str(index), {})),
            {"train": LAYOUT},
        )
        for group in groups
        for index in group
        if index not in known
    ]
    stop = study.spec["stop_steps"][study.round]
    tasks = [
        TaskRecord(study.id, study.round, number + 1, "train", tuple(group), stop)
        for number, group in enumerate(groups)
    ]
    return Round(tuple(tasks), tuple(new))


class StudyBench:
    """Makes studies and asks for them."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        bench.decide = as_written

    def submit(
        self,
        scenario: TaskScenario,
        *rounds: list[list[int]],
        stop_steps: Sequence[int | None] = (),
        resumed: TaskScenario | None = None,
        others: Mapping[int, TaskScenario] | None = None,
        params: Json | None = None,
        metric: Json | None = None,
        max_attempts: int = 3,
        memory_bytes: int = 0,
    ) -> str:
        """A study whose rounds have these tasks, with which the trainer deals as the scenario says.

        Args:
            resumed: what later attempts do, if it is something else.
            others: by its first run's number, what is done with a task, if it is something else.
            params: of runs, by their numbers.
            memory_bytes: that its largest run takes by its estimate.
        """
        params = {
            **{str(run): {"labels.act": label(other)} for run, other in (others or {}).items()},
            **(params or {}),
        }
        spec = {
            "base": {
                "problem": {"kind": "function", "function": {"kind": "sphere", "dim": 1}},
                "optimizer": {"kind": "sgd"},
                "labels": labels(scenario, resumed),
                "device": "auto",
            },
            "metric": {
                "name": "loss",
                "at": "final",
                "goal": "min",
                "target": None,
                **(metric or {}),
            },
            "sweep": {},
            "rounds": rounds,
            "params": params,
            "stop_steps": [*stop_steps, *[None] * (len(rounds) - len(stop_steps))],
        }
        runs = {index for tasks in rounds for task in tasks for index in task}
        study = NewStudy(
            id=new_id(STUDY_PREFIX),
            spec=spec,
            labels={},
            created_at=rfc3339(utc_now()),
            priority=5,
            max_attempts=max_attempts,
            device="auto",
            num_runs=len(runs),
            max_updates=100,
            memory_bytes=memory_bytes,
        )
        self.bench.api(lambda store: store.studies.create(study, None))
        return study.id

    def cancel(self, study_id: str) -> None:
        self.bench.api(lambda store: store.studies.request_cancel(study_id))

    def pause(self, study_id: str) -> None:
        self.bench.api(lambda store: store.studies.request_pause(study_id))

    def resume(self, study_id: str) -> None:
        self.bench.api(lambda store: store.studies.request_resume(study_id))

    def delete(self, study_id: str) -> None:
        self.bench.api(lambda store: store.studies.delete(study_id))

    def get(self, study_id: str) -> StudyRecord:
        return self.bench.store.studies.get(study_id)

    def runs(self, study_id: str) -> list[RunRecord]:
        return self.bench.store.studies.runs(study_id)

    def steps(self, study_id: str, index: int) -> list[float]:
        return list(self.bench.steps(run_id(study_id, index)))

    def until(self, condition: Callable[[], object]) -> None:
        until(condition)

    def until_status(self, study_id: str, *statuses: str) -> StudyRecord:
        until(lambda: self.get(study_id).status in statuses)
        return self.get(study_id)

    def until_running(self, study_id: str, num_runs: int) -> None:
        until(lambda: self.get(study_id).counts["running"] == num_runs)
