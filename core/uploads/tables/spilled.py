"""The cells of a column, on their way from a file to the stored form."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from enum import IntEnum
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.specs.columns.written import written
from core.uploads.contents import MOST_CATEGORIES, Column, Dtype, RefusedFile, quoted
from core.uploads.layout import Tensor
from core.uploads.tables import cells as read
from core.uploads.tables.spill import Spill

MOST_CATEGORY_CHARACTERS: Final = 200
"""Longest category; a column with a longer text is text."""


class Form(IntEnum):
    """Forms of a column's cells while a file is parsed; a missing one in brackets."""

    UNKNOWN = 0  # only missing cells so far
    INTS = 1  # int64 (NO_INT)
    FLOATS = 2  # float64 (NaN)
    BOOLS = 3  # int8 (-1)
    DATES = 4  # float64 (NaN)
    CODES = 5  # int32, places among the categories found so far (-1)
    STRINGS = 6  # int32 lengths (-1); their bytes are the next stream


TEXTS: Final = frozenset({Form.CODES, Form.STRINGS})
NUMBERS: Final = frozenset({Form.INTS, Form.FLOATS})
_MISSING: Final[dict[Form, NDArray[Any]]] = {
    Form.INTS: np.array(read.NO_INT, np.int64),
    Form.FLOATS: np.array(np.nan),
    Form.BOOLS: np.array(-1, np.int8),
    Form.DATES: np.array(np.nan),
    Form.CODES: np.array(-1, np.int32),
    Form.STRINGS: np.array(-1, np.int32),
}
_DTYPES: Final[dict[Form, Dtype]] = {
    Form.INTS: "integer",
    Form.FLOATS: "number",
    Form.BOOLS: "bool",
    Form.DATES: "date",
}
_PIECE: Final = 2**20
_SAMPLED: Final = 200
"""Texts of a column that are looked at for what they stand for, about."""
_SHOWN: Final = 10
"""Texts that are kept of them."""


