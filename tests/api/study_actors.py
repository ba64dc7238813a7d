"""Studies in the API's tests: their specs, and a worker without torch that takes them forward."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from core.artifacts.local import LocalJob
from core.specs.studies.runs import configurations, run_spec
from core.store.history.layout import Columns, HistoryKind, RunRows, layouts_of
from core.store.protocols.types import NewRun, Round, TaskClaim
from core.studies import RunRecord, StudyRecord, TaskRecord
from tests.api.actors import LEASE_S, Api, Json, digits

NO_SUCH_STUDY = "study_00000000000000000000000000"
RATES = [0.1, 0.01, 0.001]


def sweep(base: Json | None = None, **changes: Any) -> Json:
    """Three learning rates, two repeats each: six runs of 100 steps."""
    return {
        "base": digits() if base is None else base,
        "sweep": {"optimizer.lr": {"values": RATES}},
        "repeats": 2,
        **changes,
    }


def post(api: Api, body: Json | None = None, headers: dict[str, str] | None = None) -> Json:
    reply = api.http.post("/v1/studies", json=body or sweep(), headers=headers)
    assert reply.status_code == 202, reply.text
    study: Json = reply.json()
    return study


@dataclass
class Played:
    """A study whose runs the test moves, all in one task."""

    api: Api
    claim: TaskClaim
    runs: list[RunRecord] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.claim.study.id

    @property
    def path(self) -> str:
        return f"/v1/studies/{self.id}"

    @property
    def spec(self) -> Json:
        return self.claim.study.spec

    def view(self) -> Json:
        return self.api.get(self.path)

    def write(self, index: int | None = None, updates: int | None = None, **fields: Any) -> None:
        """Change the record of one run, and say how many updates there were."""
        changed = []
        if index is not None:
            self.runs[index] = replace(self.runs[index], **fields)
            changed = [self.runs[index]]
        self.api.worker.store.studies.write(
            self.claim, runs=changed, num_updates=updates, device="cpu"
        )

    def end(self, index: int, metric: float | None = None, **fields: Any) -> None:
        """The run has come through."""
        ended: Json = {"status": "succeeded", "outcome": "budget_exhausted", "metric": metric}
        result = {"num_steps": 100, "final_loss": metric, "train_s": 0.5}
        self.write(index, **{**ended, "result": result, **fields})

    def append(self, index: int, kind: HistoryKind = "train", **columns: Any) -> None:
        """Rows from the first on."""
        run = self.runs[index]
        layout = layouts_of(run_spec(self.spec, run.params, run.repeat))[kind]
        rows: Columns = {name: np.asarray(each, dtype=float) for name, each in columns.items()}
        self.api.worker.store.studies.write(
            self.claim, rows=[RunRows(index, kind, layout, 0, rows)], device="cpu"
        )

    def save(self, tensors: dict[str, NDArray[Any]], name: str = "weights/0_1.safetensors") -> None:
        """Weights of all runs, a row each."""
        shared = {"class_names": '["0", "1"]', "spec": "of the first run"}
        folder = LocalJob(Path(self.api.settings.artifacts_location), self.id)
        folder.write(name, [save(tensors, shared)])

    def close(self, *metrics: float | None, status: Any = "succeeded", **finish: Any) -> None:
        """End the task, and the study; `metrics`: of the runs, which succeed with them."""
        for index, metric in enumerate(metrics):
            self.end(index, metric)
        studies = self.api.worker.store.studies
        studies.close(self.claim, "succeeded", "finished", num_updates=600)
        plan = take(self.api)
        assert plan.task.kind == "plan"
        studies.finish(plan, status, finish or {"result": {"best": None}})


def take(api: Api) -> TaskClaim:
    claim = api.worker.store.claim_next(api.worker.name, ("cpu",), LEASE_S)
    assert isinstance(claim, TaskClaim), "no task is queued"
    return claim


def play(api: Api, body: Json | None = None, params: Sequence[Json] | None = None) -> Played:
    """A new study, planned and claimed. `params`: of its configurations, where a plan chooses."""
    post(api, body)
    plan = take(api)
    study = plan.study
    repeats = study.spec["repeats"]
    runs = [
        planned_run(study, place * repeats + repeat, each)
        for place, each in enumerate(params or configurations(study.spec))
        for repeat in range(repeats)
    ]
    task = TaskRecord(study.id, 0, 1, "train", tuple(run.index for run in runs))
    new = [NewRun(run, layouts_of(run_spec(study.spec, run.params, run.repeat))) for run in runs]
    api.worker.store.studies.plan(plan, Round((task,), tuple(new)))
    return Played(api, take(api), runs)


def planned_run(study: StudyRecord, index: int, params: Json) -> RunRecord:
    repeat = index % study.spec["repeats"]
    seed = run_spec(study.spec, params, repeat).seed
    return RunRecord(index, index // study.spec["repeats"], repeat, seed, params)
