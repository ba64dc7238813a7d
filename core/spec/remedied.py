"""A job that tries a remedy: its parent's resolved spec with a patch, from the same start."""

import json
from typing import Any

from core.spec.job import JobSpec
from core.spec.limits import Limits
from core.spec.patching import merge
from core.spec.resolve import parse_job

Json = dict[str, Any]


def remedied(parent: Json, patch: Json, limits: Limits) -> JobSpec:
    """The resolved spec of the job.

    The start is the parent's: the same seed draws the same weights and the same order of data. A
    parent that went on from a checkpoint began with the origin's weights, and so does this job: an
    optimizer's state fits no other optimizer. It is diagnosed, so that it can be compared.

    Args:
        parent: the resolved spec of the job that the remedy is for.
        patch: see `merge`.

    Raises:
        InvalidInputError: the patched spec is none.
    """
    spec = merge(parent, patch)
    spec.pop("start_from", None)
    if spec.get("diagnose") == "off":
        spec["diagnose"] = "history"
    return parse_job(json.dumps(spec).encode(), limits)
