"""Specs of one study on their way to the trainer: they are much alike, and one may hold megabytes
of rows, so the first goes whole, and of every other what sets it apart from the first."""

import marshal
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]
Difference = list[Any]
"""`[path, value]`: the keys that lead to a value, and the value there."""


def fold(specs: Sequence[Json]) -> Json:
    """JSON from which `unfold` makes the same specs: at least one, all with the same keys."""
    first, *others = specs
    return {"first": first, "others": [_differences(first, other, []) for other in others]}


def unfold(folded: Json) -> list[Json]:
    """The specs again; what they have in common they share, so none may be changed."""
    first: Json = folded["first"]
    return [first, *(_applied(first, differences) for differences in folded["others"])]


def _differences(first: Json, other: Json, path: list[str]) -> list[Difference]:
    found: list[Difference] = []
    for name, value in other.items():
        like, here = first[name], [*path, name]
        if value is like:
            continue
        if isinstance(value, dict) and isinstance(like, dict) and value.keys() == like.keys():
            found += _differences(like, value, here)
        elif not _same(value, like):
            found.append([here, value])
    return found


def _same(one: Any, other: Any) -> bool:
    # 1 == 1.0, but in a list of targets one is a class and the other a value.
    return bool(one == other) and marshal.dumps(one, 0) == marshal.dumps(other, 0)


def _applied(first: Json, differences: Sequence[Difference]) -> Json:
    spec = dict(first)
    own: dict[tuple[str, ...], Json] = {}
    for path, value in differences:
        at = spec
        for depth, name in enumerate(path[:-1], start=1):
            key = tuple(path[:depth])
            if key not in own:
                own[key] = at[name] = dict(at[name])
            at = own[key]
        at[path[-1]] = value
    return spec
