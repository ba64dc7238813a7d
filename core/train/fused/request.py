"""Reading the request for a task: its runs' specs, and what its course depends on."""

import hashlib
import json

from core.formats import as_written
from core.messages.requests import TrainTask
from core.specs.job import JobSpec
from core.specs.studies.configurations import Jobs
from core.specs.validation.limits import NO_LIMITS
from core.train.data.uploaded import exact_rows


def specs_of(task: TrainTask) -> dict[int, JobSpec]:
    """Return the task's runs by index; each configuration is resolved once, and its runs share the
    parts. A problem that configurations share they share with its rows counted, too."""
    paths = dict.fromkeys(path for params in task.configurations for path in params)
    jobs = Jobs(task.base, list(paths), NO_LIMITS, task.format)
    specs = [jobs.resolved(params) for params in task.configurations]
    counted: dict[int, JobSpec] = {}
    for spec in specs:
        if id(spec.problem) not in counted:
            counted[id(spec.problem)] = exact_rows(spec)
    found: dict[int, JobSpec] = {}
    for index, place, seed in task.runs:
        spec = specs[place]
        own = {"problem": counted[id(spec.problem)].problem, "seed": seed}
        found[index] = spec.model_copy(update=own)
    return found


def fingerprint(task: TrainTask, device_type: str) -> str:
    """Compute a digest of what the task's course depends on.

    A checkpoint of anything else is none of its own. What a stored study is read with beyond its
    own text has no part in it.
    """
    sources = sorted((str(index), file) for index, file in task.sources.items())
    parts = [
        as_written(task.base, task.format), task.configurations, task.runs, task.stop_step,
        task.target, device_type, sources,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
