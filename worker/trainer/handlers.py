"""What a trainer does for its worker: train a job, measure weights, get warm."""

import json
import math
import tempfile
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Final, Literal, Protocol

from core.artifacts.base import ArtifactStore
from core.artifacts.build import open_artifacts
from core.errors import JobFailure, NotFoundError
from core.ids import JOB_PREFIX, STUDY_PREFIX, new_id
from core.settings import Settings
from core.specs.job import JobSpec
from core.specs.parsing.job import Limits, parse_job
from core.specs.validation.auto_lr import is_settled
from core.train.events import Columns, Control, Ending, Events, Json, SavedCheckpoint

if TYPE_CHECKING:
    from core.train.fused.events import PopulationControl
    from core.train.fused.task_state import TaskEvents

SLICE_SHARE: Final = 0.15
"""Of a full diagnosis's time, for the picture of the loss around the weights."""
SLICE_LEAST_S: Final = 0.25

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


@cache
def artifact_store(location: str) -> ArtifactStore:
    """One a process: an object store's connections stay open between jobs."""
    return open_artifacts(location)


class JobEvents(Events, Protocol):
    """Where a job reports: its training loop, and what comes before it."""

    def settled(self, spec: Json, resolved: Json) -> None:
        """The spec has no "auto" any more; `resolved` is the record's."""


def run_job(job: Json, events: JobEvents, control: Control) -> Ending:
    """Train the resolved spec of a `run` frame: `job_id`, `spec`, `artifacts` (their
    location), `device`, `resume`, `stored_rows`. What is "auto" in it is settled first."""
    from core.train.loop import run

    # From JSON: a spec is strict, and takes a list for a tuple from JSON only.
    spec = JobSpec.model_validate_json(json.dumps(job["spec"]))
    if not is_settled(spec):
        settled = _settled(spec, job["device"], events, control)
        if settled is None:
            return Ending(_stop_reason(control), None, {}, None)
        spec = settled
    return run(
        spec,
        artifacts=artifact_store(job["artifacts"]).job(job["job_id"]),
        events=events,
        control=control,
        resume=job["resume"],
        stored_rows=job["stored_rows"],
        device=job["device"],
    )


def _settled(spec: JobSpec, device: str, events: JobEvents, control: Control) -> JobSpec | None:
    """The spec with its learning rate found; None: asked to stop meanwhile. Whoever tries again
    finds the same."""
    from core.train.auto_lr.race import race
    from core.train.auto_lr.settle import settle

    events.phase("tuning")
    found = settle(spec, race, control=control, device=device)
    if found is None:
        return None
    events.settled(found.spec.model_dump(mode="json"), found.resolved)
    return found.spec


def _stop_reason(control: Control) -> Literal["cancelled", "handed_over"]:
    return "cancelled" if control.stop_requested == "cancel" else "handed_over"


def run_population(job: Json, events: "TaskEvents", control: "PopulationControl") -> Json:
    """Train the runs of a `population` frame (`core.train.fused.task.run_task` has its fields);
    returns those of its `ended` frame."""
    from core.train.fused.task import run_task

    artifacts = artifact_store(job["artifacts"]).job(job["study_id"])
    return run_task(job, artifacts, events, control)


def measure_job(job: Json, control: Control) -> Json:
    """What a full diagnosis measures of the weights that a `measure` frame names: `job_id`,
    `spec`, `artifacts`, `device`, `checkpoint`, and `train_s`, of which it takes a share. Asked to
    stop, it begins nothing new."""
    from core.train.measure.measure import budget_for, measure_checkpoint
    from core.train.measure.slice import slice_checkpoint

    def clock() -> float:
        return math.inf if control.stop_requested else perf_counter()

    spec = JobSpec.model_validate_json(json.dumps(job["spec"]))
    artifacts = artifact_store(job["artifacts"]).job(job["job_id"])
    budget_s = budget_for(job["train_s"])
    try:
        found = measure_checkpoint(
            spec,
            artifacts,
            job["checkpoint"],
            device=job["device"],
            budget_s=(1 - SLICE_SHARE) * budget_s,
            clock=clock,
        )
        found["slice"] = slice_checkpoint(
            spec,
            artifacts,
            job["checkpoint"],
            device=job["device"],
            budget_s=max(SLICE_LEAST_S, SLICE_SHARE * budget_s),
            clock=clock,
        )
        return found
    except NotFoundError as error:
        message = f"The weights of the checkpoint {job['checkpoint']} are not there any more."
        raise JobFailure("data_unavailable", message) from error


class Nobody:
    """Events that go nowhere, and a control that never asks: of a job, and of a study's task."""

    stop_requested: Literal["cancel", "hand_over"] | None = None
    dropped: frozenset[int] = frozenset()

    def rows(self, kind: Literal["train", "eval"], first_row: int, columns: Columns) -> None: ...
    def progress(
        self, step: int, steps_per_s: float | None, latest: Json | None, best: Json | None
    ) -> None: ...
    def phase(self, name: str) -> None: ...
    def checkpoint(self, saved: SavedCheckpoint) -> None: ...
    def intervened(
        self, interventions: list[Json], rewound: dict[str, int] | None, dropped: tuple[str, ...]
    ) -> None: ...
    def settled(self, spec: Json, resolved: Json) -> None: ...
    def run_rows(
        self,
        kind: Literal["train", "eval"],
        runs: list[int],
        first_rows: list[int],
        lengths: list[int],
        columns: Columns,
        *,
        truncate: bool = False,
    ) -> None: ...
    def population_progress(self, num_updates: int, num_running: int) -> None: ...
    def run_ended(self, fields: Json) -> None: ...
    def restarted(self, detail: str) -> None: ...


def warm_up(device: str) -> None:
    """Train a little of each kind, by itself and as two runs of a study, so that nobody pays for
    what torch and scikit-learn import and allocate at first use. Raises what a job on this machine
    would."""
    limits = Limits.of(Settings())
    for body in WARM_UP:
        spec = parse_job(json.dumps(body).encode(), limits).model_dump(mode="json")
        with tempfile.TemporaryDirectory(prefix="thalweg-warm-up-") as folder:
            common = {"artifacts": folder, "device": device, "resume": False, "stored_rows": None}
            run_job({**common, "job_id": new_id(JOB_PREFIX), "spec": spec}, Nobody(), Nobody())
            task = {"study_id": new_id(STUDY_PREFIX), "stem": "0_1", "stop_step": None}
            runs = {"base": spec, "configurations": [{}], "runs": [[0, 0, 0], [1, 0, 1]]}
            run_population({**common, **task, **runs}, Nobody(), Nobody())
