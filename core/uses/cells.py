"""Cells of rows that are posted, as numbers: a column of a model's rows, and what its cells may
be."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.errors import FieldError, InvalidInputError
from core.specs.validation.errors import MAX_ERRORS, shown
from core.uses.images import MOST_PIXELS, scaled_image

Cells = NDArray[np.float64]
MOST_LISTED: Final = 20
_TRUTH: Final[dict[object, int]] = {"false": 0, "no": 0, "0": 0, "true": 1, "yes": 1, "1": 1}
"""Texts of truth values, as a CSV file whose schema declares a `bool` may have them."""


@dataclass(frozen=True)
class Feature:
    """A column that the model takes.

    Attributes:
        dtype: as of `core.uploads.contents.Column`.
        shape: of a row's value.
        categories: of a `category`.
        fill: what takes the place of a missing value; None: nothing does.
        one_hot: categories are a number each, and one for values that are none of them.
        scaled: it is an image, and one of another height and width is scaled to this shape.
    """

    name: str
    dtype: str = "number"
    shape: tuple[int, ...] = ()
    categories: tuple[str, ...] | None = None
    fill: float | Sequence[Any] | None = None
    one_hot: bool = False
    scaled: bool = False

    @property
    def width(self) -> int:
        """The number of numbers that it is."""
        if self.categories is not None:
            return len(self.categories) + 1 if self.one_hot else 1
        return math.prod(self.shape)

    @cached_property
    def codes(self) -> dict[str, int]:
        """The number of each category."""
        return {name: code for code, name in enumerate(self.categories or ())}


WITH_MARKS: Final = frozenset({"bool", "date"})
NOTHING: Final = (
    "nothing takes its place: no value of this column was missing in the training data, or its"
    " `missing` leaves such rows out; give a value"
)


class Mistakes:
    """Mistakes that were found, as many as a reply tells."""

    def __init__(self) -> None:
        self._found: list[FieldError] = []

    @property
    def are_many(self) -> bool:
        """True once no more of them would be told."""
        return len(self._found) >= MAX_ERRORS

    def add(self, param: str, code: str, message: str) -> None:
        if not self.are_many:
            self._found.append(FieldError(param, code, message))

    def raise_if_any(self) -> None:
        if self._found:
            raise InvalidInputError(self._found)


def cell_of(
    feature: Feature, value: object, row: int, mistakes: Mistakes
) -> float | Sequence[Any] | Cells:
    """Return a cell as a number, a category as its code, or an array as its numbers."""
    place = f"features[{row}].{feature.name}"
    if value is None:
        if feature.fill is not None:
            return feature.fill
        mistakes.add(place, "missing_value", f"{place}: null was given, and {NOTHING}")
        return np.full(feature.width, math.nan) if feature.shape else math.nan
    if feature.shape:
        return _array(feature, value, place, mistakes)
    found, wanted = _read(feature, value)
    if found is None:
        mistakes.add(place, "wrong_type", f"{place}: must be {wanted}; {shown(value)} was given")
        return math.nan
    return found


def _read(feature: Feature, value: object) -> tuple[float | None, str]:
    """Return a cell as a number, None where it is none; and what it should be."""
    is_number = isinstance(value, (int, float)) and type(value) is not bool
    if feature.categories is not None:
        readable = isinstance(value, (str, bool)) or (is_number and is_finite(value))
        code = feature.codes.get(text_of(value), len(feature.categories)) if readable else None
        return code, f"one of {listed(feature.categories)}"
    match feature.dtype:
        case "bool":
            wanted = "true or false (yes or no, 1 or 0)"
            if isinstance(value, str):
                return _TRUTH.get(value.lower()), wanted
            return (float(value) if value in (0, 1) else None), wanted
        case "date":
            if isinstance(value, str):
                return _seconds(value), "a date as ISO 8601 has it (2026-11-22), or seconds"
            return (float(value) if is_number and is_finite(value) else None), "a date"  # type: ignore[arg-type]
        case _:
            return (float(value) if is_number and is_finite(value) else None), "a finite number"  # type: ignore[arg-type]


def _array(feature: Feature, value: object, place: str, mistakes: Mistakes) -> Cells:
    given = ""
    try:
        found = np.array(value)
        if found.dtype.kind not in "fiu" or not np.isfinite(found).all():
            raise ValueError
        given = f"the shape {list(found.shape)}" if found.ndim else ""
        if found.ndim == 2 and len(feature.shape) == 3 and feature.shape[0] == 1:
            found = found[None]  # a grey image, without its one channel
        if found.shape not in {feature.shape, (feature.width,)}:
            if not (feature.scaled and _is_image(found, feature.shape[0])):
                raise ValueError
            found = scaled_image(found, (feature.shape[1], feature.shape[2]))
    except (ValueError, TypeError, OverflowError):
        other = ""
        if feature.scaled:
            other = f", or an image of {feature.shape[0]} channels that is scaled to it"
        mistakes.add(
            place, "wrong_shape",
            f"{place}: must be finite numbers of the shape {list(feature.shape)}{other};"
            f" {given or shown(value)} was given",
        )  # fmt: skip
        return np.full(feature.width, math.nan)
    return np.asarray(found, np.float64).reshape(-1)


def _is_image(found: NDArray[Any], channels: int) -> bool:
    """Tell whether an array is an image (channels, height, width) that can be scaled."""
    return found.ndim == 3 and found.shape[0] == channels and 0 < found[0].size <= MOST_PIXELS


def is_finite(value: object) -> bool:
    try:
        return math.isfinite(value)  # type: ignore[arg-type]
    except OverflowError:
        return False


def text_of(value: object) -> str:
    """Return the name that a value has as a category or class: whole numbers without a point."""
    if type(value) is bool:
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _seconds(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def listed(names: Iterable[str]) -> str:
    """List names; of many the first."""
    every = list(names)
    more = len(every) - MOST_LISTED
    return ", ".join(map(shown, every[:MOST_LISTED])) + (f" and {more:,} more" if more > 0 else "")
