"""Cells of text as values: what counts as a number, a whole number, a bool, a date.

Every function takes an Arrow array of strings, nulls being missing cells, and returns a NumPy array
as long, or None where a cell is of another kind.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.uploads.schema import Decimal

NO_INT: Final = np.iinfo(np.int64).min
"""The whole number that stands for a missing one while a file is parsed."""

EXACT: Final = 2**53
"""Whole numbers up to here are exact as float64."""

NUMBER: Final = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
NUMBERS: Final = {".": NUMBER, ",": NUMBER.replace(r"\.", ",")}
"""Numbers by their decimal sign."""
FOREIGN: Final = {
    ".": r"^[+-]?(\d+|\d{1,3}(\.\d{3})+|\d{1,3}(,\d{3})+)?,\d+(\.\d+)?$",
    ",": r"^[+-]?(\d+|\d{1,3}(,\d{3})+|\d{1,3}(\.\d{3})+)?\.\d+(,\d+)?$",
}
"""Numbers that are written otherwise: where the sign is a point those with a comma, for it (1,5;
1.234,5) or between thousands (1,234; 1,234.5), and the other way round."""
WHOLE: Final = r"^[+-]?\d+$"
DATE: Final = r"^\d{4}-\d{2}-\d{2}([T ]|$)"
_ZONE: Final = r":\d{2}(\.\d+)?([zZ]|[+-]\d{2}(:?\d{2})?)$"
_PLAIN: Final = pa.timestamp("us")
_ZONED: Final = pa.timestamp("us", "UTC")
_TRUE: Final = pa.array(["true", "yes", "1"])
_FALSE: Final = pa.array(["false", "no", "0"])

Strings = Any
"""An Arrow array of strings; Arrow comes without types."""


def trimmed(cells: Strings) -> Strings:
    """Return the cells without blanks at their ends."""
    return pc.utf8_trim_whitespace(cells)


def floats(cells: Strings, decimal: Decimal = ".") -> NDArray[np.float64] | None:
    """Read numbers; missing ones are NaN. Numbers beyond float64 become infinite."""
    if decimal == ",":
        if pc.any(pc.match_substring(cells, ".")).as_py():
            return None
        cells = pc.replace_substring(cells, ",", ".")
    try:
        found = pc.cast(cells, pa.float64())
    except pa.ArrowInvalid:
        return None
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.float64)


def ints(cells: Strings) -> NDArray[np.int64] | None:
    """Read whole numbers within int64, with a sign or not; missing ones are `NO_INT`. A zero in
    front ("007") or a hexadecimal number is none."""
    try:
        found = pc.cast(cells, pa.int64())
    except pa.ArrowInvalid:
        if not pc.any(pc.starts_with(cells, "+")).as_py():
            return None
        cells = pc.replace_substring_regex(cells, r"^\+(\d)", r"\1")  # Arrow reads no +
        try:
            found = pc.cast(cells, pa.int64())
        except pa.ArrowInvalid:
            return None
    if zeros_in_front(cells):
        return None
    values = found.to_numpy(zero_copy_only=False) if not found.null_count else None
    if values is None:
        values = pc.fill_null(found, NO_INT).to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.int64)


def zeros_in_front(cells: Strings) -> bool:
    """Tell whether a cell begins with a zero that another character follows, after a sign or not;
    for cells that are whole numbers."""
    offsets = np.frombuffer(cells.buffers()[1], np.int32)[cells.offset :][: len(cells) + 1]
    if cells.buffers()[2] is None:
        return False
    data = np.frombuffer(cells.buffers()[2], np.uint8)
    starts, ends = offsets[:-1], offsets[1:]
    some = starts < ends
    starts, ends = starts[some], ends[some]
    signed = (data[starts] == ord("-")) | (data[starts] == ord("+"))
    starts = starts + signed
    longer = starts + 1 < ends
    return bool((data[starts[longer]] == ord("0")).any())


def whole(cells: Strings, decimal: Decimal = ".") -> NDArray[np.int64] | None:
    """Read whole numbers as `ints` does, and those written as 3.0."""
    found = ints(cells)
    if found is None and (values := floats(cells, decimal)) is not None:
        present = np.nan_to_num(values, nan=0.0)
        if (present == np.rint(present)).all() and (np.abs(present) <= EXACT).all():
            return np.where(np.isnan(values), NO_INT, present.astype(np.int64))
    return found


def bools(cells: Strings) -> NDArray[np.int8] | None:
    """Read `true` and `false` in any case as 1 and 0, missing ones as -1."""
    return _bools(cells, _TRUE[:1], _FALSE[:1])


def wide_bools(cells: Strings) -> NDArray[np.int8] | None:
    """Read as `bools` does, and `yes`, `no`, `1` and `0`."""
    return _bools(cells, _TRUE, _FALSE)


def _bools(cells: Strings, trues: Strings, falses: Strings) -> NDArray[np.int8] | None:
    lower = pc.utf8_lower(cells)
    true, false = pc.is_in(lower, value_set=trues), pc.is_in(lower, value_set=falses)
    found = np.full(len(cells), -1, np.int8)
    found[true.to_numpy(zero_copy_only=False)] = 1
    found[false.to_numpy(zero_copy_only=False)] = 0
    return found if int((found < 0).sum()) == cells.null_count else None


def dates(cells: Strings) -> NDArray[np.float64] | None:
    """Read ISO 8601 dates, with or without a time and a zone (UTC where there is none), as seconds
    since 1970; missing ones are NaN."""
    found = _seconds(cells, _PLAIN)
    if found is None:
        found = _seconds(cells, _ZONED)
    if found is None:
        zoned = pc.match_substring_regex(cells, _ZONE)
        nothing = pa.nulls(len(cells), pa.string())
        plain = _seconds(pc.if_else(zoned, nothing, cells), _PLAIN)
        others = _seconds(pc.if_else(zoned, cells, nothing), _ZONED)
        if plain is not None and others is not None:
            found = np.where(np.isnan(plain), others, plain)
    return found


def _seconds(cells: Strings, kind: Any) -> NDArray[np.float64] | None:
    try:
        found = pc.cast(pc.cast(cells, kind), pa.int64())
    except pa.ArrowInvalid:
        return None
    seconds = pc.fill_null(found, 0).to_numpy(zero_copy_only=False) / 1e6
    seconds[pc.is_null(found).to_numpy(zero_copy_only=False)] = np.nan
    return np.asarray(seconds, np.float64)


def matching(cells: Strings, pattern: str) -> NDArray[np.bool_]:
    """Tell of each cell whether it matches; a missing one does not."""
    found = pc.fill_null(pc.match_substring_regex(cells, pattern), False)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.bool_)


def present(cells: Strings) -> Iterator[tuple[int, str]]:
    """Yield place and text of each cell that is not missing."""
    return ((i, cell) for i, cell in enumerate(cells.to_pylist()) if cell is not None)
