"""The format of what is stored, and the rule by which a later version reads it.

A number goes up when this version's code writes what an earlier one would misread, and never comes
down (docs/decisions/0011). What carries none is of format 1: the versions before these numbers
wrote it. A newer number than the code's own is refused, in words; an older one is read.

| number | of | where it stands |
|---|---|---|
| `STORE` | the records in Redis, with their specs | `<namespace>:format`; a record's `format` |
| `RESUME` | a job's resume checkpoint | its header: `thalweg_resume` |
| `TASK` | a study's task or paused runs | its header: `thalweg_population` |
| `WEIGHTS` | weights that users take | its header: `thalweg_weights` |
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from core.errors import ArtifactError, NewerFormatError

STORE: Final = 6
RESUME: Final = 1
TASK: Final = 1
WEIGHTS: Final = 1

Spec = dict[str, Any]
OldValues = Mapping[int, Mapping[str, Any]]

OLD_VALUES: Final[dict[int, dict[str, Any]]] = {
    2: {
        "study.strategy[tpe].num_startup": 10,
        "study.strategy[tpe].num_candidates": 24,
        "study.strategy[tpe].multivariate": True,
        "problem.model[mlp].norm[batch].bias_before": True,
    },
    4: {
        **dict.fromkeys(
            (
                f"optimizer[{kind}].cautious"
                for kind in ("sgd", "adam", "adamw", "adamax", "nadam", "radam", "rmsprop")
            ),
            False,
        ),
        **dict.fromkeys(
            (
                f"optimizer[{kind}].decoupled_weight_decay"
                for kind in ("sgd", "adamax", "adagrad", "adadelta", "rmsprop")
            ),
            False,
        ),
        "optimizer[adamw].decoupled_weight_decay": True,
        "optimizer.wrap": [],
        "optimizer.groups": [],
        "accumulate": 1,
        "threads": None,
    },
    5: {
        "problem.data.split": None,
        "problem.data.scale_targets": False,
        "problem.loss[cross_entropy].class_weights": None,
        "problem.loss[cross_entropy].ignore_index": None,
        "problem.loss[binary_cross_entropy].pos_weight": None,
        "record.metrics": None,
        "problem.data.augment": [],
        "problem.data[dataset].image_size": None,
        "problem.model.initial_weights": None,
        "stop.metric": None,
        "stop.target": None,
        "study.configurations": [],
        "study.warm_start_from": None,
    },
    6: {
        "study.strategy[tpe].group": False,
        "study.strategy[tpe].constant_liar": True,
    },
}
"""Format of the store -> field that came with it -> what the versions before it did.

Whoever adds a field to a spec, or changes what its being left out means, adds a line here and
raises `STORE`: `{2: {"optimizer[sgd].fused": False}}` says that a spec stored in format 1 without
this field is read with `false`, whatever the default is by now. A posted spec gets the default.

A field is a dotted path from the root of a job's spec; `[kind]` after a name asks for an object of
this kind, `*` stands for each item of a list. `study.` goes before a field of a study's own spec.
"""

SHORT_FORMS: Final = frozenset({"norm"})
"""Fields in which a kind may stand alone, for an object with nothing but defaults: `"batch"`. The
base and the sweep of a study keep them as they were posted."""

_STEP: Final = re.compile(r"([a-z0-9_]+|\*)(?:\[([a-z0-9_]+)\])?")
_STUDY: Final = "study."


def check_store(found: str) -> None:
    """Refuse a store that this version does not understand; `found`: its `<namespace>:format`.

    Raises:
        NewerFormatError: it is of a newer format, or the key holds no number.
    """
    number = _number(found)
    if number is None:
        raise NewerFormatError(
            f"The store says that its format is {found[:40]!r}, which is no number: something else"
            " has written that key. Restore a backup, or choose another THALWEG_NAMESPACE."
        )
    if number > STORE:
        raise NewerFormatError(
            f"The store is of format {number}, and this version of Thalweg reads formats up to"
            f" {STORE}: start the newer version that wrote it, or restore the backup made before"
            " the upgrade."
        )


def check_file(found: str | None, newest: int, noun: str) -> None:
    """Refuse a file that this version does not understand; `found`: what its header says.

    Raises:
        ArtifactError: it is of a newer format, or of none.
    """
    number = format_in(found, noun)
    if number > newest:
        raise ArtifactError(f"{noun} of format {number}; this version reads formats up to {newest}")


def format_in(found: str | None, noun: str) -> int:
    """Return the number in a file's header; 1 where there is none. Raises `ArtifactError`."""
    number = 1 if found is None else _number(found)
    if number is None:
        raise ArtifactError(f"{noun} of the format {str(found)[:40]!r}, which is no number")
    return number


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,8}", text) else None


