"""Rows as numbers, as a model that was trained takes them: by what its weights' file says of the
data that it was trained on. Nothing of the training rows is needed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from core.specs.losses import Targets
from core.specs.validation.errors import MAX_ERRORS, counted, shown
from core.specs.validation.uploads.columns import near_name
from core.uses.cells import (
    WITH_MARKS,
    Feature,
    Mistakes,
    cell_of,
    is_finite,
    listed,
    text_of,
)
from core.uses.ranges import Ranges

Float = NDArray[np.float64]
MOST_UNSEEN: Final = 20
"""Values of a column, at most, that are told because the training data had no such category."""


@dataclass(frozen=True)
class Coded:
    """Rows as numbers.

    Attributes:
        matrix: rows × numbers, before they are standardized; of a series windows × rows × numbers,
            of texts ids of tokens.
        labels: ids of classes (-1: none), or targets rows × values (NaN: none); None without any.
        unseen: of columns of categories, values that the training data did not have.
        places: of texts, the place of each one's last token, whose outputs are wanted; else None.
    """

    matrix: Float
    labels: NDArray[Any] | None
    unseen: Mapping[str, Sequence[str]]
    places: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Coder:
    """The coding of a model's rows.

    Attributes:
        features: in order.
        targets: names of the columns that it was trained to predict; empty where they have none.
        kind: of its targets.
        classes: their names, in order of id.
        num_targets: values, or labels, of a row.
        image_size: height and width to which images are scaled; None: they are not.
        outputs: names of what comes out, where they are not those of `targets`.
        label_names: of several labels in columns the two values of each, that of 0 first; empty
            where they are 0 and 1.
        ignored: the name of a target that is no class, as `ignore_index` says; None: there is none.
        ranges: what numbers may be; None: any that are finite.
    """

    features: tuple[Feature, ...]
    targets: tuple[str, ...]
    kind: Targets
    classes: tuple[str, ...] | None
    num_targets: int
    image_size: tuple[int, int] | None = None
    outputs: tuple[str, ...] = ()
    label_names: tuple[tuple[str, ...], ...] = ()
    ignored: str | None = None
    ranges: Ranges | None = None

    @classmethod
    def of(
        cls,
        metadata: Mapping[str, str],
        kind: Targets,
        num_targets: int,
        ignored: int | None = None,
    ) -> Self:
        """Read it from the metadata of weights; `ignored`: as of its loss."""
        names = json.loads(metadata["feature_names"])
        about = json.loads(metadata.get("preprocessing", "{}"))
        classes = metadata.get("class_names")
        return cls(
            columns_in(about) or tuple(Feature(name) for name in names),
            tuple(about.get("targets", ())),
            kind,
            None if classes is None else tuple(json.loads(classes)),
            num_targets,
            None if about.get("image_size") is None else tuple(about["image_size"]),
            label_names=tuple(map(tuple, about.get("labels", ()))),
            ignored=str(ignored) if ignored is not None and ignored < 0 else None,
        )

    @property
    def num_inputs(self) -> int:
        return sum(each.width for each in self.features)

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.features]

    def rows(
        self, rows: Sequence[Any], labels: Sequence[Any] | None = None, *, first: int = 0
    ) -> Coded:
        """Code rows that were posted: lists of numbers, lists with a cell for each column, or
        objects with a cell for each.

        Args:
            labels: what the rows are, one a row; where rows are objects they may have their target
                among them instead.
            first: the first row that the model sees. Those before it must have the right form, and
                their numbers may be of any size; they are not in what is returned.

        Raises:
            InvalidInputError: with the row, the column, the value and the way out of each mistake.
        """
        mistakes = Mistakes()
        plain = self._as_matrix(rows)
        if plain is not None:
            matrix, unseen = plain, dict[str, list[str]]()
        else:
            cells = self._cells(rows, mistakes)
            mistakes.raise_if_any()
            matrix, unseen = self._coded(cells, mistakes, first)
        matrix = matrix[first:]
        self._check_range(matrix, first, mistakes)
        if plain is None and labels is None:
            labels = self._labels_in(rows, mistakes)
        found = None if labels is None else self._labels(labels, len(rows), mistakes)
        mistakes.raise_if_any()
        return Coded(matrix, found, unseen)

    def labels(self, labels: Sequence[Any], num_rows: int) -> NDArray[Any] | None:
        """Code what rows are, without the rows.

        Raises:
            InvalidInputError: with each that is none.
        """
        mistakes = Mistakes()
        found = self._labels(labels, num_rows, mistakes)
        mistakes.raise_if_any()
        return found

    def _as_matrix(self, rows: Sequence[Any]) -> Float | None:
        """Return rows that are nothing but lists of as many finite numbers as the model takes; None
        where they are something else, which others look at cell by cell."""
        if any(each.categories is not None or each.dtype in WITH_MARKS for each in self.features):
            return None
        try:
            found = np.array(rows)
        except ValueError:  # rows of unequal lengths
            return None
        if found.dtype.kind not in "fiu" or found.shape != (len(rows), self.num_inputs):
            return None
        if not np.isfinite(found).all() or any(type(c) is bool for row in rows for c in row):
            return None
        return found.astype(np.float64)

    def _cells(self, rows: Sequence[Any], mistakes: Mistakes) -> list[Sequence[Any]]:
        """Return each row's cells in the order of the features."""
        found: list[Sequence[Any]] = []
        is_named = bool(rows) and isinstance(rows[0], dict)
        named: set[str] | None = None
        for number, row in enumerate(rows):
            place = f"features[{number}]"
            if not isinstance(row, (dict, list, tuple)):
                mistakes.add(
                    place, "wrong_type", f"{place}: must be a list with a cell for each column, or"
                    f" an object of named columns; {shown(row)} was given",
                )  # fmt: skip
            elif isinstance(row, dict) != is_named:
                kind = "an object of named columns" if is_named else "a list"
                mistakes.add(
                    place, "wrong_type", f"{place}: must be {kind}, as row 0 is, or all the other"
                    f" way; {shown(row)} was given",
                )  # fmt: skip
            elif isinstance(row, dict):
                if row.keys() != named and not self._named_right(place, row, mistakes):
                    continue
                named = set(row)
                found.append([row[name] for name in self.names])
            elif (cells := self._listed_right(place, row, mistakes)) is not None:
                found.append(cells)
            if mistakes.are_many:
                break
        return found

    def _named_right(self, place: str, row: Mapping[str, Any], mistakes: Mistakes) -> bool:
        """Tell whether a row has a cell for each column, and none besides but its targets."""
        missing = [name for name in self.names if name not in row]
        extra = [name for name in row if name not in {*self.names, *self.targets}]
        for name in missing:
            near = near_name(name, extra)
            hint = f" (is {shown(near)} meant for it?)" if near is not None else ""
            mistakes.add(
                f"{place}.{name}", "missing_column",
                f"{place}: the column {shown(name)} is missing{hint}; a row has the columns"
                f" {listed(self.names)}",
            )  # fmt: skip
        for name in extra:
            mistakes.add(
                f"{place}.{name}", "unknown_column", f"{place}: {self.stranger(name)}",
            )  # fmt: skip
        return not missing and not extra

    def stranger(self, name: str) -> str:
        """Say that there is no such column, and which was meant."""
        near = near_name(name, self.names)
        hint = f"did you mean {shown(near)}?" if near is not None else "leave it out"
        return (
            f"this model has no column {shown(name)} ({hint}); it takes the columns"
            f" {listed(self.names)}"
        )

    def _listed_right(
        self, place: str, row: Sequence[Any], mistakes: Mistakes
    ) -> Sequence[Any] | None:
        if len(row) == len(self.features):
            return row
        if len(row) == self.num_inputs and all(f.categories is None for f in self.features):
            cells, at = [], 0
            for each in self.features:
                part = row[at : at + each.width]
                cells.append(part if each.shape else part[0])
                at += each.width
            return cells
        mistakes.add(
            place, "wrong_width",
            f"{place}: has {counted(len(row), 'cell')}, and this model takes"
            f" {len(self.features):,}: {listed(self.names)}",
        )  # fmt: skip
        return None

    def _coded(
        self, rows: Sequence[Sequence[Any]], mistakes: Mistakes, first: int
    ) -> tuple[Float, dict[str, list[str]]]:
        """Return all rows, and the categories of those from `first` on that the model does not
        know."""
        parts, unseen = [], {}
        for at, feature in enumerate(self.features):
            columns = [row[at] for row in rows]
            values = [cell_of(feature, value, row, mistakes) for row, value in enumerate(columns)]
            if mistakes.are_many:
                break
            part = np.array(values, dtype=np.float64).reshape(len(rows), -1)
            if feature.categories is not None:
                seen = {text_of(v) for v in columns[first:] if v is not None}
                strange = seen - feature.codes.keys()
                if strange:
                    unseen[feature.name] = sorted(strange)[:MOST_UNSEEN]
                part = spread(feature, part)
            parts.append(part)
        mistakes.raise_if_any()
        return np.concatenate(parts, axis=1), unseen

    def beyond(self, matrix: Float) -> list[tuple[int, str, float]]:
        """List the numbers of coded rows that the model's precision cannot hold: row, column and
        value."""
        if self.ranges is None or not matrix.size:
            return []
        columns = [feature.name for feature in self.features for _ in range(feature.width)]
        places = zip(*np.nonzero(self.ranges.inputs_beyond(matrix)), strict=True)
        return [(int(r), columns[c], float(matrix[r, c])) for r, c in islice(places, MAX_ERRORS)]

    def _check_range(self, matrix: Float, first: int, mistakes: Mistakes) -> None:
        for row, name, value in self.beyond(matrix):
            assert self.ranges is not None
            place = f"features[{first + row}].{name}"
            message = f"{place}: {self.ranges.message(value, 'feature')}"
            mistakes.add(place, "not_finite", message)

    def _labels_in(self, rows: Sequence[Any], mistakes: Mistakes) -> Sequence[Any] | None:
        """Return the targets that rows have among their columns; None where they have none."""
        if not self.targets or not rows or not isinstance(rows[0], dict):
            return None
        have = [sum(name in row for name in self.targets) for row in rows]
        if not any(have):
            return None
        for number, count in enumerate(have):
            if count < len(self.targets):
                mistakes.add(
                    f"features[{number}]", "missing_column",
                    f"features[{number}]: other rows have {listed(self.targets)}, which this model"
                    " predicts, and this one has not; give all rows what they are, or none",
                )  # fmt: skip
                return None
        if len(self.targets) == 1:
            return [row[self.targets[0]] for row in rows]
        return [[row[name] for name in self.targets] for row in rows]

    def _labels(
        self, labels: Sequence[Any], num_rows: int, mistakes: Mistakes
    ) -> NDArray[Any] | None:
        if len(labels) != num_rows:
            mistakes.add(
                "targets", "unequal_lengths",
                f"targets: has {counted(len(labels), 'entry', 'entries')}, and features has"
                f" {counted(num_rows, 'row')}; give one for each",
            )  # fmt: skip
            return None
        if self.kind in {"classes", "two_classes"}:
            ids = [self._class(row, value, mistakes) for row, value in enumerate(labels)]
            return np.array(ids, dtype=np.int64)
        found = np.full((num_rows, self.num_targets), np.nan)
        for row, value in enumerate(labels):
            cells = value if isinstance(value, (list, tuple)) else [value]
            numbers = [self._target(*each) for each in enumerate(cells)]
            if len(cells) != self.num_targets or None in numbers:
                mistakes.add(
                    f"targets[{row}]", "wrong_type",
                    f"targets[{row}]: must be {self._wanted()}; {shown(value)} was given",
                )  # fmt: skip
            else:
                found[row] = numbers
            if mistakes.are_many:
                break
        for row, value in self.targets_beyond(found):
            assert self.ranges is not None
            place = f"targets[{row}]"
            message = f"{place}: {self.ranges.message(value, 'target')}, or leave the targets out"
            mistakes.add(place, "not_finite", message)
        return found

    def targets_beyond(self, labels: NDArray[Any]) -> list[tuple[int, float]]:
        """List the targets that the model's precision cannot hold: row and value."""
        if self.ranges is None or self.kind != "values" or not labels.size:
            return []
        places = zip(*np.nonzero(self.ranges.targets_beyond(labels)), strict=True)
        return [(int(r), float(labels[r, c])) for r, c in islice(places, MAX_ERRORS)]

    def _target(self, place: int, cell: object) -> float | None:
        """Return a label (0 or 1) or value of a row as a number, None where it is none; `place`:
        which of the row's targets it is."""
        is_number = isinstance(cell, (int, float)) and type(cell) is not bool and is_finite(cell)
        if self.kind != "labels":
            return float(cell) if is_number else None  # type: ignore[arg-type]
        names = self.label_names[place] if place < len(self.label_names) else ()
        if (name := text_of(cell)) in names:
            return float(names.index(name))
        return float(cell) if cell in (0, 1) and not _are_numbers(names) else None

    def _wanted(self) -> str:
        """Say what a row's targets are."""
        if self.label_names:
            return f"for each of {self.num_targets} one of " + ", ".join(
                f"{shown(name)}: {listed(of)}"
                for name, of in zip(self.targets, self.label_names, strict=True)
            )
        what = "0 or 1" if self.kind == "labels" else "a finite number"
        return what if self.num_targets == 1 else f"{what} for each of {self.num_targets}"

    def _class(self, row: int, value: object, mistakes: Mistakes) -> int:
        """Return the id of a class by its name, or its number."""
        assert self.classes is not None
        if value is None:
            return -1
        name = text_of(value)
        if name == self.ignored:
            return -1
        if name in self.classes:
            return self.classes.index(name)
        is_id = type(value) is int and 0 <= value < len(self.classes)
        if is_id and not _are_numbers(self.classes):
            return value  # type: ignore[return-value]
        near = near_name(name, list(self.classes))
        hint = f" (did you mean {shown(near)}?)" if near is not None else ""
        mistakes.add(
            f"targets[{row}]", "unknown_class",
            f"targets[{row}]: {shown(value)} is none of this model's classes{hint}:"
            f" {listed(self.classes)}",
        )  # fmt: skip
        return -1


def _are_numbers(names: Sequence[str]) -> bool:
    """Tell whether classes are called by numbers, so that a number is a name and no id."""
    return any(each.lstrip("-").isdigit() for each in names)


def columns_in(about: Mapping[str, Any]) -> tuple[Feature, ...]:
    """Read the columns of a file's features; `about`: its `preprocessing`, empty without a file."""
    one_hot = about.get("categorical") == "one_hot"
    return tuple(
        Feature(
            each["name"],
            each["dtype"],
            tuple(each["shape"]),
            None if each["categories"] is None else tuple(each["categories"]),
            each["fill"],
            one_hot and each["categories"] is not None,
            about.get("image_size") is not None and len(each["shape"]) == 3,
        )
        for each in about.get("features", ())
    )


def spread(feature: Feature, codes: Float) -> Float:
    """Return codes as the numbers that they are for the model."""
    if not feature.one_hot:
        return codes
    return np.asarray(codes == np.arange(feature.width), dtype=np.float64)
