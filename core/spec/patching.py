"""Patches of a spec: RFC 7396, with the contract's exception for objects that have a kind."""

from typing import Any


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
