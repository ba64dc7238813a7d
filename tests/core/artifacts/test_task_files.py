"""The names of what a study's tasks write, and which of it has had its use."""

from core.artifacts.task_files import checkpoint_files, paused_file, spent, weights_file
from core.studies import RunRecord


def run_with(index: int, file: str | None) -> RunRecord:
    weights = None if file is None else {"file": file, "row": 0, "steps": {"final": 2}}
    return RunRecord(index, index, 0, 7, {}, weights=weights)


def written_by(stem: str) -> list[str]:
    return [*checkpoint_files(stem), paused_file(stem), weights_file(stem)]


def test_a_tasks_artifacts_have_names_of_their_own() -> None:
    assert len({*written_by("2_1"), *written_by("2_2")}) == 8


def test_all_is_spent_but_the_weights_that_runs_have() -> None:
    names = [name for stem in ("0_1", "0_2", "1_1", "10_1") for name in written_by(stem)]
    kept = [weights_file("0_2"), weights_file("10_1")]
    runs = [run_with(0, kept[0]), run_with(1, kept[1]), run_with(2, None)]
    assert list(spent(names, runs)) == [name for name in names if name not in kept]
    earlier = [*written_by("0_1"), *written_by("0_2")[:3]]
    assert list(spent(names, runs, 1)) == earlier
    assert list(spent(["final.safetensors", "weights/x"], [])) == []
