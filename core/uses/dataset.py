"""Columns of an uploaded data set as rows that a model takes."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.specs.sizes.uploads import ColumnFacts, UploadFacts
from core.specs.validation.errors import shown
from core.specs.validation.uploads.columns import near_name
from core.specs.validation.uploads.doubts import hints
from core.uses.cells import NOTHING, Feature, Mistakes, listed, text_of
from core.uses.coding import MOST_UNSEEN, Coded, Coder, Float, spread

Read = Callable[[str], NDArray[Any]]
Ids = NDArray[np.int64]

_ALIKE: Final[Mapping[str, frozenset[str]]] = {
    "number": frozenset({"number", "integer"}),
    "integer": frozenset({"number", "integer"}),
    "bool": frozenset({"bool"}),
    "category": frozenset({"category", "bool", "integer"}),
    "date": frozenset({"date"}),
}
"""Kinds of columns that can stand for one of each kind: which it is follows from a file's cells."""
_NO_COLUMN: Final = "leave the column out to predict without metrics"
_NO_LABELS: Final = "put all images into one folder of another name to predict without metrics"


def check_columns(
    coder: Coder,
    facts: UploadFacts,
    *,
    others: bool,
    ignored: Collection[str] = (),
    is_last: bool = False,
) -> None:
    """Check that a data set has the columns that a model takes, of the right kinds.

    Args:
        others: it may have others too.
        ignored: it may have these, which were no features in training.
        is_last: of a series, its last rows alone are predicted.

    Raises:
        InvalidInputError: with each column that is missing, unknown or of another kind, each with
            a number that is known to be too large for the model's precision, and each class that
            the model does not know.
    """
    mistakes = Mistakes()
    there = {each.name: each for each in facts.columns}
    strangers = [name for name in there if name not in {*coder.names, *coder.targets, *ignored}]
    for feature in coder.features:
        param = f"dataset.{feature.name}"
        if (column := there.get(feature.name)) is None:
            near = near_name(feature.name, strangers)
            hint = f" (is {shown(near)} meant for it?)" if near is not None else ""
            mistakes.add(
                param, "missing_column",
                f"dataset: it has no column {shown(feature.name)}{hint}; this model takes"
                f" {listed(coder.names)}",
            )  # fmt: skip
        elif column.dtype not in _ALIKE[feature.dtype] or not _fits(column, feature, coder):
            was = _kind(feature.dtype, feature.shape)
            mistakes.add(
                param, "wrong_type",
                f"dataset: {shown(feature.name)} is {_kind(column.dtype, column.shape)}, and this"
                f" model was trained on {was}; {_way_out(column, feature, coder)}",
            )  # fmt: skip
        elif column.num_missing and feature.fill is None:
            mistakes.add(
                param, "missing_value",
                f"dataset: {shown(feature.name)} is missing in {column.num_missing:,} of the"
                f" {facts.num_rows:,} rows, and {NOTHING}",
            )  # fmt: skip
    _check_ranges(coder, there, is_last=is_last, mistakes=mistakes)
    labelled = {} if _is_unlabelled(coder, facts) else _classes(coder)
    for name, names in labelled.items():
        cells = there[name].cells if name in there else None
        counts = there[name].counts if name in there else None
        for number, cell in enumerate(cells or ()):
            known = text_of(cell) in {*names, coder.ignored}
            if not known and (counts is None or counts[number]):
                out = _NO_LABELS if facts.kind == "images" else _NO_COLUMN
                mistakes.add(*_unknown_class(there[name], text_of(cell), names, way_out=out))
    for name in () if others else strangers:
        message = f"dataset: {coder.stranger(name)}"
        mistakes.add(f"dataset.{name}", "unknown_column", message)
    mistakes.raise_if_any()


