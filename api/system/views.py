"""Conversion of workers to the JSON that replies show."""

from api.system.schemas import Worker
from core.specs.base import Json
from core.store.protocols.types import WorkerInfo
from core.studies import study_of


def worker_json(worker: WorkerInfo) -> Json:
    """Make the JSON of a worker. A study's task is shown as its study."""
    current = worker.current_job and (study_of(worker.current_job) or worker.current_job)
    return Worker.build(worker, current_job=current)
