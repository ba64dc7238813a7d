"""Analysis of a configuration's parameters: which problem it trains, by which choice, how tuned."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from core.specs.base import Json

_PROBLEM: Final = "problem"
_SAME_ROWS: Final = ("problem.data.order", "problem.data.drop_last", "problem.data.standardize")
"""Parts of the data that change how a model is trained, not what it is measured on."""
_OF_LOSSES: Final = ("loss", "eval.loss")


def leaves(params: Json) -> Json:
    """Return the parameters by dotted path down to single values; lists are single values.

    As in a study's spec, a path applies before those that it is a prefix of:

    >>> leaves({"optimizer.lr": 0.1, "optimizer": {"kind": "sgd", "lr": 1.0}})
    {'optimizer.kind': 'sgd', 'optimizer.lr': 0.1}
    """
    found: Json = {}
    for path in sorted(params, key=lambda path: path.count(".")):
        value = params[path]
        if path in found or isinstance(value, dict):
            for old in [each for each in found if within(each, path)]:
                del found[old]
        found.update(_below(path, value))
    return found


def _below(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _below(f"{path}.{name}", each)
    else:
        yield path, value


def within(path: str, part: str) -> bool:
    return path == part or path.startswith(part + ".")


def varying(all_leaves: Sequence[Json]) -> list[str]:
    """List the paths whose values are not the same in all, in the order of their first
    appearance."""
    seen: dict[str, set[str]] = {}
    for each in all_leaves:
        for path, value in each.items():
            seen.setdefault(path, set()).add(key(value))
    missing = {path for path in seen if any(path not in each for each in all_leaves)}
    return [path for path, values in seen.items() if len(values) > 1 or path in missing]


def key(value: Any) -> str:
    """Return a text that is the same for equal JSON values only."""
    return json.dumps(value, sort_keys=True)


def pick(one: Json, paths: Sequence[str]) -> Json:
    return {path: one[path] for path in paths if path in one}


def sets_the_metric(path: str, metric: str) -> bool:
    """Tell whether two configurations that differ here have metrics that cannot be compared:
    another function, other data, and for a loss as the metric another loss. (Not another model:
    models are compared by what they reach on the same rows.)"""
    if within(path, "problem.loss"):
        return metric in _OF_LOSSES
    if any(within(path, part) for part in _SAME_ROWS):
        return False
    if within(path, "problem.data.scale_targets"):
        return metric in _OF_LOSSES
    return any(within(path, f"{_PROBLEM}.{part}") for part in ("kind", "function", "data"))


def of_problem(path: str) -> bool:
    """Tell whether a path belongs to what is solved, rather than to what solves it."""
    return within(path, _PROBLEM)


def is_choice(value: Any) -> bool:
    """Tell whether a value is chosen (a word, true or false, nothing) rather than tuned
    (numbers)."""
    if isinstance(value, list):
        return any(is_choice(each) for each in value)
    return value is None or isinstance(value, (str, bool))


def label(parts: Json) -> str:
    """Describe the parameters in a few words: `adam, lr 0.001`."""
    words = [_word(path, value) for path, value in parts.items()]
    text = ", ".join(words)
    return text if len(text) <= 80 else text[:79] + "…"


def _word(path: str, value: Any) -> str:
    name = path.rsplit(".", 1)[-1]
    if isinstance(value, str) and name in ("kind", "name"):
        return value.replace("_", " ")
    told = f"{value:.4g}" if isinstance(value, float) else value if isinstance(value, str) else None
    return f"{name} {json.dumps(value) if told is None else told}"
