"""What a study needs no more goes while it runs; its weights stay."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from core.artifacts.base import ArtifactStore
from core.artifacts.build import open_artifacts
from core.errors import ArtifactError
from core.ids import STUDY_PREFIX, new_id
from core.studies import RunRecord, StudyRecord
from tests.worker.bench import Bench
from tests.worker.scenarios import FirstEnds, Rung, Rungs, Wait
from tests.worker.study_bench import StudyBench, as_written
from worker.execution.cleanup import drop_checkpoints, drop_spent

FILES = (
    "paused/0_1.safetensors",
    "paused/10_2.safetensors",
    "paused/1_1.safetensors",
    "tasks/0_1_a.safetensors",
    "tasks/1_12_b.safetensors",
    "weights/0_1.safetensors",
    "weights/0_2.safetensors",
    "weights/10_2.safetensors",
)


def filled(artifacts: ArtifactStore, study_id: str) -> None:
    for name in FILES:
        artifacts.job(study_id).write(name, [b"x"])


def left(artifacts: ArtifactStore, study_id: str) -> list[str]:
    return list(artifacts.job(study_id).list())


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return open_artifacts(str(tmp_path))


def run_with(index: int, file: str | None) -> RunRecord:
    weights = None if file is None else {"file": file, "row": 0, "steps": {"final": 2}}
    return RunRecord(index, index, 0, 7, {}, weights=weights)


def test_what_earlier_rounds_wrote_goes_but_for_the_weights_that_runs_have(
    artifacts: ArtifactStore,
) -> None:
    study_id = new_id(STUDY_PREFIX)
    filled(artifacts, study_id)
    runs = [run_with(0, FILES[5]), run_with(1, FILES[7]), run_with(2, None)]
    drop_spent(artifacts, study_id, runs, 1)
    assert left(artifacts, study_id) == [FILES[at] for at in (1, 2, 4, 5, 7)]
    drop_spent(artifacts, study_id, runs)
    assert left(artifacts, study_id) == [FILES[5], FILES[7]]
    drop_spent(artifacts, study_id, runs)


def test_the_checkpoints_of_a_closed_task_go(artifacts: ArtifactStore) -> None:
    study_id = new_id(STUDY_PREFIX)
    filled(artifacts, study_id)
    drop_checkpoints(artifacts, study_id, "1_12")
    assert left(artifacts, study_id) == [name for name in FILES if name != FILES[4]]


def test_artifacts_that_cannot_be_deleted_hold_up_nobody() -> None:
    class Broken(ArtifactStore):
        def job(self, job_id: str) -> Any:
            raise ArtifactError("the object store does not answer")

        def check(self) -> None: ...

    drop_spent(Broken(), new_id(STUDY_PREFIX), [])


@pytest.mark.parametrize("end", ["succeeded", "cancelled"])
def test_a_study_that_has_ended_keeps_its_weights_alone(bench: Bench, end: str) -> None:
    studies = StudyBench(bench)
    worker = bench.worker()
    scenario = Rung() if end == "succeeded" else FirstEnds(Wait())
    study_id = studies.submit(scenario, [[0, 1]], [[0, 1]], stop_steps=[2])
    last = "weights/1_1.safetensors" if end == "succeeded" else "weights/0_1.safetensors"
    filled(worker.artifacts, study_id)
    worker.artifacts.job(study_id).write(last, [b"x"])
    if end == "cancelled":
        studies.until_running(study_id, 1)
        studies.cancel(study_id)
    studies.until_status(study_id, end)
    studies.until(lambda: left(worker.artifacts, study_id) == [last])


def test_weights_of_a_rung_go_once_all_their_runs_have_later_ones(bench: Bench) -> None:
    """Two tasks in the first round: of one both runs go on, of the other one does."""
    studies = StudyBench(bench)
    at_plans: list[list[str]] = []

    def look(study: StudyRecord, runs: Sequence[RunRecord]) -> Any:
        at_plans.append(left(worker.artifacts, study.id))
        worker.artifacts.job(study.id).write(f"weights/{study.round}_1.safetensors", [b"x"])
        return as_written(study, runs)

    bench.decide = look
    worker = bench.worker()
    rounds = [[[0, 1], [2, 3]], [[0, 1, 2]], [[0, 1]], [[0]]]
    study_id = studies.submit(Rungs(), *rounds, stop_steps=[1, 2, 3])
    second = "weights/0_2.safetensors"
    worker.artifacts.job(study_id).write(second, [b"x"])
    studies.until_status(study_id, "succeeded")
    written = [f"weights/{number}_1.safetensors" for number in range(4)]
    assert at_plans[2] == [written[0], second, written[1]]
    assert at_plans[3] == [second, *written[1:3]]
    kept = [second, *written[1:4]]
    studies.until(lambda: left(worker.artifacts, study_id) == kept)
