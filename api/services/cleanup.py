"""Removal of the files and rows that a deleted job or study leaves behind, or a study that is
cancelled between its tasks."""

import asyncio
import logging
from collections.abc import Sequence

from api.http.log import note
from api.services.dependencies import Services
from core.artifacts.base import JobArtifacts
from core.artifacts.task_files import spent
from core.errors import ArtifactError, StoreUnavailableError
from core.studies import RunRecord


async def remove_kept(services: Services, name: str) -> None:
    """Remove the artifacts and rows of a job or study in the trash.

    It is gone for all readers by now. What is not done here, or breaks off, a worker does.
    """
    try:
        await asyncio.to_thread(services.artifacts.job(name).delete_all)
        await services.store.free(name)
    except (ArtifactError, StoreUnavailableError) as error:
        note(logging.WARNING, "What was deleted is left to a worker", id=name, error=str(error))


async def remove_spent(services: Services, study_id: str) -> None:
    """Remove what a study kept to go on, and weights that no run has any more. Nobody works at it:
    a worker would have done it. What breaks off here goes with the study."""
    try:
        runs = await services.store.studies.runs(study_id)
        await asyncio.to_thread(_delete_spent, services.artifacts.job(study_id), runs)
    except (ArtifactError, StoreUnavailableError) as error:
        note(
            logging.WARNING,
            "Not all that has had its use is deleted",
            id=study_id,
            error=str(error),
        )


def _delete_spent(artifacts: JobArtifacts, runs: Sequence[RunRecord]) -> None:
    for name in spent(artifacts.list(), runs):
        artifacts.delete(name)
