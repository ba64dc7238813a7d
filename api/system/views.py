"""Workers as replies show them."""

from typing import Any

from core.store.protocols.types import WorkerInfo
from core.studies import study_of

Json = dict[str, Any]


def worker_json(worker: WorkerInfo) -> Json:
    return {
        "name": worker.name,
        "devices": list(worker.devices),
        "queues": list(worker.queues),
        # A study's task is shown as its study.
        "current_job": worker.current_job and (study_of(worker.current_job) or worker.current_job),
        "last_heartbeat": worker.last_heartbeat,
        "started_at": worker.started_at,
        "pid": worker.pid,
    }
