"""Artifacts of a study that have had their use: resume checkpoints of closed tasks, and the
states of paused runs when all that go on have gone on.

What a worker that dies on the way leaves behind goes with its study.
"""

import logging
from collections.abc import Callable, Iterable

from core.artifacts.base import ArtifactStore
from core.errors import ArtifactError
from core.population.files import checkpoint_files, round_of_state

log = logging.getLogger("thalweg.worker")


def drop_checkpoints(artifacts: ArtifactStore, study_id: str, stem: str) -> None:
    """Of one task."""
    _drop(artifacts, study_id, lambda: checkpoint_files(stem))


def drop_states(artifacts: ArtifactStore, study_id: str, before_round: int | None = None) -> None:
    """Paused runs and checkpoints of the rounds before this one; left out: of all, since the study
    has ended."""

    def is_spent(name: str) -> bool:
        found = round_of_state(name)
        return found is not None and (before_round is None or found < before_round)

    _drop(artifacts, study_id, lambda: filter(is_spent, artifacts.job(study_id).list()))


def _drop(artifacts: ArtifactStore, study_id: str, names: Callable[[], Iterable[str]]) -> None:
    try:
        for name in names():
            artifacts.job(study_id).delete(name)
    except ArtifactError as error:
        log.warning("%s: not all that has had its use is deleted: %s", study_id, error)
