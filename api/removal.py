"""What a deleted job or study leaves behind."""

import asyncio
import logging

from api.dependencies import Services
from api.log import note
from core.errors import ArtifactError, StoreUnavailableError


async def remove_kept(services: Services, name: str) -> None:
    """Remove the artifacts and rows of a job or study in the trash.

    It is gone for all readers by now. What is not done here, or breaks off, a worker does.
    """
    try:
        await asyncio.to_thread(services.artifacts.job(name).delete_all)
        await services.store.free(name)
    except (ArtifactError, StoreUnavailableError) as error:
        note(logging.WARNING, "What was deleted is left to a worker", id=name, error=str(error))
