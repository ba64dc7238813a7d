"""Histories for other programs: TensorBoard, CSV, Parquet."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from thalweg._sync.jobs import Job
    from thalweg._sync.studies import Run, Study
    from thalweg.history import History

FORMATS: Final = ("tensorboard", "csv", "parquet")


def export_job(job: "Job", folder: Path, to: str) -> list[Path]:
    """Write a job's rows and evaluations; return the files.

    For TensorBoard one event file in `FOLDER/JOB`; else `FOLDER/JOB-train.csv` and so on. `to`: one
    of `FORMATS`.
    """
    return _written(job.id, _histories(job), folder, to)


def export_study(study: "Study", folder: Path, to: str) -> list[Path]:
    """Write the rows of every run of a study that has any, each as a job's, in `FOLDER/STUDY`."""
    paths = []
    for run in study.runs():
        histories = _histories(run)
        if any(rows.num_rows for rows in histories.values()):
            paths += _written(f"run-{run.index}", histories, folder / study.id, to)
    return paths


def _histories(of: "Job | Run") -> "dict[str, History]":
    found = {"train": of.history()}
    evaluations = of.history("eval")
    if evaluations.num_rows:
        found["eval"] = evaluations
    return found


def _written(name: str, histories: "dict[str, History]", folder: Path, to: str) -> list[Path]:
    if to == "tensorboard":
        from thalweg.export import tensorboard

        return [tensorboard.write(histories, folder / name)]
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind, rows in histories.items():
        path = folder / f"{name}-{kind}.{to}"
        rows.to_csv(path) if to == "csv" else rows.to_parquet(path)
        paths.append(path)
    return paths
