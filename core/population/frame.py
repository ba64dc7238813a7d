"""Reading the frame of a task: its runs' specs, and what its course depends on.

The specs of a frame may share parts, as the same objects: megabytes of rows are read once.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from core.spec.data import Data
from core.spec.job import JobSpec, Supervised

Json = dict[str, Any]
_STAND_IN: Final[Json] = {"kind": "builtin", "name": "digits"}
"""Parsed in place of data that is known already; specs are checked part by part."""


def specs_of(job: Mapping[str, Any]) -> dict[int, JobSpec]:
    """The task's runs by index; each configuration is parsed once, and its runs share the parts."""
    known: dict[int, Data] = {}
    specs = [_parsed(spec, known) for spec in job["specs"]]
    return {
        int(index): specs[place].model_copy(update={"seed": seed})
        for index, place, seed in job["runs"]
    }


def _parsed(spec: Json, known: dict[int, Data]) -> JobSpec:
    # From JSON: a spec is strict, and takes a list for a tuple from JSON only.
    problem = spec["problem"]
    data = problem.get("data")
    shared = known.get(id(data))
    if shared is None:
        parsed = JobSpec.model_validate_json(json.dumps(spec))
        if isinstance(parsed.problem, Supervised):
            known[id(data)] = parsed.problem.data
        return parsed
    light = {**spec, "problem": {**problem, "data": _STAND_IN}}
    parsed = JobSpec.model_validate_json(json.dumps(light))
    whole = parsed.problem.model_copy(update={"data": shared})
    return parsed.model_copy(update={"problem": whole})


def fingerprint(job: Mapping[str, Any], device_type: str) -> str:
    """What the task's course depends on: a checkpoint of anything else is none of its own."""
    found = hashlib.sha256()
    digests: dict[int, str] = {}
    for spec in job["specs"]:
        problem = spec["problem"]
        data = problem.get("data")
        if id(data) not in digests:
            digests[id(data)] = hashlib.sha256(json.dumps(data).encode()).hexdigest()
        light = {**spec, "problem": {**problem, "data": digests[id(data)]}}
        found.update(json.dumps(light, sort_keys=True).encode())
    sources = sorted((str(index), file) for index, file in (job.get("sources") or {}).items())
    parts = [job["runs"], job.get("stop_step"), job.get("target"), device_type, sources]
    found.update(json.dumps(parts, sort_keys=True).encode())
    return found.hexdigest()
