"""Ways out of a mistake: short forms in full, places of fields and kinds, names that are near."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, get_args

from core.specs.base import Json, Spec, is_whole
from core.specs.data import Builtin, DataSpec
from core.specs.examples import REQUIRED
from core.specs.job import JobSpec
from core.specs.models import Activation
from core.specs.study import StudySpec
from core.specs.unions import PLAIN, UNIONS, members, tag_of

DATA_SETS: Final[tuple[str, ...]] = get_args(Builtin.model_fields["name"].annotation)
_LONGEST_WORD: Final = 200
_FORMULA: Final = frozenset("+-*/(")
_NUMBER_OF: Final = {
    "gradient_clip": ("norm", "max_norm"),
    "budget": (None, "max_steps"),
    "record": (None, "every"),
    "checkpoint": (None, "every_steps"),
}
"""Fields for which people write a bare number: the kind and the field that it stands for."""

_PLACES: Final = {
    "optimizer": "optimizer",
    "schedule": "schedule",
    "model": "problem.model",
    "loss": "problem.loss",
    "metrics": "record.metrics",
    "init": "problem.model.init",
    "norm": "problem.model.norm",
    "layers": "problem.model.layers",
    "data": "problem.data",
    "generator": "problem.data.generator",
    "order": "problem.data.order",
    "function": "problem.function",
    "gradient_clip": "gradient_clip",
    "on_divergence": "on_divergence",
    "strategy": "strategy",
}
"""The place of a union in a job's or a study's spec."""


def in_full(field: str, kind: str) -> Json:
    """Return what `field`, of `UNIONS`, takes to choose this kind."""
    own = members(field)[kind].model_fields
    needed = REQUIRED.get(kind, {})
    return {tag_of(field): kind, **{name: part for name, part in needed.items() if name in own}}


def written(field: str, value: Any) -> Json | None:
    """Return what `field`, of `UNIONS` or `PLAIN`, takes for what was given instead: a word, a
    number, or an object whose kind is none of its own. None where that cannot be told."""
    if isinstance(value, str):
        return _word(field, value, {})
    if isinstance(value, Mapping) and field in UNIONS:
        tag = value.get(tag_of(field))
        rest = {name: part for name, part in value.items() if name != tag_of(field)}
        if isinstance(tag, str):
            return _within(field, tag, rest)
        words = (part for part in value.values() if isinstance(part, str))
        return next((found for word in words if (found := _word(field, word, {}))), None)
    if field in _NUMBER_OF and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(field, value)
    return None


def _word(field: str, word: str, rest: Json) -> Json | None:
    if len(word) > _LONGEST_WORD:
        return None
    if field == "stopper":
        return {"kind": "successive_halving"}
    if field == "metric":
        return {"name": word} if word == "loss" or word.startswith("eval.") else None
    if field not in UNIONS:
        return None
    kinds = list(members(field))
    exact = word if word in kinds else None
    if exact is None and (found := _within(field, word, rest)):
        return found
    kind = exact or nearest_name(word, kinds)
    return None if kind is None else in_full(field, kind)


def _number(field: str, value: float) -> Json | None:
    kind, name = _NUMBER_OF[field]
    if value <= 0 or value > 1e6 or not (kind or is_whole(value)):
        return None
    return {"kind": kind, name: value} if kind else {name: int(value)}


def _within(field: str, word: str, rest: Json) -> Json | None:
    """Return the member of `field` that holds what the word names: a data set, a generator, a test
    function, a formula. `rest`: fields that stood beside the word; each goes where it belongs."""
    match field:
        case "data" if word in DATA_SETS:
            return {"kind": "builtin", "name": word, **rest}
        case "data" if word in members("generator"):
            own = members("generator")[word].model_fields
            inner = {name: part for name, part in rest.items() if name in own}
            outer = {name: part for name, part in rest.items() if name not in own}
            return {"kind": "synthetic", "generator": {"kind": word, **inner}, **outer}
        case "function" if _FORMULA & set(word):
            return {"kind": "expression", "expression": word}
        case "problem" if word in members("function"):
            return {"kind": "function", "function": {**in_full("function", word), **rest}}
        case "problem" if data := _within("data", word, rest):
            return {"kind": "supervised", "data": data, "model": {"kind": "mlp"}}
        case "problem" if word in members("model"):
            data = REQUIRED["supervised"]["data"]
            return {"kind": "supervised", "data": data, "model": {"kind": word, **rest}}
        case _:
            return None


def place_of_kind(field: str, word: str) -> str | None:
    """Return the place of a kind that is none of `field`, where another union has it."""
    if field != "activation" and word in get_args(Activation):
        return "problem.model.activation"
    if field != "data" and word in DATA_SETS:
        return "problem.data.name"
    found = (name for name in _PLACES if name != field and word in members(name))
    return next((_PLACES[name] for name in found), None)


def place_of_field(root: type[Spec], name: str) -> str | None:
    """Return the path of a field that stands deeper in a job or a study than at its top, by its
    name or by one that other libraries give it."""
    places = _places(root)
    meant = _ALIASES.get(name, name)
    return places.get(meant) or (meant if meant in root.model_fields else None)


_ALIASES: Final = {
    "learning_rate": "lr",
    "epochs": "max_epochs",
    "num_epochs": "max_epochs",
    "steps": "max_steps",
    "num_steps": "max_steps",
    "iterations": "max_steps",
    "lr_scheduler": "schedule",
    "grad_clip": "gradient_clip",
    "clip_grad_norm": "gradient_clip",
    "early_stopping": "patience",
    "dataset": "data",
    "random_seed": "seed",
    "random_state": "seed",
    "n_trials": "num_runs",
    "num_trials": "num_runs",
}
"""Names that others have for a field of ours."""


@cache
def _places(root: type[Spec]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in _paths(root):
        found.setdefault(path.rsplit(".", 1)[-1], path)
    return found


def _paths(root: type[Spec]) -> Iterator[str]:
    if issubclass(root, StudySpec):
        yield from (f"strategy.{name}" for model in members("strategy").values()
                    for name in model.model_fields if name != "kind")  # fmt: skip
        yield from (f"metric.{name}" for name in PLAIN["metric"].model_fields)
        yield from (f"base.{name}" for name in JobSpec.model_fields)
        yield from (f"base.{path}" for path in _paths(JobSpec))
    if issubclass(root, JobSpec):
        for part in ("budget", "stop", "record", "checkpoint"):
            yield from (f"{part}.{name}" for name in PLAIN[part].model_fields)
        problems = members("problem").values()
        yield from (f"problem.{name}" for kind in problems for name in kind.model_fields
                    if name != "kind")  # fmt: skip
        yield from (f"problem.data.{name}" for name in ("generator", *DataSpec.model_fields))
        for field, path in (("model", "problem.model"), ("optimizer", "optimizer")):
            yield from (f"{path}.{name}" for model in members(field).values()
                        for name in model.model_fields if name != "kind")  # fmt: skip


def nearest_name(word: str, names: list[str]) -> str | None:
    """Return the name that `word` is most likely a misspelling of; None when no name is near.

    A name is near when it differs in its case only, in one slip of the keyboard (two in a part of 8
    letters and more), or when `word` is its first 4 letters or more. In up to 4 letters another
    letter makes another word: `mae` is no misspelling of `mse`. Parts between underscores are
    compared one by one if there are equally many: `min_epochs` is no misspelling of `max_epochs`.
    """
    found = [(slips, name) for name in names if (slips := _slips(word.lower(), name)) is not None]
    return min(found, key=lambda each: each[0])[1] if found else None


def _slips(word: str, name: str) -> int | None:
    """Count the slips between the two; None when they are too many for one to mean the other."""
    plain = name.lower()
    pairs = list(zip(word.split("_"), plain.split("_"), strict=False))
    if word.count("_") != name.count("_"):
        pairs = [(word, plain)]
    if all(_may_be_near(*pair) for pair in pairs):
        slips = [9 if _is_another(*pair) else _distance(*pair) for pair in pairs]
        if all(n <= _allowed(*pair) for n, pair in zip(slips, pairs, strict=True)):
            return sum(slips)
    return len(name) if len(word) >= 4 and plain.startswith(word) else None


def _is_another(given: str, part: str) -> bool:
    short = len(given) == len(part) <= 4
    return short and sorted(given) != sorted(part)


def _allowed(given: str, part: str) -> int:
    longer = max(len(given), len(part))
    return 0 if longer < 3 else 1 if longer < 8 else 2


def _may_be_near(given: str, part: str) -> bool:
    """Tell cheaply when the two are too far apart: each slip changes two letters at most."""
    allowed = _allowed(given, part)
    return abs(len(given) - len(part)) <= allowed and len(set(given) ^ set(part)) <= 2 * allowed


def _distance(a: str, b: str) -> int:
    """Count the letters to insert, delete, replace or swap with the next one to make `b` of `a`.

    The optimal string alignment distance (Damerau 1964).
    """
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i in range(1, len(a) + 1):
        earlier, before = before, row
        row = [i]
        for j in range(1, len(b) + 1):
            best = min(before[j] + 1, row[-1] + 1, before[j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 2 : i] == b[j - 2 : j][::-1]:
                best = min(best, earlier[j - 2] + 1)
            row.append(best)
    return row[-1]
