"""Artifacts of a study that have had their use: resume checkpoints of closed tasks, the states of
paused runs when all that go on have gone on, and weights in whose place all their runs have later
ones.

What a worker that dies on the way leaves behind goes with its study.
"""

import logging
from collections.abc import Callable, Iterable, Sequence

from core.artifacts.base import ArtifactStore
from core.artifacts.task_files import checkpoint_files, spent
from core.errors import ArtifactError
from core.studies import RunRecord

log = logging.getLogger("thalweg.worker")


def drop_checkpoints(artifacts: ArtifactStore, study_id: str, stem: str) -> None:
    """Delete the resume checkpoints of one task."""
    _drop(artifacts, study_id, lambda: checkpoint_files(stem))


def drop_spent(
    artifacts: ArtifactStore,
    study_id: str,
    runs: Sequence[RunRecord],
    before_round: int | None = None,
) -> None:
    """Delete the artifacts that have had their use, as `core.artifacts.task_files.spent` says."""
    _drop(artifacts, study_id, lambda: spent(artifacts.job(study_id).list(), runs, before_round))


def _drop(artifacts: ArtifactStore, study_id: str, names: Callable[[], Iterable[str]]) -> None:
    try:
        for name in names():
            artifacts.job(study_id).delete(name)
    except ArtifactError as error:
        log.warning("%s: not all that has had its use is deleted: %s", study_id, error)