def stored_job(spec: Spec, written: int, table: OldValues = OLD_VALUES) -> Spec:
    """Return the job's spec, or a part of one, with what the versions before a field did where it
    was written in an earlier format than the field's. What is given stays; `spec` does not change.
    """
    return _filled(spec, _since(written, table, of_study=False))


def stored_study(spec: Spec, written: int, table: OldValues = OLD_VALUES) -> Spec:
    """Do what `stored_job` does, for a study: its own fields, and those of its base that no sweep
    leads to the kind of, or replaces. What a sweep puts in is filled run by run (`stored_job` of
    each)."""
    own = _filled(spec, _since(written, table, of_study=True))
    swept = list(own.get("sweep") or {})
    safe = {
        path: value
        for path, value in _since(written, table, of_study=False).items()
        if not any(_is_chosen(path, each) for each in swept)
    }
    return {**own, "base": _filled(own["base"], safe)} if safe else own


def is_current(written: int, table: OldValues = OLD_VALUES) -> bool:
    """Tell whether no field has come since the format `written`."""
    return all(number <= written for number in table)


def as_written(spec: Spec, written: int, table: OldValues = OLD_VALUES) -> Spec:
    """Return the spec without what `stored_job` fills in, so that a fingerprint made before a field
    was there still fits. A field with another value than before stays."""
    result = spec
    for path, value in _since(written, table, of_study=False).items():
        result = _changed(result, _steps(path), value, remove=True)
    return result


def _since(written: int, table: OldValues, *, of_study: bool) -> dict[str, Any]:
    """Return the fields that came after `written`, by path."""
    return {
        path.removeprefix(_STUDY): value
        for number, fields in sorted(table.items())
        if number > written
        for path, value in fields.items()
        if path.startswith(_STUDY) == of_study
    }


def _is_chosen(path: str, swept: str) -> bool:
    """Tell whether a swept path replaces what holds the field, or chooses its kind."""
    names = [name for name, _ in _steps(path)]
    parts = swept.removesuffix(".kind").split(".")
    return len(parts) < len(names) and names[: len(parts)] == parts


def _filled(spec: Spec, fields: Mapping[str, Any]) -> Spec:
    for path, value in fields.items():
        spec = _changed(spec, _steps(path), value, remove=False)
    return spec


def _steps(path: str) -> list[tuple[str, str | None]]:
    return list(_parsed(path))


def _parsed(path: str) -> Iterator[tuple[str, str | None]]:
    for text in path.split("."):
        found = _STEP.fullmatch(text)
        if found is None:
            raise ValueError(f"{path!r} is no path of a field")
        yield found[1], found[2]


def _changed(part: Any, steps: list[tuple[str, str | None]], value: Any, *, remove: bool) -> Any:
    """Return a copy of `part`, as far as it changes, with the field set where it is missing, or
    removed where it has this value."""
    (name, kind), rest = steps[0], steps[1:]
    if name == "*":
        if not isinstance(part, list):
            return part
        return [
            _changed(item, rest, value, remove=remove) if _has_kind(item, kind) else item
            for item in part
        ]
    if not isinstance(part, dict):
        return part
    if not rest:
        if remove:
            same = name in part and part[name] == value
            return {key: each for key, each in part.items() if key != name} if same else part
        return part if name in part else {**part, name: value}
    inner = part.get(name)
    if name in SHORT_FORMS and isinstance(inner, str):
        inner = {"kind": inner}
    if not _has_kind(inner, kind):
        return part
    changed = _changed(inner, rest, value, remove=remove)
    if changed is inner:
        return part
    if remove and name in SHORT_FORMS and changed.keys() == {"kind"}:
        changed = changed["kind"]
    return {**part, name: changed}


def _has_kind(part: Any, kind: str | None) -> bool:
    return kind is None or (isinstance(part, dict) and part.get("kind") == kind)
