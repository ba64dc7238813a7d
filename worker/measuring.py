"""What the trainer is asked when weights are to be measured, and how long it may take."""

from typing import Final

from core.jobs import JobRecord
from core.settings import Settings
from core.store.protocols.types import Json

LIMIT_S: Final = 300.0
"""A measurement bounds its own time; one that has not ended by then hangs."""
LONG_RUN_S: Final = 15.0
"""Whoever asks for a diagnosis later wants to know: its share of the training time is that of a run
of at least this long."""


def question(
    job: JobRecord, settings: Settings, device: str, checkpoint: str, train_s: float
) -> Json:
    """The fields of a `measure` frame."""
    return {
        "job_id": job.id,
        "spec": job.spec,
        "artifacts": settings.artifacts_location,
        "device": device,
        "checkpoint": checkpoint,
        "train_s": train_s,
    }
