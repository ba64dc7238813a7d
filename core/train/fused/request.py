"""Reading the frame of a task: its runs' specs, and what its course depends on."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from core.formats import STORE, as_written
from core.specs.job import JobSpec
from core.specs.studies.configurations import Jobs
from core.specs.studies.parse import NO_LIMITS

Json = dict[str, Any]


def specs_of(job: Mapping[str, Any]) -> dict[int, JobSpec]:
    """Return the task's runs by index; each configuration is resolved once, and its runs share the
    parts."""
    configurations: list[Json] = job["configurations"]
    paths = dict.fromkeys(path for params in configurations for path in params)
    jobs = Jobs(job["base"], list(paths), NO_LIMITS, job.get("format", STORE))
    specs = [jobs.resolved(params) for params in configurations]
    return {
        int(index): specs[place].model_copy(update={"seed": seed})
        for index, place, seed in job["runs"]
    }


def fingerprint(job: Mapping[str, Any], device_type: str) -> str:
    """Compute a digest of what the task's course depends on.

    A checkpoint of anything else is none of its own. What a stored study is read with beyond its
    own text has no part in it.
    """
    sources = sorted((str(index), file) for index, file in (job.get("sources") or {}).items())
    parts = [
        as_written(job["base"], job.get("format", STORE)), job["configurations"], job["runs"],
        job.get("stop_step"), job.get("target"), device_type, sources,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
