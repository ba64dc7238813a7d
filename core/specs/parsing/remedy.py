"""A job that tries a remedy: its parent's resolved spec with a patch, from the same start."""

import json
from dataclasses import replace
from typing import Any

from core.specs.base import Json
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits


# Patches of a spec: RFC 7396, with the contract's exception for objects that have a kind.
def merge(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch: null removes a member, other values replace it, objects merge.

    Unlike RFC 7396, an object with another `kind` replaces the old one whole: the fields of one
    optimizer mean nothing to another.
    """
    if not isinstance(patch, dict):
        return patch
    same = isinstance(target, dict) and patch.get("kind", target.get("kind")) == target.get("kind")
    merged = dict(target) if same else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def remedied(parent: Json, patch: Json, limits: Limits) -> JobSpec:
    """Return the resolved spec of the job.

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
    return parse_job(json.dumps(spec).encode(), replace(limits, stored=True))