def _check_ranges(
    coder: Coder, there: Mapping[str, ColumnFacts], *, is_last: bool, mistakes: Mistakes
) -> None:
    """Look at each column's largest number; others are looked at when the rows are read."""
    if coder.ranges is None or is_last:
        return
    columns = [there.get(each.name) if each.categories is None else None for each in coder.features]
    largest = [0.0 if each is None or each.largest is None else each.largest for each in columns]
    widths = [each.width for each in coder.features]
    inputs = coder.ranges.inputs_beyond(np.repeat(largest, widths)[None])[0]
    at = 0
    for column, value, width in zip(columns, largest, widths, strict=True):
        # Of an array it is not known which of its numbers the largest is.
        if column is not None and value and inputs[at : at + width].all():
            mistakes.add(
                f"dataset.{column.name}", "not_finite",
                f"dataset: {shown(column.name)} in row {column.largest_row:,} (counted from 0):"
                f" {coder.ranges.message(value, 'feature')}",
            )  # fmt: skip
        at += width
    targets = [there.get(name) for name in coder.targets]
    row = [0.0 if each is None or each.largest is None else each.largest for each in targets]
    if None in targets or len(row) != coder.num_targets or coder.kind != "values":
        return
    for name, column, beyond in zip(
        coder.targets, targets, coder.ranges.targets_beyond(np.array([row]))[0], strict=True
    ):
        if beyond and column is not None and column.largest is not None:
            mistakes.add(
                f"dataset.{name}", "not_finite",
                f"dataset: {shown(name)} in row {column.largest_row:,} (counted from 0):"
                f" {coder.ranges.message(column.largest, 'target')}, or leave the column out to"
                " predict without metrics",
            )  # fmt: skip


def _fits(column: ColumnFacts, feature: Feature, coder: Coder) -> bool:
    """Tell whether the column has the feature's shape, or is of images that are scaled to it."""
    is_image = coder.image_size is not None and len(column.shape) == len(feature.shape) == 3
    return column.shape == feature.shape or (is_image and column.shape[0] == feature.shape[0])


def _way_out(column: ColumnFacts, feature: Feature, coder: Coder) -> str:
    """Say how a column that does not fit is made to: a schema names kinds, and no shapes."""
    if column.shape == feature.shape:
        return (
            "upload it with a schema that says so"
            f" (?schema={{{shown(feature.name)}: {shown(feature.dtype)}}}){hints([column])}"
        )
    if len(column.shape) == len(feature.shape) == 3:
        if column.shape[0] != feature.shape[0]:
            return f"bring it to {feature.shape[0]} channels, as the training data have"
        if coder.image_size is None:
            return "bring it to this size, or train with an image_size, to which all are scaled"
    return "upload it in this shape"


def _kind(dtype: str, shape: tuple[int, ...]) -> str:
    return f"{dtype} of the shape {list(shape)}" if shape else dtype


def code_columns(coder: Coder, read: Read, facts: UploadFacts) -> Coded:
    """Code the columns of a data set that `check_columns` found to fit.

    Args:
        read: gives a column as it is stored (`core.uploads.contents.Dtype`).

    Raises:
        InvalidInputError: a row is of a class that the model does not know.
    """
    there = {each.name: each for each in facts.columns}
    parts: list[Float] = []
    unseen: dict[str, list[str]] = {}
    for feature in coder.features:
        values, column = read(feature.name), there[feature.name]
        gaps = _gaps(values, column)
        part = values.reshape(len(values), -1).astype(np.float64)
        if feature.categories is not None:
            part, strange = _recoded(part, gaps, column, feature)
            if strange:
                unseen[feature.name] = strange[:MOST_UNSEEN]
        if gaps.any():
            fill = np.asarray(feature.fill, dtype=np.float64).reshape(1, -1)
            part = np.where(gaps[:, None] if not feature.shape else np.isnan(part), fill, part)
        parts.append(spread(feature, part) if feature.categories is not None else part)
    labels = None if _is_unlabelled(coder, facts) else _labels(coder, read, there)
    return Coded(np.concatenate(parts, axis=1), labels, unseen)


def _is_unlabelled(coder: Coder, facts: UploadFacts) -> bool:
    """Tell whether a data set is of images in one folder that bears the name of no class: a zip
    has no column to leave out, and images to predict have to lie somewhere."""
    if facts.kind != "images" or coder.kind not in {"classes", "two_classes"}:
        return False
    folders = [each.categories or () for each in facts.columns if each.name in coder.targets]
    known = {*(coder.classes or ()), coder.ignored}
    return len(folders) == 1 and len(folders[0]) == 1 and folders[0][0] not in known