class SpilledColumn:
    """Cells of a column in a `Spill`, from which its stored form is made when all are there.

    Attributes:
        form: of the cells so far. Whole numbers may stand in a column of floats.
        num_rows, num_missing: cells so far.
    """

    def __init__(self, name: str, place: int, spill: Spill, form: Form) -> None:
        self.name = name
        self.form = form
        self.num_rows = 0
        self.num_missing = 0
        self._place = place
        self._spill = spill
        self._found: dict[str, int] = {}
        self._values: set[int] | None = set()
        self._sample: dict[str, None] = {}
        self._low = self._high = 0

    @property
    def inexact(self) -> bool:
        """True where the cells are whole numbers that would not be exact beside missing ones."""
        beyond = max(-self._low, self._high) > read.EXACT
        return self.form is Form.INTS and self.num_missing > 0 and beyond

    def put(self, form: Form, values: NDArray[Any]) -> None:
        """Append cells of a form that is the column's, or goes with it."""
        if self.form is Form.UNKNOWN:
            self.form = form
            self._put_missing(self.num_rows)
        if form is Form.INTS:
            self._note_ints(values)
            missing = int((values == read.NO_INT).sum())
        elif form in {Form.FLOATS, Form.DATES}:
            missing = int(np.isnan(values).sum())
        else:
            missing = int((values < 0).sum())
        if form in {Form.FLOATS, Form.STRINGS}:
            self.form = form
        self.num_rows += len(values)
        self.num_missing += missing
        self._spill.put(2 * self._place, form, values.tobytes())

    def put_missing(self, count: int) -> None:
        """Append cells that are missing."""
        if self.form is not Form.UNKNOWN:
            self._put_missing(count)
        self.num_rows += count
        self.num_missing += count

    def put_texts(self, cells: read.Strings) -> None:
        """Append texts: as categories while there are few."""
        codes = self._codes(cells) if self.form is not Form.STRINGS else None
        if codes is not None:
            self.put(Form.CODES, codes)
            return
        if len(self._sample) < _SAMPLED:
            self._sample |= dict.fromkeys(cells.slice(0, _SAMPLED).drop_null().to_pylist())
        lengths = pc.fill_null(pc.binary_length(cells), -1).to_numpy(zero_copy_only=False)
        self._spill.put(2 * self._place + 1, Form.STRINGS, _bytes_of(cells))
        self.put(Form.STRINGS, np.asarray(lengths, np.int32))

    def drop(self) -> None:
        """Forget the cells, but not how many there were."""
        self._spill.drop(2 * self._place)
        self._spill.drop(2 * self._place + 1)

    def finish(self, given: Dtype | None) -> tuple[Column, list[Tensor]]:
        """Return the column, of the kind that is given or inferred, and what of it is stored."""
        column = Column(self.name, given or "number", num_missing=self.num_missing)
        match self.form:
            case Form.UNKNOWN:  # all cells are missing
                return self._finish_empty(column)
            case Form.INTS:
                return self._finish_ints(column)
            case Form.FLOATS | Form.DATES | Form.BOOLS:
                kind = np.dtype(np.int8 if self.form is Form.BOOLS else np.float64)
                column = replace(column, dtype=_DTYPES[self.form])
                return column, [self._tensor(kind, self._numbers)]
            case Form.CODES if given != "text":
                return self._finish_category(column)
            case Form.CODES | Form.STRINGS:
                sample = None if given == "text" else self._telling()
                return replace(column, dtype="text", sample=sample), self._texts()

    def _telling(self) -> tuple[str, ...] | None:
        """Return some texts where they stand for dates or numbers."""
        texts = list((dict.fromkeys(self._found) | self._sample).keys())[:_SAMPLED]
        return tuple(texts[:_SHOWN]) if written(texts) and written(texts[:_SHOWN]) else None

    def _put_missing(self, count: int) -> None:
        for start in range(0, count, _PIECE):
            cells = np.full(min(_PIECE, count - start), _MISSING[self.form])
            self._spill.put(2 * self._place, self.form, cells.tobytes())

    def _note_ints(self, values: NDArray[np.int64]) -> None:
        present = values[values != read.NO_INT]
        if not len(present):
            return
        self._low = min(self._low, int(present.min()))
        self._high = max(self._high, int(present.max()))
        if self._values is not None:
            self._values.update(np.unique(present).tolist())
            if len(self._values) > MOST_CATEGORIES:
                self._values = None

    def _codes(self, cells: read.Strings) -> NDArray[np.int32] | None:
        """Return the cells' places among the categories; None: there are too many, or one is too
        long."""
        encoded = cells.dictionary_encode()
        names: list[str] = encoded.dictionary.to_pylist()
        if any(len(name) > MOST_CATEGORY_CHARACTERS for name in names):
            return None
        if len(self._found.keys() | names) > MOST_CATEGORIES:
            return None
        places = [self._found.setdefault(name, len(self._found)) for name in names]
        codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
        return np.array([*places, -1], np.int32)[np.asarray(codes, np.int64)]

    # --- the stored form ---------------------------------------------------------------------

    def _finish_empty(self, column: Column) -> tuple[Column, list[Tensor]]:
        kind = np.dtype(np.int8 if column.dtype == "bool" else np.float64)
        nothing = -1 if column.dtype == "bool" else np.nan

        def pieces() -> Iterator[NDArray[Any]]:
            for start in range(0, self.num_rows, _PIECE):
                yield np.full(min(_PIECE, self.num_rows - start), nothing, kind)

        return column, [self._tensor(kind, pieces)]

    def _finish_ints(self, column: Column) -> tuple[Column, list[Tensor]]:
        values = None if self._values is None else tuple(sorted(self._values))
        column = replace(column, dtype="integer", values=values)
        if self.inexact:
            raise RefusedFile(
                "wrong_value",
                f"Column {quoted(self.name)} has whole numbers beyond 2**53 and missing cells, and"
                " cannot be stored exactly. Declare it in the schema as text, or as a number.",
                column=self.name,
            )
        if self.num_missing:
            return column, [self._tensor(np.dtype(np.float64), self._numbers)]
        kind = smallest_integer(self._low, self._high)
        return column, [self._tensor(kind, lambda: (v.astype(kind) for _, v in self._pieces()))]

    def _finish_category(self, column: Column) -> tuple[Column, list[Tensor]]:
        names = sorted(self._found)
        place = {name: i for i, name in enumerate(names)}
        moved = np.array([*(place[name] for name in self._found), -1], np.int16)
        stored = self._tensor(moved.dtype, lambda: (moved[v] for _, v in self._pieces()))
        return replace(column, dtype="category", categories=tuple(names)), [stored]

    def _texts(self) -> list[Tensor]:
        names = [name.encode() for name in self._found] + [b""]
        widths = np.array([len(name) for name in names], np.int64)

        def lengths() -> Iterator[NDArray[np.int64]]:
            for form, values in self._pieces():
                found = widths[values] if form is Form.CODES else values.astype(np.int64)
                yield np.maximum(found, 0)

        def ends() -> Iterator[NDArray[np.int64]]:
            end = 0
            for piece in lengths():
                yield end + np.cumsum(piece)
                end += int(piece.sum())

        def data() -> Iterator[bytes]:
            for form, values in self._pieces():
                if form is Form.CODES:
                    yield b"".join([names[code] for code in values.tolist()])
            yield from (piece for _, piece in self._spill.read(2 * self._place + 1))

        total = sum(int(piece.sum()) for piece in lengths())
        return [
            Tensor(f"{self._place}.ends", np.dtype(np.int64), (self.num_rows,), ends),
            Tensor(str(self._place), np.dtype(np.uint8), (total,), data),
        ]

    def _tensor(self, dtype: np.dtype[Any], pieces: Callable[[], Iterable[NDArray[Any]]]) -> Tensor:
        return Tensor(str(self._place), dtype, (self.num_rows,), pieces)

    def _pieces(self) -> Iterator[tuple[Form, NDArray[Any]]]:
        for number, data in self._spill.read(2 * self._place):
            form = Form(number)
            yield form, np.frombuffer(data, _MISSING[form].dtype)

    def _numbers(self) -> Iterator[NDArray[Any]]:
        for form, values in self._pieces():
            if form is Form.INTS:
                yield np.where(values == read.NO_INT, np.nan, values.astype(np.float64))
            else:
                yield values


def smallest_integer(low: int, high: int) -> np.dtype[Any]:
    """Return the smallest signed type that holds whole numbers from `low` to `high`."""
    kinds: list[np.dtype[Any]] = [np.dtype(name) for name in ("i1", "<i2", "<i4", "<i8")]
    return next(k for k in kinds if np.iinfo(k).min <= low and high <= np.iinfo(k).max)


def _bytes_of(cells: read.Strings) -> bytes:
    """Return the texts one after the other; missing ones take none."""
    joined = pc.fill_null(cells, "")
    offsets = np.frombuffer(joined.buffers()[1], np.int32)[joined.offset :]
    data = joined.buffers()[2]
    return b"" if data is None else bytes(data[int(offsets[0]) : int(offsets[len(joined)])])
