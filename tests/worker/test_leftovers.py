"""What a study needs no more goes while it runs; its weights stay."""

from pathlib import Path
from typing import Any

import pytest

from core.artifacts.base import ArtifactStore
from core.artifacts.build import open_artifacts
from core.errors import ArtifactError
from core.names import STUDY_PREFIX, new_id
from tests.worker.study_bench import StudyBench
from worker.leftovers import drop_checkpoints, drop_states

FILES = (
    "paused/0_1.safetensors",
    "paused/10_2.safetensors",
    "paused/1_1.safetensors",
    "tasks/0_1_a.safetensors",
    "tasks/1_12_b.safetensors",
    "weights/0_1.safetensors",
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


def test_states_of_earlier_rounds_go(artifacts: ArtifactStore) -> None:
    study_id = new_id(STUDY_PREFIX)
    filled(artifacts, study_id)
    drop_states(artifacts, study_id, 1)
    assert left(artifacts, study_id) == [FILES[at] for at in (1, 2, 4, 5, 6)]
    drop_states(artifacts, study_id)
    assert left(artifacts, study_id) == list(FILES[5:])
    drop_states(artifacts, study_id)


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

    drop_states(Broken(), new_id(STUDY_PREFIX))


@pytest.mark.parametrize("end", ["succeeded", "cancelled"])
def test_a_study_that_has_ended_keeps_its_weights_alone(bench: Any, end: str) -> None:
    studies = StudyBench(bench)
    worker = bench.worker()
    act = "rung" if end == "succeeded" else "first_ends:wait"
    study_id = studies.submit(act, [[0, 1]], [[0, 1]], stop_steps=[2])
    filled(worker.artifacts, study_id)
    if end == "cancelled":
        studies.until_running(study_id, 1)
        studies.cancel(study_id)
    studies.until_status(study_id, end)
    studies.until(lambda: left(worker.artifacts, study_id) == list(FILES[5:]))