def _gaps(values: NDArray[Any], column: ColumnFacts) -> NDArray[np.bool_]:
    """Tell for each row whether it has no value."""
    if not column.num_missing:
        return np.zeros(len(values), dtype=np.bool_)
    missing = np.isnan(values) if values.dtype.kind == "f" else values < 0
    return np.asarray(missing.reshape(len(values), -1).any(axis=1), dtype=np.bool_)


def _recoded(
    part: Float, gaps: NDArray[np.bool_], column: ColumnFacts, feature: Feature
) -> tuple[Float, list[str]]:
    """Return the model's codes of a column whose categories have codes of their own, and those
    that the model does not know."""
    unknown = len(feature.categories or ())
    codes = np.full(part.shape, float(unknown))
    strange = []
    for value, name in _names_of(part[~gaps], column).items():
        if name not in feature.codes:
            strange.append(name)
        codes[part == value] = feature.codes.get(name, unknown)
    codes[gaps] = math.nan
    return codes, sorted(strange)


def _names_of(values: Float, column: ColumnFacts) -> dict[float, str]:
    """Return the name of each value that a column of categories, truth values or whole numbers
    has."""
    found = np.unique(values).tolist()
    if column.categories is not None:
        return {value: column.categories[int(value)] for value in found}
    if column.dtype == "bool":
        return {value: "true" if value else "false" for value in found}
    return {value: str(int(value)) for value in found}


def _labels(coder: Coder, read: Read, there: Mapping[str, ColumnFacts]) -> NDArray[Any] | None:
    """Return the targets in the data set's columns: ids of classes (-1: none), or values (NaN:
    none). None where it has none."""
    if not coder.targets or any(name not in there for name in coder.targets):
        return None
    if all(there[name].dtype == "text" for name in coder.targets):
        return None  # nothing but gaps
    if coder.kind in {"classes", "two_classes"}:
        (name,) = coder.targets
        values = read(name)
        gaps = _gaps(values, there[name])
        return _ids(_classes(coder)[name], values, gaps, there[name], coder.ignored)
    parts = []
    for name in coder.targets:
        values, column = read(name), there[name]
        gaps = _gaps(values, column)
        names = _classes(coder).get(name)
        coded = values if names is None else _ids(names, values, gaps, column)
        part = coded.reshape(len(values), -1).astype(np.float64)
        part[gaps] = math.nan
        parts.append(part)
    return np.concatenate(parts, axis=1)


def _classes(coder: Coder) -> Mapping[str, Sequence[str]]:
    """Return the names that the cells of each target may have; empty where they are numbers."""
    if coder.kind in {"classes", "two_classes"}:
        return dict.fromkeys(coder.targets, coder.classes or ())
    return dict(zip(coder.targets, coder.label_names, strict=False))


def _ids(
    names: Sequence[str],
    values: NDArray[Any],
    gaps: NDArray[Any],
    column: ColumnFacts,
    ignored: str | None = None,
) -> Ids:
    """Return the place of each cell's name among `names`; -1 in gaps and where it is `ignored`.

    Raises:
        InvalidInputError: a row's is none of them.
    """
    places = {name: place for place, name in enumerate(names)}
    ids = np.full(len(values), -1, dtype=np.int64)
    mistakes = Mistakes()
    for value, name in _names_of(values[~gaps].astype(np.float64), column).items():
        rows = np.flatnonzero(~gaps & (values == value))
        if name in places:
            ids[rows] = places[name]
        elif name != ignored:
            where = f" in row {int(rows[0])} (counted from 0)"
            mistakes.add(*_unknown_class(column, name, names, where))
    mistakes.raise_if_any()
    return ids


def _unknown_class(
    column: ColumnFacts,
    name: str,
    names: Sequence[str],
    where: str = "",
    way_out: str = _NO_COLUMN,
) -> tuple[str, str, str]:
    """Return the mistake that a data set has a class that a model does not know."""
    message = (
        f"dataset: {shown(column.name)} is {shown(name)}{where}, which is none of this model's"
        f" classes: {listed(names)}; {way_out}"
    )
    return f"dataset.{column.name}", "unknown_class", message
